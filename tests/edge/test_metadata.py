"""The headers that gRPC reserves: malformed ones are rejected before they reach a server."""

import secrets
from urllib.parse import unquote

import httpx
import pytest

from tests.support.stack import ADMIN_KEY, TLS, Stack

LIST = "/portal.oauth.v1.ProviderService/ListProviders"
PATHS = [
    LIST,
    "/portal.rest.v1.PortalRestService/ListProviders",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
]
MESSAGE = b"\0\0\0\0\0"
OK, INVALID_ARGUMENT, UNIMPLEMENTED = "0", "3", "12"

MALFORMED = [
    *(("grpc-timeout", value) for value in ("", "abc", "-1S", "+1S", "1", "S", "1x", "1.5S")),
    *(("grpc-timeout", value) for value in ("100000000S", "10S,5S", "1 S", "0x1S", "1S\t2S")),
    *(("grpc-encoding", value) for value in ("", "a b", "gzip,gzip", "gzip;q=1", '"gzip"')),
    *(("grpc-accept-encoding", value) for value in ("", ",", "gzip,,identity", "a b", "gzip;q=1")),
    *(("x-bin", value) for value in ("!", "A", "AA=", "AAA==", "AB", "AA-_", "AA==AA==", "=")),
    *(("grpc-trace-bin", value) for value in ("*", "A")),
    *(("grpc-previous-rpc-attempts", value) for value in ("", "-1", "x", "1" * 20)),
    *((name, "0") for name in ("grpc-status", "grpc-message", "grpc-retry-pushback-ms")),
    *((name, "AAAA") for name in ("grpc-status-details-bin", "grpc-nope", "lb-cost-bin")),
]
WELL_FORMED = [
    *(("grpc-timeout", value) for value in ("1H", "99999999H", "60M", "5S", "05S", "9000m")),
    *(("grpc-encoding", value) for value in ("identity", "gzip", "deflate")),
    *(("grpc-accept-encoding", value) for value in ("gzip", "identity, gzip", "zstd,br")),
    *(("x-bin", value) for value in ("", "AA", "AA==", "AAA", "AAAA", "/+8")),
    *((name, "AAAA") for name in ("grpc-trace-bin", "grpc-tags-bin")),
    ("grpc-previous-rpc-attempts", "2"),
]


def send(
    port: int, path: str, *headers: tuple[str, str], kind: str = "application/grpc"
) -> httpx.Response:
    """A call with these headers, the key and an empty message."""
    common = [("content-type", kind), ("te", "trailers"), ("authorization", ADMIN_KEY)]
    url = f"http://127.0.0.1:{port}{path}"
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in (*common, *headers)]
    return httpx.post(url, content=MESSAGE, headers=encoded, timeout=20, verify=TLS)


def assert_rejected(response: httpx.Response, status: str, name: str, value: str) -> None:
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/grpc")
    assert response.headers["grpc-status"] == status
    text = unquote(response.headers["grpc-message"])
    assert text.startswith(f"{name}: ")
    assert len(value) < 5 or value not in text


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_a_malformed_header_is_rejected_by_its_name(stack: Stack, name: str, value: str) -> None:
    for port in (stack.http_port, stack.grpc_port):
        assert_rejected(send(port, LIST, (name, value)), INVALID_ARGUMENT, name, value)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("name", "value"), [("grpc-timeout", "-1S"), ("grpc-encoding", "a b"), ("x-bin", "!")]
)
def test_it_is_rejected_on_every_path_of_grpc(
    stack: Stack, path: str, name: str, value: str
) -> None:
    response = send(stack.grpc_port, path, (name, value))

    assert_rejected(response, INVALID_ARGUMENT, name, value)


@pytest.mark.parametrize("kind", ["application/grpc-web", "application/grpc-web-text"])
def test_it_is_rejected_in_grpc_web(stack: Stack, kind: str) -> None:
    response = send(stack.http_port, LIST, ("grpc-timeout", "abc"), kind=kind)

    assert_rejected(response, INVALID_ARGUMENT, "grpc-timeout", "abc")


@pytest.mark.parametrize(("name", "value"), WELL_FORMED)
def test_a_well_formed_header_passes(stack: Stack, name: str, value: str) -> None:
    response = send(stack.grpc_port, LIST, (name, value))

    # A response has its status in trailers; a rejection has it in a header.
    assert response.status_code == 200
    assert response.headers.get("grpc-status", OK) == OK
    assert response.content[:1] == b"\0"


def test_an_unknown_encoding_is_unimplemented(stack: Stack) -> None:
    response = send(stack.grpc_port, LIST, ("grpc-encoding", "snappy"))

    assert_rejected(response, UNIMPLEMENTED, "grpc-encoding", "snappy")
    assert response.headers["grpc-accept-encoding"] == "identity,deflate,gzip"


@pytest.mark.parametrize("name", ["x|y", "x'", "x~"])
def test_a_name_that_grpc_cannot_take_is_rejected(stack: Stack, name: str) -> None:
    response = send(stack.grpc_port, LIST, (name, "1"))

    assert response.headers["grpc-status"] == INVALID_ARGUMENT


def test_a_call_must_be_a_post_with_trailers(stack: Stack) -> None:
    url, kind = f"http://127.0.0.1:{stack.grpc_port}{LIST}", {"content-type": "application/grpc"}
    get = httpx.get(url, headers=kind | {"te": "trailers"}, verify=TLS)
    no_te = httpx.post(url, headers=kind, content=MESSAGE, verify=TLS)

    assert get.headers["grpc-status"] == no_te.headers["grpc-status"] == INVALID_ARGUMENT
    assert get.headers["grpc-message"].startswith(":method: ")
    assert no_te.headers["grpc-message"].startswith("te: ")


@pytest.mark.parametrize(("name", "value"), [("grpc-timeout", "abc"), ("x-bin", "!")])
def test_calls_of_others_do_not_notice(
    stack: Stack, rest: httpx.Client, name: str, value: str
) -> None:
    # What is well formed fills the tables of header compression before and after.
    filling = [(f"x-{number}", secrets.token_hex(50)) for number in range(60)]
    for _ in range(8):
        send(stack.http_port, LIST, *filling)
        send(stack.http_port, LIST, (name, value))
        send(stack.http_port, LIST, *filling, (name, value))
    statuses = {rest.get("/oauth-providers").status_code for _ in range(30)}
    calls = [send(stack.grpc_port, LIST, ("grpc-timeout", "5S")) for _ in range(30)]

    assert statuses == {200}
    assert {call.headers.get("grpc-status", OK) for call in calls} == {OK}
