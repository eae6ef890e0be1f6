"""REST lists: streams that are complete, or visibly not."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from portal.rest.v1 import portal_rest_pb2 as pb
from portal_server.wire.interceptors.method import BROKEN_MESSAGE
from tests.support.own_envoy import Door, Small, door

PART = pb.ListProvidersResponse(providers=[pb.Provider(name="x", id=1)]).SerializeToString()


def test_a_page_of_many_reads_is_complete(rest: httpx.Client) -> None:
    provider = {"Name": "Idp", "Type": "Other", "WellKnownURL": "https://idp.test/x"}
    path = f"/oauth-providers/{rest.post('/oauth-providers', json=provider).json()['ID']}"
    client_type = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
    created = [rest.post(f"{path}/client-types", json=client_type).json() for _ in range(450)]

    assert rest.get(f"{path}/client-types?per_page=10000").json() == created
    assert rest.get(f"{path}/client-types?per_page=10000&limit=401").json() == created[:401]
    assert rest.get(f"{path}/client-types?per_page=210&page=2").json() == created[210:420]


@pytest.mark.parametrize("rows", [0, 1, 49, 50, 51, 100])
def test_a_list_is_one_array_however_many_parts_it_has(rest: httpx.Client, rows: int) -> None:
    provider = {"Name": "Idp", "Type": "Other", "WellKnownURL": "https://idp.test/x"}
    path = f"/oauth-providers/{rest.post('/oauth-providers', json=provider).json()['ID']}"
    # What stands between two parts, as a text.
    names = ['"]},{"Items":[', ']},{"Items":[', '[{"Items":[]}]', "]}]", "\\", "x"]
    created = [
        rest.post(
            f"{path}/client-types",
            json={"Name": names[n % 6], "ResponseTypes": "code", "GrantType": "pkce"},
        ).json()
        for n in range(rows)
    ]
    listed = rest.get(f"{path}/client-types?per_page=100")
    head = rest.head(f"{path}/client-types?per_page=100")

    assert listed.json() == created
    assert (head.status_code, head.content) == (200, b"")


class Lists(Small):
    """A server whose lists have three parts of a row, and then an end of the test's own."""

    def __init__(self, folder: Path, end: bytes | None) -> None:
        self._end = end
        super().__init__(folder / "server.sock")

    def service(self, details: Any) -> Any:
        if not details.method.startswith("/portal.rest."):
            return None
        return grpc.unary_stream_rpc_method_handler(self._list)

    def _list(self, _request: bytes, context: Any) -> Iterator[bytes]:
        self.remaining.append(context.time_remaining())
        yield from [PART] * 3
        if self._end is not None:
            yield self._end


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with door(tmp_path_factory.mktemp("lists")) as running:
        yield running


def received(port: int) -> bytes:
    """All bytes of the response to a list, until its end or that of the connection."""
    request = b"GET /portal-api/oauth-providers HTTP/1.1\r\nHost: x\r\n\r\n"
    found = b""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(request)
        while not found.endswith(b"\r\n0\r\n\r\n") and (part := connection.recv(65536)):
            found += part
    return found


@pytest.mark.parametrize(("end", "complete"), [(None, True), (BROKEN_MESSAGE, False)])
def test_a_list_that_an_error_cuts_short_does_not_look_complete(
    envoy: Door, tmp_path: Path, end: bytes | None, *, complete: bool
) -> None:
    server = Lists(tmp_path, end)
    try:
        envoy.send_calls_to([server])
        response = received(envoy.http_port)
    finally:
        server.stop()

    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert response.count(b'"Name":"x"') == 3
    assert response.endswith(b"]\r\n0\r\n\r\n") is complete


def test_envoy_ends_a_list_before_the_server_does(envoy: Door, tmp_path: Path) -> None:
    server = Lists(tmp_path, None)
    try:
        envoy.send_calls_to([server])
        received(envoy.http_port)
    finally:
        server.stop()

    assert 11.5 < server.remaining[0] < 12
