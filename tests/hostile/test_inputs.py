"""Requests of odd forms and sizes: a plain error, at a small price."""

import json
import socket
import time
from typing import Any

import pytest

from portal.oauth.v1 import client_type_pb2, provider_pb2
from tests.hostile.http1 import exchange
from tests.hostile.http2 import Connection, http, message, rpc
from tests.hostile.system import API, LIST, PROVIDER, System

METHODS = ("GET", "POST", "PUT", "DELETE")
CONTENT_TYPES = (
    "application/grpc",
    "application/grpc+proto",
    "application/grpc; charset=utf-8",
    "APPLICATION/GRPC",
    "application/grpc-web",
    "application/grpc-web-text",
    "application/grpc-web+proto",
    "application/grpc+json",
)


@pytest.mark.parametrize("kind", CONTENT_TYPES)
@pytest.mark.parametrize("method", METHODS)
def test_grpc_on_a_rest_path_is_415(one: System, port: str, method: str, kind: str) -> None:
    item = f"{API}/{one.make_provider()}"
    path = API if method == "POST" else item
    with Connection(one.ports[port]) as connection:
        for key in (one.admin, None):
            for body in (b"", message()):
                headers = http(method, path, ("content-type", kind), ("te", "trailers"), key=key)
                found = connection.call(headers, body)
                assert found.status == 415, found
                assert json.loads(bytes(found.data))["errors"]
                assert found.grpc is None
    assert one.call_rest(one.ports[port], path=item).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/xml",
        "application/jsonx",
        "multipart/form-data; boundary=x",
        "application/x-protobuf",
        "x",
        "*/*",
        ",",
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_body_without_a_json_content_type_is_415(
    one: System, port: str, method: str, kind: str
) -> None:
    item = f"{API}/{one.make_provider()}"
    path = API if method == "POST" else item
    found = one.call_rest(
        one.ports[port], method, path, content=json.dumps(PROVIDER), headers={"Content-Type": kind}
    )
    assert found.status_code == 415
    assert one.call_rest(one.ports[port], path=item).status_code == 200


HOST = b"Host: portal.test\r\n"
LIST_LINE = b"GET /portal-api/oauth-providers HTTP/1.1\r\n"
POST_LINE = b"POST /portal-api/oauth-providers HTTP/1.1\r\n"

SMUGGLING: dict[str, bytes] = {
    "a length and chunks": POST_LINE
    + HOST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    "two lengths": POST_LINE + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "a negative length": POST_LINE + HOST + b"Content-Length: -1\r\n\r\n",
    "a length that is not a number": POST_LINE + HOST + b"Content-Length: 0x2\r\n\r\n{}",
    "an unknown coding": POST_LINE + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST_LINE + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "a chunk of bad size": POST_LINE
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "h2c": LIST_LINE
    + HOST
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "websocket": LIST_LINE + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "no host": LIST_LINE + b"\r\n",
    "two hosts": LIST_LINE + HOST + HOST + b"\r\n",
    "a blank before the colon": LIST_LINE + HOST + b"Authorization : x\r\n\r\n",
    "a folded line": LIST_LINE + HOST + b"X-Folded: a\r\n b\r\n\r\n",
    "a NUL": LIST_LINE + HOST + b"X-Nul: a\0b\r\n\r\n",
    "a bare CR": LIST_LINE + HOST + b"X-Cr: a\rb\r\n\r\n",
    "HTTP/3.0": b"GET / HTTP/3.0\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "no method": b"/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long line": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "many headers": LIST_LINE
    + HOST
    + b"".join(b"X-%d: y\r\n" % at for at in range(5000))
    + b"\r\n",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT portal.test:443 HTTP/1.1\r\nHost: portal.test:443\r\n\r\n",
    "Expect": POST_LINE + HOST + b"Expect: nonsense\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_an_ambiguous_request_is_rejected_at_once(one: System, port: str, name: str) -> None:
    found = exchange(one.ports[port], SMUGGLING[name], seconds=5)

    assert found.ended or b"\r\n\r\n" in found.received, "it waits"
    assert found.received.count(b"HTTP/1.1 ") <= 1
    assert found.status in {0, 501} or 400 <= found.status < 500
    body = found.received.partition(b"\r\n\r\n")[2]
    if body:
        assert all(json.loads(body)["errors"]), body
    one.require_served()


@pytest.mark.attack
def test_ten_thousand_pipelined_requests_take_nothing(attacked: System, seconds: float) -> None:
    requests = {
        "health": b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
        "list": LIST_LINE + HOST + b"\r\n",
        "post": POST_LINE + HOST + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    }
    until = time.monotonic() + max(seconds, 3)
    with attacked.unharmed():
        while time.monotonic() < until:
            for request in requests.values():
                for port in attacked.ports.values():
                    exchange(port, request * 10_000, seconds=0.2)


def _list(system: System, port: int, **fields: Any) -> int | None:
    request = provider_pb2.ListProvidersRequest(**fields).SerializeToString()
    with Connection(port) as connection:
        return connection.call(rpc(LIST, key=system.viewer), message(request)).grpc


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('name = "\' OR 1=1 --"', 0),
        ('name : "%"', 0),
        ('name : "_"', 0),
        ('name = "\\u0000"', None),
        ('name = "a\0b"', None),
        ('name : "' + "é" * 500 + '"', 0),
        ("(" * 1000, 3),
        ("name", 3),
        ("name = ", 3),
        ('name = "a" OR name = "b"', 3),
        ('NOT name = "a"', 3),
        ('name = "' + "a" * 2048 + '"', 3),
        ('name : "a" AND ' * 15 + 'name : "a"', 0),
        ('name : "a" AND ' * 16 + 'name : "a"', 3),
        ("name:n AND " * 180 + "name:q", 3),
        ('id = "1"', 3),
        ("name = '; DROP TABLE provider; --'", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_filter_is_read_literally_or_rejected(
    one: System, port: str, text: str, status: int | None
) -> None:
    found = _list(one, one.ports[port], filter=text)

    assert found in ({0, 3} if status is None else {status})


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a" * 100_000,
        "LTkyMjMzNzIwMzY4NTQ3NzU4MDg",
        "OTIyMzM3MjAzNjg1NDc3NTgwNw==",
        "\u00e9",
        "\0",
        "====",
        "AAAA",
        " ",
    ],
    ids=lambda token: repr(token)[:20],
)
def test_a_forged_page_token_is_rejected(one: System, port: str, token: str) -> None:
    assert _list(one, one.ports[port], page_token=token) == 3


@pytest.mark.parametrize("size", [-1, -(2**31), 2**31 - 1])
def test_a_page_size_is_bounded(one: System, port: str, size: int) -> None:
    assert _list(one, one.ports[port], page_size=size) in {0, 3}


@pytest.mark.parametrize(
    ("id_", "status"),
    [
        *[
            (text, 404)
            for text in ["1.0", "1e0", "0x1", "a", "%20", "+1", "1%2F2", "NaN", "-1", "0"]
        ],
        *[(str(number), 404) for number in (2**31 - 1, 2**31, 2**32 + 1, 2**63 - 1, 2**63)],
        ("9" * 400, 404),
        ("%00", 400),
        ("01", None),
    ],
)
def test_an_unknown_or_malformed_id_is_not_found(
    one: System, port: str, id_: str, status: int | None
) -> None:
    found = one.call_rest(one.ports[port], path=f"{API}/{id_}").status_code

    assert found in ({200, 400, 404} if status is None else {status})


@pytest.mark.parametrize(
    "page",
    ["0", "-1", "1.5", "a", "", "2147483648", "99999999999999999999", "1&page=2", "%31", "1%00"],
)
def test_a_page_is_a_number(one: System, port: str, page: str) -> None:
    assert one.call_rest(one.ports[port], path=f"{API}?page={page}&per_page=2").status_code in {
        200,
        400,
    }


@pytest.mark.parametrize(
    "etag",
    ["x", '"' + "a" * 50_000 + '"', "*", '"a", "b"', 'W/"a"', "\u00ff"],
    ids=lambda e: repr(e)[:12],
)
def test_a_forged_etag_changes_nothing(one: System, port: str, etag: str) -> None:
    made = one.call_rest(one.ports[port], "POST", json=PROVIDER).json()["ID"]
    headers = {"If-Match": etag.encode("latin-1")}
    start = time.monotonic()
    found = one.call_rest(
        one.ports[port], "PUT", f"{API}/{made}", json=PROVIDER | {"Name": "new"}, headers=headers
    )

    assert found.status_code in {400, 412} or (etag == "*" and found.status_code == 200)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    "url",
    [
        "https://" + "a." * 1000 + "test/",
        "https://" + "-" * 2000,
        "https://" + "[" * 1000,
        "https://[" + ":" * 1000 + "]",
        "https://" + "%" * 2000,
        "https://" + "@" * 1000,
        "https://a" + ":" * 1000,
        "https://a/" + "/../" * 500,
        "https://" + "xn--" * 500,
        "https://" + "1." * 1000,
    ],
    ids=lambda url: url[:16],
)
def test_a_hostile_url_is_judged_quickly(one: System, port: str, url: str) -> None:
    start = time.monotonic()
    found = one.call_rest(one.ports[port], "POST", json=PROVIDER | {"WellKnownURL": url})

    assert found.status_code in {200, 400}
    assert time.monotonic() - start < 0.5


def test_no_address_that_a_caller_names_is_called(one: System, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x"
        assert (
            one.call_rest(
                one.ports[port], "POST", json=PROVIDER | {"WellKnownURL": url}
            ).status_code
            == 200
        )
        trap.settimeout(0.5)
        with pytest.raises(TimeoutError):
            trap.accept()


def test_a_native_text_with_a_nul_is_rejected(one: System, port: str) -> None:
    request = client_type_pb2.CreateClientTypeRequest(
        provider_id=one.provider, client_type=client_type_pb2.ClientType(name="a\0b")
    )
    path = "/portal.oauth.v1.ClientTypeService/CreateClientType"
    with Connection(one.ports[port]) as connection:
        found = connection.call(rpc(path, key=one.admin), message(request.SerializeToString()))

    assert found.grpc == 3
