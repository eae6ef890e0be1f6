"""Connections that do nothing, or nothing to an end, keep nobody else out."""

import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest

from tests.hostile.http1 import Tcp
from tests.hostile.http2 import PREFACE, Connection, http, message, raw_frame, rpc
from tests.hostile.sockets import ADDRESSES
from tests.hostile.system import API, LIST, System, end, rss_mib, start_system
from tests.hostile.victims import Victims

HOST = b"Host: portal.test\r\n"
BODY = 1 << 20
# What Envoy may allocate, see envoy.yaml; near that it resets who holds most.
HEAP_MIB = 1024

OPENINGS: dict[str, bytes] = {
    "silent": b"",
    "a preface": PREFACE,
    "half a preface": PREFACE[:11],
    "idle HTTP/2": PREFACE + raw_frame(4, 0, 0, b""),
    "half a frame": PREFACE + raw_frame(4, 0, 0, b"") + b"\0\x40\0\x01\x04\0\0\0\x01abc",
    "half a request": b"GET /portal-api/oauth-providers HTTP/1.1\r\n" + HOST,
    "a request, then idle": b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "the start of TLS": bytes.fromhex("16030102000100") + bytes(200),
    "half a body": b"POST /portal-api/oauth-providers HTTP/1.1\r\n"
    + HOST
    + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
}


@pytest.fixture(autouse=True, scope="module")
def _many_files() -> Iterator[None]:
    """This process opens thousands of sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def allowed(wanted: int) -> int:
    """How many sockets this process may open, at most `wanted`."""
    return min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)


def crowd(system: System, openings: Sequence[bytes], number: int, seconds: float) -> None:
    """Hold so many connections on each port, from many addresses; open again what is closed."""
    held: list[tuple[int, str, Tcp]] = []
    until = time.monotonic() + seconds
    try:
        with system.unharmed():
            for at in range(number):
                for port in system.ports.values():
                    source = ADDRESSES[at % len(ADDRESSES)]
                    held.append((port, source, connection := Tcp(port, source)))
                    connection.send(openings[at % len(openings)])
            while time.monotonic() < until:
                for at, (port, source, connection) in enumerate(held):
                    if connection.closed:
                        again = Tcp(port, source)
                        held[at] = port, source, again
                        again.send(openings[at // 2 % len(openings)])
                    elif not at % 10:
                        connection.read(0.0001)
            for _, _, connection in held:
                connection.close()
    finally:
        for _, _, connection in held:
            connection.close()


@pytest.mark.attack
def test_idle_connections_of_all_kinds_block_no_caller(attacked: System, seconds: float) -> None:
    crowd(attacked, list(OPENINGS.values()), allowed(3000) // 2, max(seconds, 2))


@pytest.mark.attack
@pytest.mark.long
@pytest.mark.parametrize("opening", OPENINGS)
def test_many_idle_connections_block_no_caller(one: System, seconds: float, opening: str) -> None:
    crowd(one, [OPENINGS[opening]], allowed(2000) // 2, seconds)


@pytest.mark.attack
def test_five_thousand_silent_connections_block_no_caller(one: System, seconds: float) -> None:
    crowd(one, [OPENINGS["silent"]], allowed(10_000) // 2, seconds)


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory, victims: Victims) -> Iterator[System]:
    """A system that was started where a process may open 1,024 files, and no more."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))

    with pytest.MonkeyPatch.context() as patch:
        limited: Callable[..., object] = partial(subprocess.Popen, preexec_fn=limit)
        patch.setattr("tests.support.stack.subprocess.Popen", limited)
        folder = tmp_path_factory.mktemp("cramped")
        # Reflection is closed here, for the tests of that.
        system = start_system(folder, victims, PORTAL_WORKERS="1", PORTAL_OPEN_REFLECTION="false")
    yield system
    end(system.stack)


@pytest.mark.attack
@pytest.mark.parametrize(
    "openings",
    [
        ("silent", "idle HTTP/2"),
        *(pytest.param((name,), marks=pytest.mark.long) for name in ("silent", "idle HTTP/2")),
    ],
    ids=" and ".join,
)
def test_with_a_low_limit_of_open_files_idle_connections_soon_block_no_caller(
    cramped: System, seconds: float, openings: tuple[str, ...]
) -> None:
    held = []
    for at in range(allowed(2200)):
        port = list(cramped.ports.values())[at % 2]
        held.append(connection := Tcp(port, ADDRESSES[at % len(ADDRESSES)]))
        connection.send(OPENINGS[openings[at // 2 % len(openings)]])
    # The more connections there are, the sooner Envoy closes those that are idle.
    time.sleep(2)
    with cramped.unharmed():
        time.sleep(max(seconds, 3))
    for connection in held:
        connection.close()


@pytest.mark.attack
@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_closed_reflection_needs_a_key(cramped: System, port: str, version: str) -> None:
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    with Connection(cramped.ports[port]) as connection:
        found = connection.call(rpc(path), message(b"\x3a\x00"))

    assert found.grpc == 16


def _unfinished(kind: str, port: int, source: str) -> Tcp | Connection:
    """A connection with a body of 1 MiB except for one byte."""
    if kind == "HTTP/1.1":
        tcp = Tcp(port, source)
        head = f"POST {API} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        tcp.send(f"{head}Content-Length: {BODY}\r\n\r\n".encode() + b" " * (BODY - 1))
        return tcp
    if kind == "chunked":
        tcp = Tcp(port, source)
        head = f"POST {API} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        start = f"{head}Transfer-Encoding: chunked\r\n\r\n{BODY:x}\r\n".encode()
        tcp.send(start + b" " * (BODY - 1))
        return tcp
    connection = Connection(port, source=source)
    connection.pump(0.05)
    json = http("POST", API, ("content-type", "application/json"))
    # In one stream more than its window at the start may be a fault; so in many.
    for _ in range(16):
        stream = connection.begin(rpc(LIST) if kind == "native" else json)
        connection.data(stream, message(b"", length=BODY - 5) + b" " * (60 << 10))
    return connection


UNFINISHED = ("HTTP/1.1", "chunked", "HTTP/2", "native")


@pytest.mark.attack
@pytest.mark.parametrize(
    "kinds",
    [UNFINISHED, *(pytest.param((kind,), marks=pytest.mark.long) for kind in UNFINISHED)],
    ids=lambda kinds: kinds[0] if len(kinds) == 1 else "all",
)
def test_unfinished_bodies_take_bounded_memory_and_no_time_from_others(
    one: System, seconds: float, kinds: tuple[str, ...]
) -> None:
    before = rss_mib(one.envoy)
    held: list[Tcp | Connection] = []
    grown = 0.0
    with one.unharmed():
        for at in range(300):
            source = ADDRESSES[at % len(ADDRESSES)]
            kind = kinds[at % len(kinds)]
            held.extend(_unfinished(kind, port, source) for port in one.ports.values())
            grown = max(grown, rss_mib(one.envoy) - before)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            grown = max(grown, rss_mib(one.envoy) - before)
            time.sleep(0.1)
        for connection in held:
            connection.close()

    assert grown < HEAP_MIB, f"Envoy grew by {grown:.0f} MiB"


def test_an_unfinished_request_gets_an_error_within_fifteen_seconds(one: System) -> None:
    starts = (OPENINGS["half a body"], b"GET / HTTP/1.1\r\nHost: x\r\n")
    held = [Tcp(port) for port in one.ports.values() for _ in starts]
    deadline = time.monotonic() + 15
    for at, connection in enumerate(held):
        connection.send(starts[at % 2])
    for connection in held:
        connection.read(max(0.01, deadline - time.monotonic()), until=b"\r\n\r\n")
        connection.close()

    assert [connection.status for connection in held] == [408] * len(held)


@pytest.mark.attack
def test_headers_that_arrive_slowly_time_out(attacked: System, seconds: float) -> None:
    held: list[Tcp] = []
    with attacked.unharmed():
        for at in range(300):
            source = ADDRESSES[at % len(ADDRESSES)]
            held.extend(Tcp(port, source) for port in attacked.ports.values())
        until = time.monotonic() + seconds
        line = iter(b"GET /portal-api/oauth-providers HTTP/1.1\r\nX-Long: " + b"x" * 10_000)
        while time.monotonic() < until:
            byte = bytes([next(line)])
            for connection in held:
                connection.send(byte)
            time.sleep(0.1)
        for connection in held:
            connection.close()
