"""Which web pages may call from a browser: CORS on Envoy's port, and gRPC-Web."""

import base64
import os
import signal
import struct
import time
from collections.abc import Iterator

import httpx
import pytest
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from portal.oauth.v1 import client_type_pb2 as pb
from tests.support.stack import ADMIN_KEY, TLS, Stack, portal, suspend

ORIGIN = "https://app.example.com"
OTHER = "http://localhost:8080"
STRANGER = "https://evil.example.com"
SERVICE = "/portal.oauth.v1.ClientTypeService/"
PATHS = [
    "/portal-api/oauth-providers",
    "/portal-api/oauth-providers/1",
    "/portal-api/oauth-providers/1/client-types/1",
    SERVICE + "CreateClientType",
]
HEADERS = (
    "authorization,content-type,grpc-timeout,idempotency-key,if-match,traceparent,"
    "x-grpc-web,x-user-agent"
)
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": HEADERS}


@pytest.fixture(scope="module")
def open_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system that two origins may call."""
    folder = tmp_path_factory.mktemp("open")
    running = Stack(folder, PORTAL_CORS_ORIGINS=f"{ORIGIN}, {OTHER}").start()
    yield running
    running.stop()


@pytest.fixture
def edge(open_stack: Stack) -> Iterator[httpx.Client]:
    with browser(open_stack, ORIGIN) as client:
        yield client


def browser(stack: Stack, origin: str) -> httpx.Client:
    """Calls as a page of this origin has its browser send them."""
    url = f"http://127.0.0.1:{stack.http_port}"
    return httpx.Client(base_url=url, headers={"Origin": origin}, timeout=20, verify=TLS)


def words(response: httpx.Response, header: str) -> set[str]:
    """The values of a header that is a list."""
    return {word.strip() for word in response.headers.get(header, "").split(",")}


def cors_of(response: httpx.Response) -> list[str]:
    """The headers that speak of origins."""
    return [
        name for name in response.headers if name.startswith("access-control-") or name == "vary"
    ]


def grpc_web(
    client: httpx.Client,
    request: pb.CreateClientTypeRequest | pb.ListClientTypesRequest,
    *,
    text: bool = False,
    key: str = ADMIN_KEY,
) -> httpx.Response:
    """A call over gRPC-Web, whose frames are in base64 in the form for text."""
    kind = type(request).__name__.removesuffix("Request")
    message = request.SerializeToString()
    frame = b"\0" + struct.pack(">I", len(message)) + message
    return client.post(
        SERVICE + kind,
        content=base64.b64encode(frame) if text else frame,
        headers={
            "Content-Type": "application/grpc-web-text" if text else "application/grpc-web+proto",
            "X-Grpc-Web": "1",
            "Authorization": key,
        },
    )


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """The flags and the content of each frame."""
    found = []
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        found.append((flags, body[5 : 5 + length]))
        body = body[5 + length :]
    return found


def details(response: httpx.Response) -> Status:
    """The status with its details that a response without a message has in its headers."""
    encoded = response.headers["grpc-status-details-bin"]
    return Status.FromString(base64.b64decode(encoded + "=="))


@pytest.mark.parametrize("path", PATHS)
def test_a_preflight_response_lists_what_a_page_may_send(edge: httpx.Client, path: str) -> None:
    response = edge.options(path, headers=PREFLIGHT)

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert words(response, "access-control-allow-methods") == {"GET", "POST", "PUT", "DELETE"}
    assert words(response, "access-control-allow-headers") == set(HEADERS.split(","))
    assert response.headers["access-control-max-age"] == "7200"
    assert "access-control-allow-credentials" not in response.headers


def test_every_origin_of_the_setting_may_call(open_stack: Stack) -> None:
    with browser(open_stack, OTHER) as client:
        response = client.get(PATHS[0], headers={"Authorization": ADMIN_KEY})

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == OTHER


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/portal-api/oauth-providers/1", None, 200),
        ("POST", "/portal-api/oauth-providers", b"{}", 400),
        ("POST", "/portal-api/oauth-providers", b"{", 400),
        ("GET", "/portal-api/oauth-providers?page=0", None, 400),
        ("GET", "/portal-api/oauth-providers/999", None, 404),
        ("GET", "/nope", None, 404),
        ("GET", "/portal-api/nope", None, 404),
        ("PATCH", "/portal-api/oauth-providers", None, 405),
        ("PATCH", "/portal-api/oauth-providers/1", None, 405),
        ("POST", "/portal-api/oauth-providers", b" " * (1 << 20) + b"{", 413),
    ],
)
def test_a_page_can_read_returns_and_errors(
    edge: httpx.Client, method: str, path: str, content: bytes | None, status: int
) -> None:
    response = edge.request(method, path, content=content, headers={"Authorization": ADMIN_KEY})

    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert words(response, "vary") == {"origin"}
    assert words(response, "access-control-expose-headers") == {
        "allow",
        "etag",
        "grpc-message",
        "grpc-status",
        "grpc-status-details-bin",
        "www-authenticate",
        "x-trace-id",
    }
    assert ("allow" in response.headers) == (status == 405)
    assert status == 200 or response.json()["errors"]


def test_a_page_can_read_that_its_key_is_missing(edge: httpx.Client) -> None:
    response = edge.get("/portal-api/oauth-providers")

    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == ORIGIN


def test_a_page_can_read_that_the_service_is_unavailable_or_does_not_respond(
    open_stack: Stack,
) -> None:
    headers = {"Authorization": ADMIN_KEY}
    [server] = open_stack.children()["server"]
    with browser(open_stack, ORIGIN) as client:
        suspend(server)
        silent = client.get(PATHS[0], headers=headers)
        os.kill(server, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while (away := client.get(PATHS[0], headers=headers)).status_code == 200:
            assert time.monotonic() < deadline
        unavailable = grpc_web(client, pb.ListClientTypesRequest(provider_id=1))
        deadline = time.monotonic() + 20
        while client.get("/healthz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    assert (silent.status_code, away.status_code) == (504, 503)
    assert unavailable.headers["grpc-status"] == "14"
    for response in (silent, away, unavailable):
        assert response.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("path", PATHS)
def test_another_origin_gets_no_cors_permission(open_stack: Stack, stack: Stack, path: str) -> None:
    with browser(open_stack, STRANGER) as here, browser(stack, STRANGER) as closed:
        rejected, usual = (client.options(path, headers=PREFLIGHT) for client in (here, closed))
        read = here.get(PATHS[0], headers={"Authorization": ADMIN_KEY})

    assert rejected.status_code == usual.status_code
    assert rejected.content == usual.content
    assert cors_of(rejected) == cors_of(read) == ["vary"]


@pytest.mark.parametrize("origin", [ORIGIN, STRANGER, "null"])
def test_by_default_no_header_reports_anything_of_origins(stack: Stack, origin: str) -> None:
    with browser(stack, origin) as client:
        preflights = [client.options(path, headers=PREFLIGHT) for path in PATHS]
        others = [
            client.get(PATHS[0]),
            client.get(PATHS[0], headers={"Authorization": ADMIN_KEY}),
            client.get("/nope"),
            client.patch(PATHS[0]),
            grpc_web(client, pb.ListClientTypesRequest(provider_id=1)),
        ]

    assert [response.status_code for response in preflights] == [405, 405, 405, 404]
    assert preflights[0].json() == {"errors": ["method not allowed; allowed: GET, HEAD, POST"]}
    assert [response.status_code for response in others] == [401, 200, 404, 405, 200]
    assert [cors_of(response) for response in preflights + others] == [[]] * 9


def test_a_star_is_every_origin(tmp_path_factory: pytest.TempPathFactory) -> None:
    running = Stack(tmp_path_factory.mktemp("star"), PORTAL_CORS_ORIGINS="*").start()
    try:
        with browser(running, STRANGER) as client:
            preflight = client.options(PATHS[0], headers=PREFLIGHT)
            read = client.get(PATHS[0], headers={"Authorization": ADMIN_KEY})
    finally:
        running.stop()

    assert preflight.status_code == read.status_code == 200
    assert preflight.headers["access-control-allow-origin"] in ("*", STRANGER)
    assert read.headers["access-control-allow-origin"] in ("*", STRANGER)


@pytest.mark.parametrize(
    "value",
    [
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://App.example.com",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://*.example.com",
        "https://user@app.example.com",
        "https://a.example.com,",
        "https://a.example.com https://b.example.com",
        "*,https://a.example.com",
        "null",
    ],
)
def test_an_origin_that_no_browser_sends_is_rejected_at_the_start(value: str) -> None:
    done = portal("up", PORTAL_CORS_ORIGINS=value)

    assert done.returncode == 1
    assert "PORTAL_CORS_ORIGINS: must be * or origins" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_grpc_web_returns_as_grpc_does(edge: httpx.Client, text: bool) -> None:  # noqa: FBT001
    sent = pb.CreateClientTypeRequest(
        provider_id=1,
        client_type=pb.ClientType(
            name="From a page",
            response_types=[pb.RESPONSE_TYPE_CODE],
            grant_types=[pb.GRANT_TYPE_PKCE],
        ),
    )
    response = grpc_web(edge, sent, text=text)
    (data, message), (end, trailers) = frames(response.content)

    assert response.headers["content-type"] == "application/grpc-web+proto"
    assert (data, end) == (0, 0x80)
    assert pb.ClientType.FromString(message).name == "From a page"
    assert b"grpc-status:0\r\n" in trailers


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_grpc_web_carries_the_details_of_an_error(edge: httpx.Client, text: bool) -> None:  # noqa: FBT001
    response = grpc_web(edge, pb.CreateClientTypeRequest(provider_id=1), text=text)
    violations = BadRequest()
    [found] = [any_ for any_ in details(response).details if any_.Is(BadRequest.DESCRIPTOR)]
    found.Unpack(violations)

    assert response.headers["grpc-status"] == "3"
    assert [violation.field for violation in violations.field_violations] == [
        "client_type.name",
        "client_type.response_types",
        "client_type.grant_types",
    ]


def test_grpc_web_needs_a_key(edge: httpx.Client) -> None:
    response = grpc_web(edge, pb.ListClientTypesRequest(provider_id=1), key="wrong")

    assert response.headers["grpc-status"] == "16"
    assert response.headers["access-control-allow-origin"] == ORIGIN
