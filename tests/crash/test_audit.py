"""Each write has its event, and each change is watched once, although servers are killed."""

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import grpc
import pytest

from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal.oauth.v1.watch_pb2 import CHANGE_TYPE_DELETED, Change, WatchRequest
from portal.oauth.v1.watch_pb2_grpc import WatchServiceStub
from portal_server.catalog.audit_log import AuditLog
from portal_server.catalog.audit_verification import verify
from portal_server.domain.audit import START, AuditAction, AuditKind, Event
from portal_server.domain.lists import PageRange
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.store import Store
from tests.conftest import with_key
from tests.crash.load import OwnServer, connect, scaled
from tests.support.catalog import CALL, VAULT
from tests.support.stack import ADMIN_KEY

pytestmark = pytest.mark.timeout(scaled(600))

WRITERS = 6
TOKEN = "a-token-that-no-event-has"  # noqa: S105
# The write was not done.
REJECTED = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ABORTED, grpc.StatusCode.INVALID_ARGUMENT)


@contextmanager
def channel_to(server: OwnServer) -> Iterator[grpc.Channel]:
    with connect(server.target) as channel:
        yield with_key(channel, ADMIN_KEY)


def new_provider(stub: ProviderServiceStub) -> provider_pb2.Provider:
    draft = provider_pb2.Provider(
        name="p",
        type=provider_pb2.PROVIDER_TYPE_OTHER,
        well_known_uri="https://idp.test/",
        registration_access_token=TOKEN,
    )
    return stub.CreateProvider(provider_pb2.CreateProviderRequest(provider=draft), timeout=5)


class Writers:
    """Threads that create, update and delete providers and client types, until they are stopped."""

    def __init__(self, servers: list[OwnServer]) -> None:
        self.acknowledged = 0
        """How many writes were confirmed."""
        self.unknown = 0
        """How many may have been done."""
        self._servers = servers
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(WRITERS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        with channel_to(self._servers[number % len(self._servers)]) as channel:
            own = _Writer(channel)
            while not self._stopped.is_set():
                done = own.write()
                with self._lock:
                    self.acknowledged += done is True
                    self.unknown += done is None
                if not done:
                    time.sleep(0.05)


class _Writer:
    def __init__(self, channel: grpc.Channel) -> None:
        self._providers = ProviderServiceStub(channel)
        self._client_types = ClientTypeServiceStub(channel)
        self._known: list[client_type_pb2.ClientType] = []
        self._provider: provider_pb2.Provider | None = None

    def write(self) -> bool | None:
        """Do one write; returns whether it was done, None if that is unknown."""
        try:
            self._choose()()
        except grpc.RpcError as error:
            unsent = "failed to connect" in (error.details() or "")
            return False if unsent or error.code() in REJECTED else None
        return True

    def _choose(self) -> Callable[[], object]:
        if self._provider is None:
            return self._create_provider
        if len(self._known) < 3:
            return self._create
        choices = [self._create] * 8 + [self._update] * 6 + [self._delete] * 4
        return random.choice([*choices, self._delete_provider])  # noqa: S311

    def _create_provider(self) -> None:
        self._provider = new_provider(self._providers)

    def _delete_provider(self) -> None:
        assert self._provider
        request = provider_pb2.DeleteProviderRequest(id=self._provider.id)
        self._provider, self._known = None, []
        self._providers.DeleteProvider(request, timeout=5)

    def _create(self) -> None:
        assert self._provider
        draft = client_type_pb2.ClientType(
            name="c",
            response_types=[client_type_pb2.RESPONSE_TYPE_CODE],
            grant_types=[client_type_pb2.GRANT_TYPE_PKCE],
        )
        request = client_type_pb2.CreateClientTypeRequest(
            provider_id=self._provider.id, client_type=draft
        )
        self._known.append(self._client_types.CreateClientType(request, timeout=5))

    def _update(self) -> None:
        changed = random.choice(self._known)  # noqa: S311
        changed.name = str(random.random())  # noqa: S311
        changed.etag = ""
        request = client_type_pb2.UpdateClientTypeRequest(client_type=changed)
        self._client_types.UpdateClientType(request, timeout=5)

    def _delete(self) -> None:
        gone = self._known.pop()
        request = client_type_pb2.DeleteClientTypeRequest(provider_id=gone.provider_id, id=gone.id)
        self._client_types.DeleteClientType(request, timeout=5)


class Watcher:
    """A thread that watches, and opens its stream again and again, at any server."""

    def __init__(self, servers: list[OwnServer]) -> None:
        self.changes: list[Change] = []
        self.opened = 0
        """How many streams had a response."""
        self.errors = set[grpc.StatusCode]()
        self._token = ""
        self._servers = servers
        self._stopped = threading.Event()
        with channel_to(servers[0]) as channel:
            stream: Any = WatchServiceStub(channel).Watch(WatchRequest())
            self._token = next(stream).resume_token
            stream.cancel()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self, last: str) -> None:
        """End after a change of the resource with this uid has arrived."""
        deadline = time.monotonic() + 60
        while not any(last == change.uid for change in self.changes):
            assert time.monotonic() < deadline, "the last change did not arrive"
            time.sleep(0.1)
        self._stopped.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stopped.is_set():
            with channel_to(random.choice(self._servers)) as channel:  # noqa: S311
                self._read(channel, random.uniform(0.05, 0.6))  # noqa: S311

    def _read(self, channel: grpc.Channel, seconds: float) -> None:
        request = WatchRequest(resume_token=self._token)
        stream: Any = WatchServiceStub(channel).Watch(request)
        timer = threading.Timer(seconds, stream.cancel)
        timer.start()
        try:
            for number, response in enumerate(stream):
                self.changes += response.changes
                self._token = response.resume_token
                self.opened += number == 0
        except grpc.RpcError as error:
            self.errors.add(error.code())
        finally:
            timer.cancel()
            stream.cancel()


def all_events(store: Store) -> list[Event]:
    log, found = AuditLog(store), list[Event]()
    page = log.list(CALL, START, 500)
    while page.items:
        found += [placed.event for placed in page.items]
        page = log.list(CALL, page.last, 500)
    return found


def current(store: Store) -> dict[str, str]:
    """The etags of all providers and client types, by uid."""
    providers = store.read_latest(CALL, lambda tx: tx.providers.list((), PageRange(limit=10000)))
    found = {provider.uid: provider.etag for provider in providers.items}
    for provider in providers.items:
        page = store.read_latest(
            CALL,
            lambda tx, id_=provider.id: tx.client_types.list(id_, (), PageRange(limit=10000)),  # type: ignore[misc]
        )
        found |= {client_type.uid: client_type.etag for client_type in page.items}
    return found


@pytest.mark.parametrize(
    ("kills", "streams"),
    [
        pytest.param(3, 10, marks=pytest.mark.slow),
        pytest.param(scaled(12), 50, marks=pytest.mark.crash),
    ],
)
def test_each_write_has_one_event_and_each_change_arrives_once(
    database_url: str, kills: int, streams: int
) -> None:
    count = 1 if database_url.startswith("sqlite") else 2
    servers = [OwnServer(database_url) for _ in range(count)]
    for server in servers:
        server.start()
    watcher, writers = Watcher(servers), Writers(servers)
    for number in range(kills):
        time.sleep(random.uniform(1, 3))  # noqa: S311
        server = servers[number % count]
        server.end(random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))  # noqa: S311
        server.start()
    while writers.acknowledged < 1000 or watcher.opened < streams:
        time.sleep(0.1)
    writers.stop()
    with channel_to(servers[0]) as channel:
        last = new_provider(ProviderServiceStub(channel))
    watcher.stop(last.uid)
    for server in servers:
        server.stop()
    store = Store(open_engine(parse_url(database_url)), VAULT)
    events, state = all_events(store), current(store)
    report = verify(store, CALL)
    store.close()

    by_uid: dict[str, list[Event]] = {}
    for event in events:
        if event.kind in (AuditKind.PROVIDER, AuditKind.CLIENT_TYPE):
            by_uid.setdefault(event.uid, []).append(event)
    assert report.problems == []
    assert report.unsealed == 0
    # None without its write: the events of each resource lead to what is stored, without a gap.
    last_etags = {uid: found[-1].etag_after for uid, found in by_uid.items()}
    assert {uid: etag for uid, etag in last_etags.items() if etag} == state
    for found in by_uid.values():
        assert found[0].action is AuditAction.CREATE
        assert all(a.etag_after == b.etag_before != "" for a, b in pairwise(found))
    # With a provider, its client types are deleted: these events are not separate writes.
    calls = [e for e in events if not _is_cascade(e)]
    assert writers.acknowledged + 1 <= len(calls) <= writers.acknowledged + 1 + writers.unknown
    assert TOKEN not in "".join(json.dumps([e.before, e.after]) for e in events)
    watched = [_essence(change) for change in watcher.changes]
    assert len({change.resume_token for change in watcher.changes}) == len(watched)
    assert watched == [(event.uid, event.etag_after or "deleted") for event in events]
    assert watcher.errors <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
    assert watcher.opened >= streams
    print(  # noqa: T201
        f"{kills} kills, {writers.acknowledged} acknowledged, {writers.unknown} unknown,"
        f" {len(events)} events; {watcher.opened} streams: 0 missed, 0 doubled"
    )


def _is_cascade(event: Event) -> bool:
    return event.kind is AuditKind.CLIENT_TYPE and event.method.endswith("/DeleteProvider")


def _essence(change: Change) -> tuple[str, str]:
    resource: Any = getattr(change, change.WhichOneof("resource") or "")
    return change.uid, "deleted" if change.type == CHANGE_TYPE_DELETED else resource.etag
