"""Which connections are used for more than one request."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from math import inf

import pytest
import trustme

from portal_server.domain.discovery import CheckOutcome
from portal_server.domain.errors import OutcomeUnknown, Reason
from portal_server.idp import connection_pool
from portal_server.idp.connection import MAX_BYTES, Connection
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.scripted import Bytes, Scripted, Seen, cut, http
from tests.support.stack import soon

METADATA = {"client_name": "web [0123456789ab]"}
CLIENT = {"client_id": "one", **METADATA}
KEEPS = {"Connection": "keep-alive"}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the pool, which stands still: a busy machine must not end connections."""
    now = [0.0]
    monkeypatch.setattr(connection_pool, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def ended(keeping: Scripted, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Whether a connection of the provider has ended."""
    ended, serve = threading.Event(), keeping.serve

    def serve_to_the_end(sock: socket.socket) -> None:
        serve(sock)
        ended.set()

    monkeypatch.setattr(keeping, "serve", serve_to_the_end)
    return ended


@pytest.fixture
def keeping(provider: Scripted) -> Scripted:
    """A provider that keeps its connections open, and announces it."""
    provider.keeps_open = True
    discovery = provider.responses["/.well-known/openid-configuration"]
    assert isinstance(discovery, bytes)
    head, _, body = discovery.partition(b"\r\n\r\n")
    kept = b"\r\nConnection: Keep-Alive, Upgrade\r\n\r\n"
    provider.responses["/.well-known/openid-configuration"] = head + kept + body
    provider.responses["/register"] = http(201, CLIENT, KEEPS)
    return provider


def _kept(registrar: Registrar) -> Connection:
    """The only connection that is kept."""
    [idle] = registrar._caller.connections._idle  # noqa: SLF001
    return idle.connection


def test_a_connection_that_the_provider_keeps_open_is_used_again(
    registrar: Registrar, keeping: Scripted
) -> None:
    access = access_to(keeping.well_known)
    for _ in range(3):
        assert registrar.register(access, METADATA).client_id == "one"
    assert keeping.connections == 1
    assert len(keeping.requests("POST")) == 3


def test_a_provider_that_does_not_say_that_it_keeps_a_connection_gets_new_ones(
    registrar: Registrar, keeping: Scripted
) -> None:
    keeping.responses["/register"] = http(201, CLIENT)
    access = access_to(keeping.well_known)
    for _ in range(3):
        registrar.register(access, METADATA)
    assert keeping.connections == 3


def test_a_connection_that_the_provider_has_closed_is_not_used(
    registrar: Registrar, keeping: Scripted, ended: threading.Event
) -> None:
    keeping.keeps_open = False
    access = access_to(keeping.well_known)
    registrar.discover(access)
    assert ended.wait(5)
    assert soon(lambda: not _kept(registrar).is_open(), 5)  # its end has arrived
    assert registrar.register(access, METADATA).client_id == "one"
    assert keeping.connections == 2


def test_bytes_after_a_response_are_not_the_next_response(
    registrar: Registrar, keeping: Scripted
) -> None:
    access = access_to(keeping.well_known)
    registrar.discover(access)
    other = http(201, {"client_id": "another", **METADATA}, KEEPS)
    keeping.responses["/register"] = http(201, CLIENT, KEEPS) + other
    assert registrar.register(access, METADATA).client_id == "one"
    assert registrar.register(access, METADATA).client_id == "one"
    assert keeping.connections == 2


def test_bytes_that_come_later_are_not_the_next_response(
    registrar: Registrar, keeping: Scripted
) -> None:
    received, sent = threading.Event(), threading.Event()

    def late(_: Seen) -> Iterator[bytes]:
        yield http(201, CLIENT, KEEPS)
        received.wait(5)
        yield http(201, {"client_id": "another", **METADATA}, KEEPS)
        sent.set()

    access = access_to(keeping.well_known)
    keeping.responses["/register"] = late
    assert registrar.register(access, METADATA).client_id == "one"
    received.set()
    assert sent.wait(5)
    assert soon(lambda: not _kept(registrar).is_open(), 5)  # they have arrived
    assert registrar.register(access, METADATA).client_id == "one"
    assert keeping.connections == 2


@pytest.mark.parametrize(("name", "value"), [("IDLE_S", 0), ("MAX_AGE_S", -inf), ("MAX_IDLE", 0)])
def test_a_connection_is_kept_for_a_moment(
    registrar: Registrar,
    keeping: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: float,
) -> None:
    monkeypatch.setattr(connection_pool, name, value)
    access = access_to(keeping.well_known)
    registrar.register(access, METADATA)
    registrar.register(access, METADATA)
    assert keeping.connections == 3


def test_idle_connections_are_closed(
    registrar: Registrar, keeping: Scripted, clock: list[float], ended: threading.Event
) -> None:
    registrar.register(access_to(keeping.well_known), METADATA)
    clock[0] = connection_pool.IDLE_S * 0.9
    registrar.close_idle()
    assert not ended.wait(0.05)
    clock[0] = connection_pool.IDLE_S
    registrar.close_idle()
    assert ended.wait(5)


def test_a_changed_provider_gets_a_new_connection(registrar: Registrar, keeping: Scripted) -> None:
    access = access_to(keeping.well_known)
    registrar.register(access, METADATA)
    later = access.provider.update_time + timedelta(microseconds=1)
    changed = replace(access, provider=replace(access.provider, update_time=later))
    registrar.register(changed, METADATA)
    registrar.register(access_to(keeping.well_known), METADATA)
    assert keeping.connections == 3


UNUSABLE: dict[str, Bytes] = {
    "truncated": cut(http(201, CLIENT, KEEPS), 5) + b"\r\n",
    "not HTTP": b"what?\r\n\r\n",
    "compressed": http(201, gzip.compress(b"{}"), KEEPS | {"Content-Encoding": "gzip"}),
    "too large": http(201, b" " * MAX_BYTES, KEEPS),
    "closed": http(201, {}, {"Connection": "keep-alive, close"}),
    "old": http(201, {}, KEEPS).replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_after_such_a_response_there_is_a_new_connection(keeping: Scripted, name: str) -> None:
    registrar = Registrar(allow_private=True, total_s=2.0)
    access = access_to(keeping.well_known)
    keeping.responses["/register"] = UNUSABLE[name]
    with pytest.raises(OutcomeUnknown):
        registrar.register(access, METADATA)
    keeping.responses["/register"] = http(201, CLIENT, KEEPS)
    assert registrar.register(access, METADATA).client_id == "one"
    assert keeping.connections == 2
    registrar.close()


def test_each_response_may_have_the_largest_size(registrar: Registrar, keeping: Scripted) -> None:
    access = access_to(keeping.well_known)
    large = {**CLIENT, "more": "x" * (MAX_BYTES * 2 // 3)}
    keeping.responses["/register"] = http(201, large, KEEPS)
    for _ in range(3):
        registrar.register(access, METADATA)
    assert keeping.connections == 1


def test_each_request_has_a_deadline(keeping: Scripted) -> None:
    registrar = Registrar(allow_private=True, total_s=2.0)
    access = access_to(keeping.well_known)
    registrar.register(access, METADATA)

    def slow(_: Seen) -> Bytes:
        time.sleep(3)
        return http(201, CLIENT, KEEPS)

    keeping.responses["/register"] = slow
    with pytest.raises(OutcomeUnknown) as caught:
        registrar.register(access, METADATA)
    assert caught.value.reason is Reason.PROVIDER_TIMEOUT
    assert keeping.connections == 1
    registrar.close()


def test_connections_with_tls_are_kept_too(registrar: Registrar) -> None:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    with Scripted(context=context, keeps_open=True) as provider:
        provider.discovers()
        provider.responses["/register"] = http(201, CLIENT, KEEPS)
        trusted = {"ca_certificate": ca.cert_pem.bytes().decode()}
        access = access_to(provider.well_known, token="token", **trusted)  # noqa: S106
        for _ in range(3):
            registrar.register(access, METADATA)
        assert provider.connections == 2  # one for discovery, whose response does not say it
        checks = {each.name: each.outcome for each in registrar.check(access)}
        assert checks["tls"] is CheckOutcome.OK
