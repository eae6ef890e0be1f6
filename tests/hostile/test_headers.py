"""Reserved headers that are not well formed: rejected, and of no effect on any other call."""

import random
import string
import time

import pytest

from tests.hostile.http2 import Connection, Header, message, random_headers, rpc
from tests.hostile.system import LIST, System

TIMEOUTS: tuple[str | bytes, ...] = (
    "abc", "", "-1S", "+1S", "1", "S", "1.5S", "1 S", "0x1S", "1s", "1SS", "1S,1S",
    "100000000S", "99999999999999999999S", "\t", b"\xef\xbc\x91S",
)  # fmt: skip
BINARIES: tuple[str | bytes, ...] = ("!!!", "a", "====", "%00", "YQ==YQ==", b"\xff\xfe", "a b")
BINARY_NAMES = ("x-bin", "authorization-bin", "grpc-status-details-bin", "grpc-trace-bin")

REJECTED: dict[str, list[Header]] = (
    {f"grpc-timeout {value!r}": [("grpc-timeout", value)] for value in TIMEOUTS}
    | {"grpc-timeout twice": [("grpc-timeout", "5S"), ("grpc-timeout", "abc")]}
    | {f"x-bin {value!r}": [("x-bin", value)] for value in BINARIES}
    | {f"{name} not in base 64": [(name, "!!!")] for name in BINARY_NAMES[1:]}
    | {
        f"grpc-encoding {value!r}": [("grpc-encoding", value)]
        for value in ("nope", "gzip;q=1", "\t")
    }
)

# What these mean is left to the server; that they harm nobody is not.
HARMLESS: dict[str, list[Header]] = {
    "grpc-accept-encoding": [("grpc-accept-encoding", "nope,,;q=9,\t")],
    "a long grpc-accept-encoding": [("grpc-accept-encoding", "gzip," * 2000)],
    "grpc-internal-encoding-request": [("grpc-internal-encoding-request", "nope")],
    "grpc-previous-rpc-attempts": [("grpc-previous-rpc-attempts", "abc")],
    "negative grpc-previous-rpc-attempts": [("grpc-previous-rpc-attempts", "-1")],
    "grpc-retry-pushback-ms": [("grpc-retry-pushback-ms", "abc")],
    "grpc-status": [("grpc-status", "abc")],
    "grpc-status 0": [("grpc-status", "0")],
    "grpc-message": [("grpc-message", "%zz%")],
    "te": [("te", "nope")],
    "te, long": [("te", "trailers," * 500)],
    "content-type": [("content-type", "application/grpc+")],
    "content-type of another": [("content-type", "application/grpcx")],
    "host": [("host", "a b")],
    "user-agent": [("user-agent", b"\x80\xff")],
    "traceparent": [("traceparent", "00-zz-zz-zz")],
    "lb-token": [("lb-token", "x" * 4000)],
    "lb-cost-bin": [("lb-cost-bin", "!!!")],
    "grpclb-client-stats": [("grpclb_client_stats", "!!!")],
    "endpoint-load-metrics-bin": [("endpoint-load-metrics-bin", "!!!")],
    "x-envoy-peer-metadata": [("x-envoy-peer-metadata", "!!!")],
    "x-envoy-upstream-rq-timeout-ms": [("x-envoy-upstream-rq-timeout-ms", "abc")],
    "x-envoy-original-path": [("x-envoy-original-path", "/portal-api/x")],
    "an upper case name": [("Grpc-Timeout", "1S")],
    "an empty name": [("", "x")],
    "a name with a space": [("grpc timeout", "1S")],
    "a NUL": [("x-nul", b"a\x00b")],
    "a newline": [("x-newline", "a\r\ngrpc-timeout: abc")],
    "connection": [("connection", "grpc-timeout")],
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "a second :path": [(":path", "/other")],
    ":status": [(":status", "200")],
    ":scheme": [(":scheme", "ftp")],
    ":protocol": [(":protocol", "websocket")],
    "no such pseudo header": [(":grpc-timeout", "abc")],
}

_random = random.Random(7)  # noqa: S311


def noise() -> list[Header]:
    """Sixty headers that no table knows: 6 KB, more than HPACK keeps."""
    letters = string.ascii_letters + string.digits
    return random_headers("".join(_random.choices(letters, k=100)) for _ in range(60))


def attack(
    port: int, bad: list[Header], key: str | None, times: int, seconds: float = 2
) -> list[int | None]:
    """Call with these headers; returns the gRPC statuses, None and no more after no reply."""
    found: list[int | None] = []
    for _ in range(times):
        # A connection each: some of these end it.
        with Connection(port) as connection:
            reply = connection.call(rpc(LIST, *noise(), *bad, key=key), message(), seconds)
            if reply.grpc is not None:
                found.append(reply.grpc)
            else:
                found.append(3 if 400 <= reply.status < 500 else None)
        if found[-1] is None:
            break
    return found


@pytest.mark.parametrize("name", [*REJECTED, *HARMLESS])
def test_a_malformed_reserved_header_harms_no_later_call(one: System, name: str) -> None:
    logged = one.stack.err.stat().st_size
    for number in one.ports.values():
        # Of some Envoy says nothing and closes the connection a second later.
        attack(number, (REJECTED | HARMLESS)[name], None, 4, 0.2)
        attack(number, (REJECTED | HARMLESS)[name], one.greedy_viewer, 2, 0.2)

    one.require_served(5)
    one.require_quiet_log(logged)


@pytest.mark.parametrize("name", REJECTED)
def test_a_malformed_reserved_header_is_rejected_with_a_status_of_the_callers_fault(
    one: System, name: str
) -> None:
    for port, number in one.ports.items():
        [status] = attack(number, REJECTED[name], one.greedy_viewer, 1)
        # INVALID_ARGUMENT, or UNIMPLEMENTED for an unknown encoding.
        assert status in {3, 12}, port


@pytest.mark.attack
def test_callers_notice_nothing_of_malformed_headers(attacked: System, seconds: float) -> None:
    bad = list((REJECTED | HARMLESS).values())
    until = time.monotonic() + max(seconds, 3)
    with attacked.unharmed():
        while time.monotonic() < until:
            for number in attacked.ports.values():
                attack(number, _random.choice(bad), None, 1, 0.1)
    attacked.require_served(50)


@pytest.mark.parametrize(
    ("timeout", "statuses"),
    [
        ("0S", {4}),
        ("1n", {0, 4}),
        ("1H", {0}),
        ("99999999H", {0}),
        ("99999999S", {0}),
        ("99999999n", {0, 4}),
    ],
)
def test_a_well_formed_deadline_is_kept(
    one: System, port: str, timeout: str, statuses: set[int]
) -> None:
    assert attack(one.ports[port], [("grpc-timeout", timeout)], one.greedy_viewer, 1)[0] in statuses


MUCH: dict[str, list[Header]] = {
    "50 KB": [("x-large", "x" * 50_000)],
    "90 KB": [("x-large", "x" * 90_000)],
    "1 MB": [("x-large", "x" * 1_000_000)],
    "99": [(f"x-{at}", "y") for at in range(99)],
    "2000": [(f"x-{at}", "y") for at in range(2000)],
    "90 binary": [(f"x-{at}-bin", "YQ") for at in range(90)],
    "2000 cookies": [("cookie", f"c{at}={'z' * 20}") for at in range(2000)],
}


@pytest.mark.attack
@pytest.mark.parametrize(
    "names",
    [list(MUCH), *(pytest.param([name], marks=pytest.mark.long) for name in MUCH)],
    ids=lambda names: names[0] if len(names) == 1 else "all",
)
def test_much_metadata_is_served_or_rejected_and_not_kept_in_memory(
    attacked: System, names: list[str]
) -> None:
    key = attacked.greedy_viewer
    with attacked.unharmed():
        for number in attacked.ports.values():
            for name in names * 2:
                with Connection(number) as connection:
                    reply = connection.call(rpc(LIST, *MUCH[name], key=key), message())
                    assert reply.grpc in {None, 0, 3, 8, 13}
                    assert reply.status in {0, 200, 400, 431}


@pytest.mark.parametrize(
    "headers",
    [
        [("x-envoy-upstream-rq-timeout-ms", "1")],
        [("x-envoy-upstream-rq-per-try-timeout-ms", "1")],
        [("x-envoy-expected-rq-timeout-ms", "1")],
        [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "100")],
        [("x-envoy-retry-grpc-on", "unauthenticated")],
        [("x-envoy-decorator-operation", "x")],
        [("x-envoy-internal", "true"), ("x-forwarded-for", "10.0.0.1")],
        [("grpc-timeout", "1n")],
        [("x-http-method-override", "DELETE")],
    ],
    ids=lambda headers: headers[0][0],
)
def test_headers_that_steer_envoy_have_no_effect_from_outside(
    one: System, port: str, headers: list[tuple[str, str]]
) -> None:
    found = one.call_rest(one.ports[port], headers=dict(headers))

    assert found.status_code == 200


def test_a_callers_text_cannot_add_a_line_to_the_log(one: System, port: str) -> None:
    logged = one.stack.err.stat().st_size
    number = one.ports[port]
    forged = "2026-01-01 00:00:00 ERROR forged"
    one.call_rest(number, "POST", json={"Name": f"a\n{forged}", "Type": "Nope"})
    one.call_rest(number, headers={"Idempotency-Key": f"a\t{forged}"})
    one.call_rest(number, path="/portal-api/%0a" + forged.replace(" ", "%20"))
    one.call_rest(number, path="/portal-api/oauth-providers/%0d%0a" + forged.replace(" ", "%20"))
    attack(number, [("authorization", f"Bearer \t{forged}")], None, 1)
    attack(number, [("x-request-id", f"\t{forged}")], one.viewer, 1)

    assert not [line for line in one.log(logged).splitlines() if line.startswith(forged)]
