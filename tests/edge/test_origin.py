"""The trace ID of a call, and the address of its client, through the real Envoy."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc.error_details_pb2 import RequestInfo
from grpc_status import rpc_status

from portal.oauth.v1.provider_pb2 import GetProviderRequest
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from tests.support.own_envoy import ECHO, Door, Small, door
from tests.support.stack import ADMIN_KEY, Stack, soon

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
NEW = re.compile("[0-9a-f]{32}")

MALFORMED = {
    "empty": "",
    "uppercase": PARENT.upper(),
    "another version": "01" + PARENT[2:],
    "zeros": f"00-{'0' * 32}-b7ad6b7169203331-01",
    "zeros as the parent": f"00-{TRACE_ID}-{'0' * 16}-01",
    "not hexadecimal": PARENT.replace("a", "g"),
    "one digit moved": f"00-{TRACE_ID[:31]}-{TRACE_ID[31]}b7ad6b7169203331-01",
    "dashes for digits": f"00-{'-' * 32}-b7ad6b7169203331-01",
    "longer": PARENT + "-x",
    "very long": "00-" + "a" * 50_000 + "-b7ad6b7169203331-01",
    "shorter": PARENT[:-1],
}


def logged(stack: Stack, *parts: str) -> bool:
    """Whether the log gets a line with all these parts."""
    return soon(
        lambda: any(
            all(part in line for part in parts) for line in stack.err.read_text().splitlines()
        ),
        5,
    )


def test_the_trace_id_of_the_caller_is_that_of_the_call(stack: Stack, rest: httpx.Client) -> None:
    response = rest.get("/oauth-providers/999999", headers={"traceparent": PARENT})

    assert response.status_code == 404
    assert response.headers["x-trace-id"] == TRACE_ID
    assert logged(stack, "GetProvider NOT_FOUND", f"trace={TRACE_ID}", "address=127.0.0.1 ")


@pytest.mark.parametrize("parent", MALFORMED.values(), ids=list(MALFORMED))
def test_a_malformed_traceparent_is_replaced(rest: httpx.Client, parent: str) -> None:
    response = rest.get("/oauth-providers", headers={"traceparent": parent})

    assert response.status_code == 200
    assert NEW.fullmatch(response.headers["x-trace-id"])
    assert response.headers["x-trace-id"] not in parent.lower()


def test_two_values_are_replaced_and_so_is_a_trace_id_of_the_caller(rest: httpx.Client) -> None:
    twice = [("traceparent", PARENT)] * 2
    for headers in (twice, [("x-trace-id", TRACE_ID)], [("x-trace-id", "x" * 9000)]):
        found = rest.get("/oauth-providers", headers=headers).headers.get_list("x-trace-id")

        assert len(found) == 1
        assert NEW.fullmatch(found[0])
        assert found[0] != TRACE_ID


def test_no_two_calls_have_the_same_new_id(rest: httpx.Client) -> None:
    found = {rest.get("/oauth-providers").headers["x-trace-id"] for _ in range(50)}

    assert len(found) == 50


def test_errors_of_grpc_have_the_trace_id_in_the_headers_and_the_details(stack: Stack) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{stack.grpc_port}") as channel:
        for metadata in ((), (("authorization", ADMIN_KEY),)):
            with pytest.raises(grpc.RpcError) as failed:
                ProviderServiceStub(channel).GetProvider(
                    GetProviderRequest(id=999999), metadata=(*metadata, ("traceparent", PARENT))
                )
            status = rpc_status.from_call(failed.value)  # type: ignore[arg-type]
            info = RequestInfo()

            assert status is not None
            assert status.details[-1].Unpack(info)
            assert info.request_id == TRACE_ID
            call: Any = failed.value
            headers = [*call.initial_metadata(), *call.trailing_metadata()]
            assert [value for name, value in headers if name == "x-trace-id"] == [TRACE_ID]


def test_errors_of_envoy_itself_have_a_trace_id(stack: Stack, rest: httpx.Client) -> None:
    base = f"http://127.0.0.1:{stack.http_port}"
    found = {
        404: rest.get(f"{base}/nowhere"),
        405: rest.patch("/oauth-providers"),
        400: rest.post("/oauth-providers", content="{"),
        413: rest.post("/oauth-providers", content=b"x" * (1 << 20 | 1)),
        415: rest.post("/oauth-providers", content="x", headers={"content-type": "text/xml"}),
        431: rest.get("/oauth-providers", headers={"x": "x" * 70_000}),
    }

    for code, response in found.items():
        assert response.status_code == code
        assert NEW.fullmatch(response.headers["x-trace-id"]), code


@pytest.mark.parametrize("request_", ["GET / HTTP/1.1\r\nbroken\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"])
def test_a_request_that_cannot_be_read_has_a_trace_id(stack: Stack, request_: str) -> None:
    with socket.create_connection(("127.0.0.1", stack.http_port), 5) as connection:
        connection.sendall(request_.encode())
        response = connection.recv(4096).decode()

    assert response.startswith("HTTP/1.1 400")
    assert re.search("x-trace-id: [0-9a-f]{32}\r\n", response)


def test_probes_and_files_have_a_trace_id(stack: Stack, rest: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/openapi.json", "/docs"):
        url = f"http://127.0.0.1:{stack.http_port}{path}"
        response = rest.get(url, headers={"traceparent": PARENT})

        assert response.status_code == 200
        assert response.headers["x-trace-id"] == TRACE_ID


@contextmanager
def echo(folder: Path, trusted_hops: int) -> Iterator[tuple[Door, Small]]:
    """An Envoy with this setting in front of a server that keeps the headers."""
    server = Small(folder / "a.sock")
    with door(folder, trusted_hops=trusted_hops) as envoy:
        envoy.send_calls_to([server])
        yield envoy, server
    server.stop()


@pytest.mark.parametrize(
    ("trusted_hops", "given", "address"),
    [
        (0, ["203.0.113.9"], "127.0.0.1"),
        (0, ["203.0.113.9, 127.0.0.1", "203.0.113.8"], "127.0.0.1"),
        (1, ["203.0.113.9, 203.0.113.8"], "203.0.113.8"),
        (1, [], "127.0.0.1"),
        (1, ["not an address" * 500], "127.0.0.1"),
        (2, ["203.0.113.9, 2001:db8::1, 203.0.113.7"], "2001:db8::1"),
    ],
)
def test_no_caller_can_forge_its_address(
    tmp_path: Path, trusted_hops: int, given: list[str], address: str
) -> None:
    headers = [("x-forwarded-for", value) for value in given]
    forged = [("x-real-ip", "203.0.113.9"), ("x-envoy-external-address", "203.0.113.9")]
    with echo(tmp_path, trusted_hops) as (envoy, server), envoy.channel() as channel:
        channel.unary_unary(ECHO)(b"", metadata=(*headers, *forged), timeout=5)  # type: ignore[arg-type]

    assert server.metadata[-1]["x-forwarded-for"] == address
