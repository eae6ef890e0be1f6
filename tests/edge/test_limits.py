"""What one caller can hold or cost."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.stack import ADMIN_KEY, TLS, Stack

PROVIDERS = "/portal-api/oauth-providers"
LIST = "/portal.oauth.v1.ProviderService/ListProviders"
GRPC = {"content-type": "application/grpc", "te": "trailers"}
JSON = {"content-type": "application/json"}
MIB = 1 << 20
# Of Envoy's CPU for 58 kB of anything; a body of a mebibyte has its share of it.
MOST_SECONDS = 0.05


def cpu_of(process: int) -> float:
    """Seconds of CPU that all threads of a process have had."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def cost(
    stack: Stack, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> float:
    """The least of Envoy's CPU seconds for a request, of three."""
    [envoy] = stack.children()["envoy"]
    costs = []
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stack.http_port}", timeout=30, verify=TLS
    ) as client:
        for _ in range(3):
            before = cpu_of(envoy)
            client.request(
                method, path, headers={"authorization": ADMIN_KEY} | headers, content=body
            )
            costs.append(cpu_of(envoy) - before)
    return min(costs)


QUERIES = {
    "a name": "a",
    "a value": "limit=a",
    "digits": "limit=9",
    "ampersands": "&",
    "short names": "a&",
    "pairs of unknown names": "a=1&",
    "encoded names": "%70age=1&",
    "names that begin alike": "per_page_&",
    "spellings of a field": "provider%5Fid=1&providerId=2&",
    "equal signs": "limit==",
    "pairs": "limit=1&",
    "a text of the transcoder": "limit=a:%20invalid%20value%20",
    "quotes": "limit=%22Could%20not%20find%20field%20%22",
}


@pytest.mark.parametrize("length", [1_000, 10_000, 58_000])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_long_query_is_cheap(stack: Stack, query: str, length: int) -> None:
    text = (query * (length // len(query) + 1))[:length]
    for path in (f"{PROVIDERS}?{text}", f"{PROVIDERS}?{text}=1", f"{PROVIDERS}?limit={text}"):
        assert cost(stack, "GET", path, {}) < MOST_SECONDS


@pytest.mark.parametrize("length", [1_000, 10_000, 58_000])
@pytest.mark.parametrize("part", ["/a", "/", "a", "/..", "/%2f", "/+", "%22"])
def test_a_long_path_is_cheap(stack: Stack, part: str, length: int) -> None:
    path = f"{PROVIDERS}/{(part * length)[:length]}"

    assert cost(stack, "GET", path, {}) < MOST_SECONDS


@pytest.mark.parametrize("length", [1_000, 10_000, 58_000])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("x", "a"),
        ("cookie", "a=;"),
        ("origin", "a"),
        ("authorization", "a "),
        ("content-type", "charset "),
        ("content-type", "application/json; "),
        ("if-match", '"a",'),
    ],
)
def test_a_long_header_is_cheap(stack: Stack, name: str, part: str, length: int) -> None:
    value = (part * length)[:length].strip()

    assert cost(stack, "DELETE", f"{PROVIDERS}/999", {name: value}) < MOST_SECONDS


@pytest.mark.parametrize("length", [1_000, 10_000, 58_000])
@pytest.mark.parametrize(
    ("name", "part", "end"),
    [
        ("grpc-timeout", "1", ""),
        ("grpc-encoding", "a", ";"),
        ("grpc-accept-encoding", "a,", "!;"),
        ("grpc-accept-encoding", " \t", ";"),
        ("x-bin", "A", "!"),
        ("x-bin", "=", "!"),
        ("grpc-nope", "a", ""),
    ],
)
def test_a_long_header_of_grpc_is_cheap(
    stack: Stack, name: str, part: str, end: str, length: int
) -> None:
    value = "a" + (part * length)[: length - 9] + end

    assert cost(stack, "POST", LIST, GRPC | {name: value}, b"\0\0\0\0\0") < MOST_SECONDS


BODIES = {
    "brackets": b"[" * MIB,
    "objects": b'{"a":' * (MIB // 5),
    "letters": b'{"' + b"a" * (MIB - 2),
    "quotes": b'{"' + b'"' * (MIB - 2),
    "blanks": b" " * MIB,
    "escapes": b'{"Name":"' + b"\\u0041" * 170_000 + b'"}',
    "keys": b"{" + b",".join(b'"k%d":1' % number for number in range(60_000)) + b"}",
    "an array": b'{"Name":[' + b"1," * 520_000 + b"1]}",
    "colons": b'{"x":"' + b'\\"a\\" : ' * 120_000 + b'["}',
    "a text of the transcoder": b'{"SSLInsecureSkipVerify":"' + b"a: invalid value " * 60_000,
    "a number": b'{"Name":' + b"9" * (MIB - 9) + b"}",
    "a name": b'{"Name":"' + b"a" * (MIB - 12) + b'"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_large_body_is_cheap(stack: Stack, body: bytes) -> None:
    most = MOST_SECONDS * MIB / 58_000

    assert cost(stack, "POST", PROVIDERS, JSON, body[:MIB]) < most


@contextmanager
def unfinished(
    port: int, path: str, headers: dict[str, str], sent: bytes
) -> Iterator[socket.socket]:
    """A request whose body does not end."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{lines}transfer-encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        if sent:
            connection.sendall(b"%x\r\n%s\r\n" % (len(sent), sent))
        yield connection


@pytest.mark.parametrize(
    "path", [LIST, "/portal.rest.v1.PortalRestService/GetProvider", "/grpc.health.v1.Health/Check"]
)
def test_streams_without_a_message_hold_no_thread_of_a_server(stack: Stack, path: str) -> None:
    with ExitStack() as held, stack.client() as rest:
        for number in range(60):
            port = (stack.http_port, stack.grpc_port)[number % 2]
            sent = (b"", b"\0", b"\0\0\0\0\5a")[number % 3]
            held.enter_context(unfinished(port, path, GRPC, sent))
        slowest = 0.0
        for _ in range(40):
            start = time.monotonic()
            assert rest.get("/oauth-providers").status_code == 200
            slowest = max(slowest, time.monotonic() - start)
        health = httpx.get(f"http://127.0.0.1:{stack.http_port}/readyz", verify=TLS)

    assert slowest < 2
    assert health.status_code == 200


def test_a_body_that_does_not_end_times_out(stack: Stack) -> None:
    start = time.monotonic()
    with (
        unfinished(stack.http_port, PROVIDERS, JSON, b"{") as rest,
        unfinished(stack.grpc_port, LIST, GRPC, b"\0") as native,
    ):
        responses = [rest.recv(65536), native.recv(65536)]
    seconds = time.monotonic() - start

    assert responses[0].startswith(b"HTTP/1.1 408 ")
    assert responses[0].endswith(b'{"errors":["the request was not complete in time"]}\n')
    assert b"grpc-status: 4\r\n" in responses[1]
    assert 14 < seconds < 17


def test_a_message_over_a_mebibyte_is_rejected_as_too_large(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.grpc_port}{LIST}"
    response = httpx.post(url, headers=GRPC, content=b"\0\0\x10\0\0" + b"\0" * MIB, verify=TLS)

    assert response.headers["grpc-status"] == "8"
    assert response.headers["grpc-message"] == "the body is larger than 1 MiB"


def test_the_largest_file_of_the_documentation_has_a_rate(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.http_port}/docs/swagger-ui-bundle.js"
    with httpx.Client(verify=TLS) as client:
        responses = [client.get(url) for _ in range(60)]
        other = client.get(f"http://127.0.0.1:{stack.http_port}/docs/page.css")
    reported = [response for response in responses if response.status_code == 429]

    assert responses[0].status_code == other.status_code == 200
    assert reported
    assert reported[0].headers["retry-after"] == "1"
    assert reported[0].json() == {"errors": ["too many requests; retry later"]}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(
    "kind",
    ["application/grpc", "application/grpc+proto", "application/grpc-web", "Application/GRPC"],
)
def test_grpc_on_a_path_of_rest_is_415(
    rest: httpx.Client, stack: Stack, method: str, kind: str
) -> None:
    before = rest.get("/oauth-providers/1").json()
    for port in (stack.http_port, stack.grpc_port):
        url = f"http://127.0.0.1:{port}{PROVIDERS}/1"
        response = httpx.request(
            method, url, headers={"content-type": kind, "te": "trailers"}, verify=TLS
        )

        assert response.status_code == 415
        assert response.headers["content-type"] == "application/json"
        assert "grpc-status" not in response.headers
        if method != "HEAD":
            assert response.json() == {"errors": ["Content-Type must be application/json"]}
    assert rest.get("/oauth-providers/1").json() == before


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_body_that_is_not_json_is_415_for_every_method(rest: httpx.Client, method: str) -> None:
    text = {"content-type": "text/plain"}
    with_body = rest.request(method, "/oauth-providers/999", headers=text, content=b"x")
    without = rest.request(method, "/oauth-providers/999", headers=text)

    assert (with_body.status_code, without.status_code) == (415, 404)


@pytest.mark.parametrize(
    "line", ["OPTIONS * HTTP/1.1", "CONNECT x:1 HTTP/1.1", "GET * HTTP/1.1", "TRACE / HTTP/1.1"]
)
def test_no_error_is_without_a_text(stack: Stack, line: str) -> None:
    with socket.create_connection(("127.0.0.1", stack.http_port), 30) as connection:
        connection.sendall(f"{line}\r\nhost: x\r\n\r\n".encode())
        start = time.monotonic()
        response = connection.recv(65536)

    assert b'{"errors":["' in response
    assert b'[""]' not in response
    assert time.monotonic() - start < 17


def test_the_environment_of_envoy_has_no_setting_of_the_portal(stack: Stack) -> None:
    [envoy] = stack.children()["envoy"]

    assert ADMIN_KEY not in Path(f"/proc/{envoy}/environ").read_text()
    assert ADMIN_KEY not in Path(f"/proc/{envoy}/cmdline").read_text()
