"""The use cases of clients without a provider and a database: what tests of the wire need."""

import builtins
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
from pydantic import SecretStr

from portal.oauth.v1.client_pb2_grpc import ClientServiceStub
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_server.catalog.updates import Change, Etags, merged, now_after, require_etag
from portal_server.domain.calls import Call
from portal_server.domain.client import (
    Client,
    ClientDraft,
    ClientResolution,
    ClientState,
    Difference,
    Found,
    Preview,
    Registration,
    check_client,
    client_name,
)
from portal_server.domain.discovery import CheckOutcome, Finding, FindingSeverity, ProviderCheck
from portal_server.domain.errors import NotFound, Resource
from portal_server.domain.identity import Ref, new_uid
from portal_server.domain.lists import Condition, Page, PageRange, read_page
from portal_server.domain.provider import ProviderDraft, check_provider
from portal_server.run import use_cases
from portal_server.run.server import Listen, Server
from portal_server.run.settings import Settings
from portal_server.run.use_cases import Assembled
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.sql.migrations import migrate
from portal_server.storage.store import Store
from portal_server.wire.use_cases import UseCases
from tests.support.catalog import KEYS
from tests.support.own_envoy import door
from tests.support.stack import ADMIN_KEY, TLS

PROVIDER, CLIENT_TYPE = 1, 2
"""The ids of the one provider and its one client type."""
SECRET = "a-secret-of-a-client"  # noqa: S105
TOKEN = "a-registration-access-token"  # noqa: S105
TIME = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
EXPIRES = datetime(2027, 1, 31, 9, 30, tzinfo=UTC)
FINDING = Finding(
    FindingSeverity.WARNING, "grant_types", "Keycloak ignores it", "RFC 9700, section 2.4"
)
CHECKS = (
    ProviderCheck("discovery", CheckOutcome.OK, "found"),
    ProviderCheck("credential", CheckOutcome.WARNING, "expires soon"),
)


class FakeClients:
    """Clients in memory. Any id or uid of a provider except `PROVIDER` is unknown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Have no clients, and succeed."""
        self.error: Exception | None = None
        """Raised by each method that calls a provider, if set."""
        self.wait: Callable[[], object] = lambda: None
        """Called by each of these methods."""
        self.calls: list[tuple[str, Any]] = []
        """The name of each use case, and what was passed that is not an id."""
        self.state = ClientState.ACTIVE
        """The state of a new client."""
        self.finding = FINDING
        """That of a preview and of a registration."""
        self.checks: Sequence[ProviderCheck] = CHECKS
        self.new_secret = ""
        """The secret with which the provider replaces that of a client in an update."""
        self._clients: dict[int, Client] = {}
        self._done: dict[bytes, Registration] = {}

    @property
    def stored(self) -> builtins.list[Client]:
        """The clients."""
        return builtins.list(self._clients.values())

    def preview(self, call: Call, provider: Ref, client_type: Ref, draft: ClientDraft) -> Preview:
        self._call("preview", call)
        _require(provider, client_type)
        spec = check_client(draft)
        return Preview(
            uri="https://idp.test/register",
            metadata={
                "client_name": spec.name,
                "redirect_uris": list(spec.redirect_uris),
                "require_pushed": False,
                "jwks": {"keys": []},
            },
            findings=(self.finding,),
        )

    def register(
        self, call: Call, provider: Ref, client_type: Ref, draft: ClientDraft
    ) -> Registration:
        self._call("register", call)
        _require(provider, client_type)
        spec = check_client(draft)
        if call.idempotency and (done := self._done.get(call.idempotency.digest)):
            return done
        known = self.state is not ClientState.UNKNOWN
        uid = new_uid()
        requested = {"client_name": client_name(spec.name, uid), "grant_types": ["implicit"]}
        with self._lock:
            client = Client(
                name=spec.name,
                redirect_uris=spec.redirect_uris,
                scope=spec.scope,
                labels=spec.labels,
                id=len(self._clients) + 1,
                uid=uid,
                provider_id=PROVIDER,
                client_type_id=CLIENT_TYPE,
                state=self.state,
                state_time=TIME,
                message="" if known else "the connection was lost",
                client_id=f"client-{len(self._clients) + 1}" if known else "",
                client_secret_expire_time=EXPIRES if known else None,
                requested=requested,
                registered=requested | {"grant_types": []} if known else {},
                differences=(
                    Difference(
                        field="grant_types", asked='["implicit"]', granted="[]", wider=False
                    ),
                )
                if known
                else (),
                registration_access_token=TOKEN if known else "",
                create_time=TIME,
                update_time=TIME,
            )
            self._clients[client.id] = client
        registered = Registration(
            client=client, client_secret=SECRET if known else "", findings=(self.finding,)
        )
        if call.idempotency:
            self._done[call.idempotency.digest] = registered
        return registered

    def get(self, _call: Call, provider: Ref, ref: Ref, client_type: Ref | None = None) -> Client:
        _require(provider, client_type)
        for client in list(self._clients.values()):
            if ref in (client.id, client.uid):
                return client
        raise NotFound(Resource.CLIENT, ref)

    def list(
        self,
        _call: Call,
        provider: Ref,
        client_type: Ref | None,
        where: Sequence[Condition],
        rows: PageRange,
    ) -> Page[Client]:
        self.calls.append(("list", (client_type, tuple(where), rows)))
        _require(provider, client_type)
        found = [one for one in list(self._clients.values()) if one.id > rows.after]
        return read_page(rows, lambda part: found[part.offset :][: part.limit])

    def update(
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        change: Change[ClientDraft],
        client_type: Ref | None = None,
    ) -> Registration:
        self._call("update", set(change.fields))
        stored = self.get(call, provider, ref, client_type)
        require_etag(stored, change.etags)
        spec = check_client(merged(stored, change))
        updated = self._store(
            replace(
                stored,
                name=spec.name,
                redirect_uris=spec.redirect_uris,
                scope=spec.scope,
                labels=spec.labels,
            )
        )
        return Registration(client=updated, client_secret=self.new_secret)

    def delete(  # noqa: PLR0913
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        *,
        force: bool = False,
        etags: Etags = None,
        client_type: Ref | None = None,
    ) -> None:
        self._call("delete", force)
        stored = self.get(call, provider, ref, client_type)
        require_etag(stored, etags)
        del self._clients[stored.id]

    def rotate(
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        etags: Etags = None,
        client_type: Ref | None = None,
    ) -> Registration:
        self._call("rotate", call)
        stored = self.get(call, provider, ref, client_type)
        require_etag(stored, etags)
        return Registration(client=self._store(stored), client_secret=f"{SECRET}-2")

    def check(self, call: Call, provider: Ref, ref: Ref) -> Client:
        self._call("check", call)
        return self._store(replace(self.get(call, provider, ref), verify_time=TIME))

    def resolve(
        self, call: Call, provider: Ref, ref: Ref, found: Found, etags: Etags = None
    ) -> Client:
        self._call("resolve", found)
        stored = self.get(call, provider, ref)
        require_etag(stored, etags)
        gone = found.resolution is not ClientResolution.ADOPT
        state = ClientState.DELETING if gone else ClientState.ACTIVE
        return self._store(replace(stored, state=state))

    def _store(self, client: Client) -> Client:
        changed = replace(client, update_time=now_after(client.update_time))
        self._clients[client.id] = changed
        return changed

    def _call(self, name: str, given: Any) -> None:
        self.calls.append((name, given))
        self.wait()
        if self.error:
            raise self.error

    # Checks of providers, and deletions of providers and client types

    def check_provider(self, call: Call, ref: Ref) -> tuple[ProviderCheck, ...]:
        self._call("check_provider", call)
        _require(ref)
        return tuple(self.checks)

    def check_draft(self, _call: Call, draft: ProviderDraft) -> tuple[ProviderCheck, ...]:
        self._call("check_draft", check_provider(draft))
        return tuple(self.checks)

    def delete_template(self, name: str, provider: Ref, force: bool) -> None:  # noqa: FBT001
        self.calls.append((name, force))
        if force:
            self.wait()
        _require(provider)

    def forget(self, _call: Call, ref: Ref, _etags: Etags = None) -> builtins.list[Client]:
        _require(ref)
        return list(self._clients.values())


def _require(provider: Ref, client_type: Ref | None = None) -> None:
    if provider != PROVIDER:
        raise NotFound(Resource.PROVIDER, provider)
    if client_type not in (None, CLIENT_TYPE):
        raise NotFound(Resource.CLIENT_TYPE, client_type)


class _Checks:
    def __init__(self, fake: FakeClients) -> None:
        self.check = fake.check_provider
        self.check_draft = fake.check_draft


class _Providers:
    """The real providers, except where clients matter."""

    def __init__(self, fake: FakeClients, providers: Any) -> None:
        self._fake = fake
        self._providers = providers
        self.forget = fake.forget

    def delete(self, _call: Call, ref: Ref, _etags: Etags = None, *, force: bool = False) -> None:
        self._fake.delete_template("delete_provider", ref, force)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._providers, name)


class _ClientTypes:
    def __init__(self, fake: FakeClients) -> None:
        self._fake = fake

    def delete(
        self, _call: Call, provider: Ref, _ref: Ref, _etags: Etags = None, *, force: bool = False
    ) -> None:
        self._fake.delete_template("delete_client_type", provider, force)


@dataclass(frozen=True)
class Served:
    """A server on the fake; behind Envoy, if `http` is set."""

    fake: FakeClients
    channel: grpc.Channel
    http: httpx.Client
    grpc_port: int

    @property
    def clients(self) -> ClientServiceStub:
        return ClientServiceStub(self.channel)

    @property
    def providers(self) -> ProviderServiceStub:
        return ProviderServiceStub(self.channel)

    @property
    def client_types(self) -> ClientTypeServiceStub:
        return ClientTypeServiceStub(self.channel)


@dataclass(frozen=True)
class _At:
    socket: Path


@contextmanager
def served(folder: Path, *, envoy: bool = False) -> Iterator[Served]:
    """A server on a new fake: its own port, or behind an Envoy."""
    from tests.conftest import with_key  # noqa: PLC0415 - which imports much

    fake = FakeClients()

    def assemble(store: Store, settings: Settings) -> Assembled:
        assembled = use_cases.assemble(store, settings)
        providers: Any = _Providers(fake, assembled.use_cases.providers)
        client_types: Any = _ClientTypes(fake)
        clients: Any = fake
        provider_checks: Any = _Checks(fake)
        cases = UseCases(
            providers=providers,
            client_types=client_types,
            clients=clients,
            provider_checks=provider_checks,
            system=assembled.use_cases.system,
            audit_log=assembled.use_cases.audit_log,
            api_keys=assembled.use_cases.api_keys,
        )
        return replace(assembled, use_cases=cases)

    url = f"sqlite:///{folder}/fake.db"
    engine = open_engine(parse_url(url))
    migrate(engine)
    engine.dispose()
    socket = folder / "0-0.sock"
    settings = Settings.model_construct(
        database_url=SecretStr(url),
        admin_key=SecretStr(ADMIN_KEY),
        direct_grpc_port=0,
        encryption_keys=KEYS,
    )
    with ExitStack() as stack:
        server = Server(settings, Listen(socket), assemble)
        server.start()
        stack.callback(server.stop)
        port, http_port = server.port, server.port
        if envoy:
            before = stack.enter_context(door(folder))
            before.send_calls_to([_At(socket)])  # type: ignore[list-item]
            port, http_port = before.grpc_port, before.http_port
        http = httpx.Client(
            base_url=f"http://127.0.0.1:{http_port}/portal-api",
            headers={"Authorization": ADMIN_KEY},
            timeout=20,
            verify=TLS,
        )
        stack.enter_context(http)
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
        yield Served(fake, with_key(channel, ADMIN_KEY), http, port)
