"""Frames in numbers, orders and forms that HTTP/2 does not foresee."""

import gzip
import itertools
import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests.hostile.http2 import PREFACE, Connection, Headers, http, message, raw_frame, rpc
from tests.hostile.system import API, CHECK, LIST, WATCH, System, cpu_seconds

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 0x1, 0x4

GET = http("GET", API)
UNARY = rpc(LIST)


Flood = Callable[[Connection], Iterator[bytes]]


def _rapid_reset(headers: Headers, body: bytes = b"") -> Flood:
    def frames(connection: Connection) -> Iterator[bytes]:
        for stream in itertools.count(1, 2):
            yield connection.headers_frame(stream, headers, end=not body)
            yield raw_frame(DATA, END_STREAM, stream, body) * bool(body)
            yield raw_frame(RST, 0, stream, (8).to_bytes(4))

    return frames


def _continuation(connection: Connection) -> Iterator[bytes]:
    yield raw_frame(HEADERS, 0, 1, connection.encoder.encode(GET))
    while True:
        yield raw_frame(CONTINUATION, 0, 1, b"")


def _long_continuation(connection: Connection) -> Iterator[bytes]:
    yield raw_frame(HEADERS, 0, 1, connection.encoder.encode(GET))
    for number in itertools.count():
        block = connection.encoder.encode([(f"x-{number}", "y" * 100)])
        yield raw_frame(CONTINUATION, 0, 1, block)


def _always(*frames: bytes) -> Flood:
    return lambda _connection: itertools.repeat(b"".join(frames))


def _on_open_stream(headers: Headers, *frames: bytes) -> Flood:
    def found(connection: Connection) -> Iterator[bytes]:
        yield connection.headers_frame(1, headers)
        yield from itertools.repeat(b"".join(frames))

    return found


def _new_streams(headers: Headers, *, end: bool) -> Flood:
    def frames(connection: Connection) -> Iterator[bytes]:
        for stream in itertools.count(1, 2):
            yield connection.headers_frame(stream, headers, end=end)

    return frames


def _window_of_one(connection: Connection) -> Iterator[bytes]:
    yield raw_frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\x01")
    for stream in itertools.count(1, 2):
        yield connection.headers_frame(stream, http("GET", "/docs"), end=True)
        yield raw_frame(WINDOW, 0, stream, (1).to_bytes(4)) * 20


def _hpack_bomb(connection: Connection) -> Iterator[bytes]:
    """One large entry of the table, named again and again in one byte each."""
    yield connection.headers_frame(1, [*GET, ("x-bomb", "b" * 3800)], end=True)
    for stream in itertools.count(3, 2):
        block = connection.encoder.encode(GET) + b"\xbe" * 16000
        yield raw_frame(HEADERS, END_HEADERS | END_STREAM, stream, block[:16384])


FLOODS: dict[str, Flood] = {
    "rapid reset of REST": _rapid_reset(GET),
    "rapid reset of gRPC": _rapid_reset(UNARY),
    "rapid reset of health": _rapid_reset(rpc(CHECK)),
    "rapid reset of Watch": _rapid_reset(rpc(WATCH)),
    "CONTINUATION, empty": _continuation,
    "CONTINUATION, long": _long_continuation,
    "PING": _always(raw_frame(PING, 0, 0, b"12345678")),
    "SETTINGS": _always(raw_frame(SETTINGS, 0, 0, b"")),
    "SETTINGS that change": _always(
        raw_frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\x01" + b"\0\x01\0\0\0\0"),
        raw_frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff" + b"\0\x01\0\0\x10\0"),
    ),
    "empty DATA": _on_open_stream(UNARY, raw_frame(DATA, 0, 1, b"")),
    "padded DATA": _on_open_stream(UNARY, raw_frame(DATA, 0x8, 1, b"\xff" + bytes(255))),
    "PRIORITY": _always(raw_frame(PRIORITY, 0, 1, b"\0\0\0\x03\x10")),
    "PRIORITY of many streams": lambda _: (
        raw_frame(PRIORITY, 0, stream, b"\0\0\0\0\x10") for stream in itertools.count(1, 2)
    ),
    "WINDOW_UPDATE": _always(raw_frame(WINDOW, 0, 0, (1).to_bytes(4))),
    "unknown frames": _always(raw_frame(0xBE, 0xFF, 0, b"x" * 100)),
    "RST_STREAM of no stream": _always(raw_frame(RST, 0, 1, (8).to_bytes(4))),
    "streams without an end": _new_streams(UNARY, end=False),
    "streams": _new_streams(GET, end=True),
    "a window of one": _window_of_one,
    "an HPACK bomb": _hpack_bomb,
}


RESETS_WITH_A_KEY = (
    LIST,
    "/portal.oauth.v1.ProviderService/CreateProvider",
    "/portal.rest.v1.PortalRestService/ListProviders",
)


def _reset_with_key(one: System, method: str) -> Flood:
    return _rapid_reset(rpc(method, key=one.greedy_admin), message())


@pytest.mark.attack
def test_floods_of_frames_of_all_kinds_take_nothing_from_others(
    one: System, seconds: float
) -> None:
    with_key = [_reset_with_key(one, method) for method in RESETS_WITH_A_KEY]
    _flood(one, seconds, *FLOODS.values(), *with_key)


@pytest.mark.attack
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.alone if name == "rapid reset of REST" else pytest.mark.long,
        )
        for name in FLOODS
    ],
)
def test_a_flood_of_frames_takes_nothing_from_others(
    one: System, seconds: float, name: str
) -> None:
    _flood(one, seconds, FLOODS[name])


@pytest.mark.attack
@pytest.mark.long
@pytest.mark.parametrize("method", RESETS_WITH_A_KEY)
def test_rapid_resets_of_calls_with_a_key_take_nothing_from_other_keys(
    one: System, seconds: float, method: str
) -> None:
    _flood(one, seconds, _reset_with_key(one, method))


def _flood(one: System, seconds: float, *floods: Flood) -> None:
    """Send each flood to both ports at least once, and for this long."""
    until = time.monotonic() + seconds
    with one.unharmed():
        for turn, make in enumerate(itertools.cycle(floods)):
            if turn >= len(floods) and time.monotonic() > until:
                break
            for port in one.ports.values():
                with Connection(port) as connection:
                    frames = make(connection)
                    for _ in range(10):
                        if connection.closed:
                            break
                        connection.send(b"".join(itertools.islice(frames, 500)))
                        connection.pump()


MALFORMED: dict[str, bytes] = {
    "no preface": raw_frame(SETTINGS, 0, 0, b""),
    "a wrong preface": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    "a preface and a request": PREFACE + b"GET / HTTP/1.1\r\n\r\n",
    "no SETTINGS": PREFACE + raw_frame(PING, 0, 0, b"12345678"),
    "SETTINGS of 5 bytes": PREFACE + raw_frame(SETTINGS, 0, 0, b"12345"),
    "SETTINGS on a stream": PREFACE + raw_frame(SETTINGS, 0, 1, b""),
    "a window over 2^31": PREFACE + raw_frame(SETTINGS, 0, 0, b"\0\x04\xff\xff\xff\xff"),
    "a frame size of 1": PREFACE + raw_frame(SETTINGS, 0, 0, b"\0\x05\0\0\0\x01"),
    "a frame of 16 MiB": PREFACE + raw_frame(SETTINGS, 0, 0, b"", length=0xFFFFFF),
    "PING of 7 bytes": PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(PING, 0, 0, b"1234567"),
    "DATA on stream 0": PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(DATA, 0, 0, b"x"),
    "DATA on an idle stream": PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(DATA, 0, 1, b"x"),
    "HEADERS on stream 2": PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(HEADERS, 5, 2, b"\x82"),
    "HEADERS that are no HPACK": PREFACE
    + raw_frame(4, 0, 0, b"")
    + raw_frame(HEADERS, 5, 1, b"\xff" * 100),
    "too much padding": PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(HEADERS, 0xD, 1, b"\xff\x82"),
    "CONTINUATION alone": PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(CONTINUATION, 4, 1, b""),
    "a stream that depends on itself": PREFACE
    + raw_frame(4, 0, 0, b"")
    + raw_frame(HEADERS, 0x25, 1, b"\0\0\0\x01\x10\x82"),
    "PUSH_PROMISE": PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(PUSH, 4, 1, b"\0\0\0\x02\x82"),
    "WINDOW_UPDATE of 0": PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(WINDOW, 0, 0, bytes(4)),
    "WINDOW_UPDATE over 2^31": PREFACE
    + raw_frame(4, 0, 0, b"")
    + raw_frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "GOAWAY": PREFACE + raw_frame(4, 0, 0, b"") + raw_frame(GOAWAY, 0, 0, bytes(8)),
    "no pseudo headers": PREFACE
    + raw_frame(4, 0, 0, b"")
    + raw_frame(HEADERS, 5, 1, b"\x00\x01a\x01b"),
    "noise": bytes(range(256)) * 20,
}


@pytest.mark.attack
def test_malformed_frames_take_nothing_from_others(attacked: System, seconds: float) -> None:
    until = time.monotonic() + max(seconds, 3)
    with attacked.unharmed():
        while time.monotonic() < until:
            for data in [*MALFORMED.values(), PREFACE + os.urandom(2000)]:
                for port in attacked.ports.values():
                    with Connection(port, preface=False) as connection:
                        connection.send(data)
                        connection.pump(0.005)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_connection_of_malformed_frames_is_closed_or_served_and_no_other(
    one: System, port: str, name: str
) -> None:
    with Connection(one.ports[port], preface=False) as connection:
        connection.send(MALFORMED[name])
        connection.pump(0.05)

    one.require_served()


@pytest.mark.parametrize(
    "flood", ["PING", "SETTINGS", "empty DATA", "PRIORITY", "rapid reset of gRPC"]
)
def test_ten_thousand_frames_cost_little(one: System, port: str, flood: str) -> None:
    before = cpu_seconds(one.envoy)
    with Connection(one.ports[port]) as connection:
        frames = FLOODS[flood](connection)
        for _ in range(20):
            connection.send(b"".join(itertools.islice(frames, 500)))
            connection.pump()
    time.sleep(0.2)

    assert cpu_seconds(one.envoy) - before < 1.0


GZIP_BOMB = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03"

MESSAGES: dict[str, tuple[bytes, set[int]]] = {
    "none": (b"", {3, 8, 12, 13}),
    "larger than is allowed": (message(bytes(5 << 20)), {8}),
    "of 4 GiB, it says": (message(b"abc", length=0xFFFFFFFF), {3, 8, 12, 13}),
    "shorter than it says": (message(b"abc", length=10), {3, 8, 12, 13}),
    "with a flag of 7": (message(b"", flag=7), {0, 3, 12, 13}),
    "compressed, but how?": (message(GZIP_BOMB, flag=1), {3, 12, 13}),
    "two": (message() * 2, {0, 3, 12, 13}),
    "a thousand": (message() * 1000, {0, 3, 12, 13}),
    "no protobuf": (message(b"\xff\xff\xff"), {3}),
    "nested deeply": (message(b"\x0b" * 5000), {3}),
    "a text that is not UTF-8": (message(b"\x1a\x02\xff\xfe"), {3}),
    "half a frame": (b"\0\0\0", {3, 8, 12, 13}),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_bytes_that_are_not_a_message_are_rejected(one: System, port: str, name: str) -> None:
    body, statuses = MESSAGES[name]
    headers = rpc(LIST, ("grpc-timeout", "5S"), key=one.greedy_viewer)
    with Connection(one.ports[port]) as connection:
        found = connection.call(headers, body)

    # A transport may end the stream instead.
    if found.grpc is not None:
        assert found.grpc in statuses
    else:
        assert found.status in {0, 400, 413} or found.reset is not None
    one.require_served()


@pytest.mark.attack
def test_a_gzip_bomb_is_rejected_and_not_kept_in_memory(one: System) -> None:
    bomb = message(gzip.compress(bytes(100 << 20)), flag=1)
    with one.unharmed():
        for port in list(one.ports.values()) * 10:
            with Connection(port) as connection:
                headers = rpc(LIST, ("grpc-encoding", "gzip"), key=one.greedy_viewer)
                found = connection.call(headers, bomb)
                assert found.grpc in {3, 8, 12, 13, None}
