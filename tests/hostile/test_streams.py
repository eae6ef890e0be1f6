"""Streams that are not finished, or whose reply nobody reads, take nothing from others."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from grpc_health.v1 import health_pb2

from tests.hostile.crowd import Crowd
from tests.hostile.http2 import Connection, Headers, http, message, rpc
from tests.hostile.system import (
    API,
    CHECK,
    LIST,
    REFLECTION,
    SECONDS_OF_HEALTH,
    WATCH,
    System,
    rss_mib,
)
from tests.hostile.victims import P99_SECONDS

pytestmark = pytest.mark.attack

LONG = ("grpc-timeout", "99999999S")
REST_LIST = "/portal.rest.v1.PortalRestService/ListProviders"
WEB = "application/grpc-web+proto"
JSON = ("content-type", "application/json")

KINDS: dict[str, Headers] = {
    "unary": rpc(LIST, LONG),
    "server streaming": rpc(REST_LIST, LONG),
    "health Check": rpc(CHECK),
    "health Watch": rpc(WATCH, LONG),
    "reflection v1": rpc(REFLECTION[0], LONG),
    "reflection v1alpha": rpc(REFLECTION[1], LONG),
    "gRPC-Web": rpc(LIST, LONG, kind=WEB),
    "gRPC-Web health": rpc(CHECK, kind="application/grpc-web-text"),
    "gRPC-Web reflection": rpc(REFLECTION[1], kind=WEB),
    "no such method": rpc("/portal.oauth.v1.ProviderService/Nope", LONG),
    "no such service": rpc("/nobody.v1.Nope/Nope"),
    "no such health method": rpc("/grpc.health.v1.Health/List"),
    "REST": http("POST", API, JSON),
}


def hold(
    system: System,
    seconds: float,
    make: Callable[[int], Crowd],
    p99_seconds: float = P99_SECONDS,
) -> None:
    """Hold a crowd on each port at the same time, while victims call."""
    crowds = [make(number) for number in system.ports.values()]
    with system.unharmed(p99_seconds=p99_seconds):
        threads = [threading.Thread(target=crowd.hold, args=(seconds,)) for crowd in crowds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(crowd.opened for crowd in crowds)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_streams_without_a_message_take_nothing(
    one: System, seconds: float, kind: str
) -> None:
    hold(one, seconds, lambda port: Crowd(port, 10, 100, lambda c: c.begin(KINDS[kind])))


@pytest.mark.alone
def test_streams_of_half_a_message_take_nothing(one: System, seconds: float) -> None:
    kinds = list(KINDS.values())

    def open_half(connection: Connection) -> None:
        stream = connection.begin(kinds[len(connection.replies) % len(kinds)])
        connection.data(stream, message(b"\x0a\x03abc", length=100))

    hold(one, max(seconds, 3), lambda port: Crowd(port, 4, 50, open_half))


def test_streams_without_a_message_of_all_kinds_take_nothing_for_long(
    attacked: System, seconds: float
) -> None:
    kinds = list(KINDS.values())

    def open_next(connection: Connection) -> None:
        connection.begin(kinds[len(connection.replies) % len(kinds)])

    hold(attacked, max(seconds, SECONDS_OF_HEALTH), lambda port: Crowd(port, 10, 100, open_next))


@pytest.mark.long
def test_one_health_check_without_a_message_does_not_take_a_server_away(
    attacked: System, seconds: float
) -> None:
    hold(
        attacked,
        max(seconds, SECONDS_OF_HEALTH),
        lambda port: Crowd(port, 2, 1, lambda c: c.begin(KINDS["health Check"])),
    )


def test_bodies_that_arrive_slowly_take_nothing(one: System, seconds: float) -> None:
    kinds = list(KINDS.values())

    class Dripping(Connection):
        def pump(self, seconds: float = 0) -> None:
            super().pump(seconds)
            for stream, reply in list(self.replies.items()):
                if stream and not reply.over:
                    self.data(stream, b"\0")

    def open_next(connection: Connection) -> None:
        connection.begin(kinds[len(connection.replies) % len(kinds)])

    hold(
        one,
        max(seconds, 3),
        lambda port: Crowd(port, 5, 50, open_next, lambda p, source: Dripping(p, source=source)),
    )


@pytest.mark.parametrize(
    "kind",
    [
        "both",
        *(
            pytest.param(kind, marks=pytest.mark.long)
            for kind in ("health Watch", "reflection v1", "reflection v1alpha")
        ),
    ],
)
def test_six_thousand_lasting_streams_take_nothing(
    attacked: System, seconds: float, kind: str
) -> None:
    """Streams that are whole and well formed, and are to last."""
    reflection = message(b"\x3a\x00")  # list_services

    def open_one(connection: Connection) -> None:
        turn = len(connection.replies) % 2
        watches = kind == "health Watch" or (kind == "both" and turn)
        if watches:
            connection.data(connection.begin(rpc(WATCH)), message(), end=True)
        else:
            path = REFLECTION[1 if kind == "reflection v1alpha" else 0]
            connection.data(connection.begin(rpc(path)), reflection)

    hold(attacked, max(seconds, 3), lambda port: Crowd(port, 30, 100, open_one))


def test_watches_of_always_new_names_leave_nothing_behind(one: System) -> None:
    """What is kept for each name of a service that is watched ends with the stream."""
    with one.unharmed():
        for number in range(60):
            for port in one.ports.values():
                with Connection(port) as connection:
                    name = f"{number:06}{port:06}".encode() + b"n" * 600_000
                    request = health_pb2.HealthCheckRequest(service=name.decode())
                    stream = connection.begin(rpc(WATCH))
                    connection.data(stream, message(request.SerializeToString()), end=True)
                    until = time.monotonic() + 0.3
                    reply = connection.replies[stream]
                    while not reply.headers and not reply.over and time.monotonic() < until:
                        connection.pump(0.02)


@pytest.mark.parametrize("path", ["/docs/swagger-ui-bundle.js", "/openapi.json"])
def test_readers_of_the_documentation_who_never_read_take_little_memory(
    one: System, seconds: float, path: str
) -> None:
    """It is public, and a file of 1.4 MB for each stream."""

    def connect(port: int, source: str) -> Connection:
        return Connection(port, source=source, settings={4: 0}, reads_data=False)

    before = rss_mib(one.envoy)
    grown = 0.0

    def watch() -> None:
        nonlocal grown
        until = time.monotonic() + seconds + 1
        while time.monotonic() < until:
            grown = max(grown, rss_mib(one.envoy) - before)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    get = http("GET", path)
    hold(
        one,
        seconds + 1,
        lambda port: Crowd(port, 3, 100, lambda c: c.begin(get, end=True), connect),
    )
    watcher.join()

    assert grown < 100, f"Envoy grew by {grown:.0f} MiB"


@pytest.fixture
def big(one: System) -> Iterator[int]:
    """A provider whose list of client types is 2 MB."""
    body = {"Name": "Big", "Type": "Keycloak", "WellKnownURL": "https://idp.test/x"}
    with one.stack.client() as client:
        provider: int = client.post("/oauth-providers", json=body).json()["ID"]
        path = f"/oauth-providers/{provider}"
        row = {"Name": "n", "Description": "d" * 4096, "ResponseTypes": "code", "GrantType": "pkce"}
        with ThreadPoolExecutor(8) as pool:
            made = list(
                pool.map(lambda _: client.post(f"{path}/client-types", json=row), range(500))
            )
        assert all(response.status_code == 200 for response in made)
        yield provider
        client.delete(f"{path}?force=true")


@pytest.mark.parametrize(
    "kind",
    [
        "REST",
        "native stream",
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ("REST list", "native")),
    ],
)
def test_readers_that_never_read_take_nothing(
    one: System, big: int, seconds: float, kind: str
) -> None:
    key = one.greedy_viewer
    number = bytes([8, *_varint(big)])
    calls: dict[str, tuple[Headers, bytes]] = {
        "REST": (http("GET", f"{API}/{big}", key=key), b""),
        "REST list": (http("GET", f"{API}/{big}/client-types?per_page=1000", key=key), b""),
        "native": (
            rpc("/portal.oauth.v1.ClientTypeService/ListClientTypes", LONG, key=key),
            message(number + b"\x10\xc8\x01"),
        ),
        "native stream": (
            rpc("/portal.rest.v1.PortalRestService/ListClientTypes", LONG, key=key),
            message(number),
        ),
    }
    headers, body = calls[kind]

    def open_one(connection: Connection) -> None:
        stream = connection.begin(headers, end=not body)
        if body:
            connection.data(stream, body, end=True)

    def connect(port: int, source: str) -> Connection:
        return Connection(port, source=source, settings={4: 0}, reads_data=False)

    # A key that may read asks for whole providers of megabytes: each takes Envoy's core and
    # a server's for a good part of a second, and two are made at a time.
    bound = P99_SECONDS
    hold(one, max(seconds, 3), lambda port: Crowd(port, 4, 8, open_one, connect), bound)


def _varint(number: int) -> list[int]:
    low, high = number & 0x7F, number >> 7
    return [low | 0x80, *_varint(high)] if high else [low]
