"""The Python clients against a real server: calls, retries, TLS, errors, examples."""

import asyncio
import doctest
import importlib
import inspect
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import grpc
import pytest
import trustme
from pydantic import SecretStr

from portal_client import (
    ERROR_REASON_ETAG_MISMATCH,
    ERROR_REASON_UNSPECIFIED,
    FIELD_ERROR_REASON_REQUIRED,
    FIELD_ERROR_REASON_UNSPECIFIED,
    GRANT_TYPE_PKCE,
    PROVIDER_TYPE_OTHER,
    RESPONSE_TYPE_CODE,
    Aborted,
    AlreadyExists,
    AsyncPortal,
    ClientType,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    Portal,
    PortalError,
    Provider,
    Tls,
    Unauthenticated,
    Unavailable,
    Violation,
)
from tests.support.databases import new_sqlite
from tests.support.own_server import started
from tests.support.postgres import free_port
from tests.support.walk import METHODS

KEY = "the-clients-key"
UIDS = "5b0e2c3a-4d0f-4e1b-9a51-0f4a2b6c7d8e", "7c1f3d4b-5e1a-4f2c-8b62-1a5b3c7d8e9f"
PROVIDER = Provider(
    name="Staff", type=PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/.well-known"
)


def client_type(name: str) -> ClientType:
    return ClientType(name=name, response_types=[RESPONSE_TYPE_CODE], grant_types=[GRANT_TYPE_PKCE])


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    with started(new_sqlite(tmp_path / "p.db"), admin_key=SecretStr(KEY)) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def portal(target: str) -> Iterator[Portal]:
    with Portal(target, key=KEY) as portal:
        portal.create_provider(PROVIDER)
        yield portal


def test_a_client_type_is_created_updated_and_deleted(portal: Portal) -> None:
    created = portal.create_client_type(1, client_type("web"))
    created.description = "for browsers"
    updated = portal.update_client_type(created, fields=["description"])

    updated.ClearField("findings")  # of the response to a write only
    assert portal.get_client_type(1, created.id) == updated
    assert (updated.name, updated.description) == ("web", "for browsers")

    portal.delete_client_type(1, created.id, etag=updated.etag)
    with pytest.raises(NotFound):
        portal.get_client_type(1, created.id)
    portal.delete_provider(1)
    assert list(portal.list_providers()) == []


def test_lists_iterate_over_all_pages(portal: Portal) -> None:
    names = [f"n{number}" for number in range(7)]
    for name in names:
        portal.create_client_type(1, client_type(name))

    assert [one.name for one in portal.list_client_types(1, page_size=2)] == names
    assert [one.name for one in portal.list_client_types(1, filter='name = "n3"')] == ["n3"]
    assert [one.id for one in portal.list_providers(page_size=1)] == [1]


def test_an_error_names_the_invalid_fields(portal: Portal) -> None:
    with pytest.raises(InvalidArgument) as raised:
        portal.create_client_type(1, ClientType())

    fields = [violation.field for violation in raised.value.violations]
    assert fields == ["client_type.name", "client_type.response_types", "client_type.grant_types"]
    assert {violation.reason for violation in raised.value.violations} == {
        FIELD_ERROR_REASON_REQUIRED
    }
    assert str(raised.value).startswith("client_type.name: is required; ")


def test_a_stale_etag_has_its_own_reason(portal: Portal) -> None:
    created = portal.create_client_type(1, client_type("web"))
    portal.update_client_type(ClientType(provider_id=1, id=created.id, description="new"))
    created.name = "older"
    with pytest.raises(Aborted) as stale:
        portal.update_client_type(created, fields=["name"])

    assert stale.value.reason == ERROR_REASON_ETAG_MISMATCH
    assert stale.value.reason_name == "ETAG_MISMATCH"


def test_an_unknown_reason_is_unspecified_and_its_name_is_kept() -> None:
    error = PortalError(grpc.StatusCode.ABORTED, "text", "FROM_A_NEWER_SERVER")

    assert error.reason == ERROR_REASON_UNSPECIFIED
    assert error.reason_name == "FROM_A_NEWER_SERVER"
    assert PortalError(grpc.StatusCode.ABORTED, "text").reason == ERROR_REASON_UNSPECIFIED
    assert Violation("name", "text", "NEWER").reason == FIELD_ERROR_REASON_UNSPECIFIED


def test_a_resource_can_keep_the_uid_of_another_system(portal: Portal) -> None:
    provider = portal.create_provider(PROVIDER, uid=UIDS[0])
    created = portal.create_client_type(provider.id, client_type("web"), uid=UIDS[1])
    with pytest.raises(AlreadyExists):
        portal.create_provider(PROVIDER, uid=UIDS[0])
    with pytest.raises(AlreadyExists):
        portal.create_client_type(1, client_type("web"), uid=UIDS[1])

    assert (provider.uid, created.uid) == UIDS


def test_a_wrong_key_is_an_error_that_does_not_show_it(target: str) -> None:
    with Portal(target, key="secret-word") as portal, pytest.raises(Unauthenticated) as raised:
        portal.get_provider(1)

    assert "secret-word" not in f"{raised.value!r} {portal!r}"


def test_a_client_requires_an_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTAL_KEY", raising=False)
    with pytest.raises(ValueError, match="PORTAL_KEY"):
        Portal("localhost:1")


def test_an_unreachable_server_is_unavailable_after_retries() -> None:
    with Portal(f"127.0.0.1:{free_port()}", key=KEY) as portal, pytest.raises(Unavailable):
        portal.get_provider(1)


def test_a_server_that_does_not_respond_exceeds_the_deadline() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Portal(address, key=KEY, timeout=0.5) as portal, pytest.raises(DeadlineExceeded):
            portal.get_provider(1)


class Proxy(socketserver.ThreadingTCPServer):
    """Forwards bytes. Drops the first `lose` responses and their connections."""

    daemon_threads = True

    def __init__(self, target: str, tls: ssl.SSLContext | None = None, lose: int = 0) -> None:
        host, _, port = target.partition(":")
        self.server = host, int(port)
        self.tls = tls
        self.lose = lose
        super().__init__(("127.0.0.1", 0), _Connection)

    @contextmanager
    def running(self) -> Iterator[str]:
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"localhost:{self.server_address[1]}"
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        tls = self.server.tls
        client = tls.wrap_socket(self.request, server_side=True) if tls else self.request
        with client, socket.create_connection(self.server.server) as server:
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            self._responses(server, client)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)

    def _responses(self, server: socket.socket, client: socket.socket) -> None:
        frames = server.makefile("rb")
        while head := frames.read(_FRAME_HEAD):
            payload = frames.read(int.from_bytes(head[:3]))
            if head[3] == _HEADERS and self.server.lose:
                self.server.lose -= 1
                return
            client.sendall(head + payload)


# RFC 9113, sections 4.1 and 6.2.
_FRAME_HEAD = 9
_HEADERS = 1


def test_a_write_whose_response_is_lost_is_retried_without_a_duplicate(
    portal: Portal, target: str
) -> None:
    proxy = Proxy(target, lose=2)
    with proxy.running() as address, Portal(address, key=KEY) as far:
        created = far.create_client_type(1, client_type("once"))

    assert proxy.lose == 0
    assert [one.id for one in portal.list_client_types(1)] == [created.id]


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(target: str, ca: trustme.CA) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    ca.issue_cert("localhost").configure_cert(context)
    with Proxy(target, context).running() as address:
        yield address


@pytest.mark.usefixtures("portal")
def test_tls_with_a_private_ca_carries_the_api_key(
    secure: str, ca: trustme.CA, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    with Portal(secure, key=KEY, tls=Tls(ca=file)) as far:
        assert far.get_provider(1).name == "Staff"

    async def name() -> str:
        async with AsyncPortal(secure, key=KEY, tls=Tls(ca=file)) as far:
            return (await far.get_provider(1)).name

    assert asyncio.run(name()) == "Staff"


def test_tls_with_an_unknown_ca_is_rejected(secure: str) -> None:
    with Portal(secure, key=KEY, tls=True) as far, pytest.raises(Unavailable):
        far.get_provider(1)


def test_the_asynchronous_client_has_every_method(target: str) -> None:
    async def live() -> list[str]:
        async with AsyncPortal(target, key=KEY) as portal:
            provider = await portal.create_provider(PROVIDER)
            provider.name = "Guests"
            await portal.update_provider(provider, fields=["name"])
            created = [
                await portal.create_client_type(provider.id, client_type(name)) for name in "abc"
            ]
            created[0].name = "z"
            await portal.update_client_type(created[0])
            await portal.delete_client_type(provider.id, created[1].id)
            with pytest.raises(InvalidArgument) as raised:
                await portal.create_client_type(provider.id, ClientType())
            assert len(raised.value.violations) == 3
            assert (await portal.get_client_type(provider.id, created[2].id)).name == "c"
            assert [one.name async for one in portal.list_providers()] == ["Guests"]
            names = [one.name async for one in portal.list_client_types(provider.id, page_size=1)]
            await portal.delete_provider(provider.id)
            with pytest.raises(NotFound):
                await portal.get_provider(provider.id)
            return names

    assert asyncio.run(live()) == ["z", "c"]


def test_both_clients_have_the_same_methods_and_arguments() -> None:
    def signatures(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in vars(kind).items()
            if callable(method) and not name.startswith("_")
        }

    assert signatures(Portal) == signatures(AsyncPortal)


def test_the_client_has_a_method_for_each_rpc_of_the_public_api() -> None:
    rpcs = [method.name for method in METHODS if method.full_name.startswith("portal.oauth.v1.")]
    names = {re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for name in rpcs}

    assert names == {name for name in vars(Portal) if not name.startswith("_")} - {"close"}


@pytest.mark.parametrize("module", ["sync", "aio"])
def test_the_examples_of_the_documentation_run(
    module: str, portal: Portal, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_TARGET", target)
    monkeypatch.setenv("PORTAL_KEY", KEY)
    found = importlib.import_module(f"portal_client.{module}")
    if module == "aio":
        portal.create_client_type(1, client_type("any"))
    result = doctest.testmod(found)

    assert result.attempted > 2
    assert result.failed == 0
