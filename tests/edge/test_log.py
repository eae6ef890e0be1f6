"""The log of the whole system: one line for each call, from the edge or from a server."""

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Any

import grpc
import httpx
import pytest

from portal.oauth.v1.provider_pb2 import GetProviderRequest, ListProvidersRequest
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_server.limited_lines import LINES_PER_SECOND
from tests.support.stack import ADMIN_KEY, Stack, portal, soon

SECRET = "s3cr3t-of-a-provider"  # noqa: S105
PROVIDER = {
    "Name": "Idp",
    "Type": "Keycloak",
    "WellKnownURL": "https://idp.test/x",
    "RegistrationAccessToken": SECRET,
}
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
FIELDS = {"time", "level", "logger", "message"}
CALL_FIELDS = {"method", "code", "reason", "ms", "address", "trace_id"}

_numbers = count(1)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system that logs JSON and has one thread and one place to wait."""
    folder = tmp_path_factory.mktemp("logged")
    settings = {"PORTAL_LOG_FORMAT": "json", "PORTAL_THREADS": "1", "PORTAL_MAX_WAITING": "1"}
    stack = Stack(folder, **settings).start()
    yield stack
    stack.stop()


def lines_of(stack: Stack) -> list[dict[str, Any]]:
    """Every line of the log so far."""
    return [json.loads(line) for line in stack.err.read_text().splitlines()]


def new_parent() -> tuple[str, str]:
    """A new trace ID, and the traceparent that has it."""
    trace_id = f"{next(_numbers):032x}"
    return trace_id, f"00-{trace_id}-00f067aa0ba902b7-00"


class Callers:
    """Makes calls, each with its own trace ID."""

    def __init__(self, stack: Stack, key: str) -> None:
        self._stack = stack
        self._key = key
        self.ids: list[str] = []

    def rest(
        self, method: str, path: str, *, key: str | None = None, **more: Any
    ) -> httpx.Response:
        trace_id, parent = new_parent()
        self.ids.append(trace_id)
        headers = {"authorization": self._key if key is None else key, "traceparent": parent}
        more["headers"] = headers | more.get("headers", {})
        with self._stack.client(None) as client:
            response = client.request(method, path, **more)
        assert response.headers["x-trace-id"] == trace_id
        return response

    def native(self, request: Any, method: str, *metadata: tuple[str, str | bytes]) -> None:
        trace_id, parent = new_parent()
        self.ids.append(trace_id)
        with grpc.insecure_channel(f"127.0.0.1:{self._stack.grpc_port}") as channel:
            call = getattr(ProviderServiceStub(channel), method)
            with suppress(grpc.RpcError):
                call(request, metadata=(*metadata, ("traceparent", parent)), timeout=20)

    def unreadable(self) -> None:
        with socket.create_connection(("127.0.0.1", self._stack.http_port), 5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nbroken\r\n\r\n")
            response = connection.recv(4096).decode()
        self.ids.extend(re.findall("x-trace-id: ([0-9a-f]{32})", response))


def call_of_each_kind(callers: Callers, key: str) -> int:
    """Calls that succeed, that a server rejects and that the edge rejects; the ID of a provider."""
    created = callers.rest("POST", "/oauth-providers", json=PROVIDER).json()["ID"]
    path = f"/oauth-providers/{created}"
    callers.rest("GET", "/oauth-providers")
    callers.rest("GET", path)
    callers.rest("PUT", path, json=PROVIDER | {"Name": "Idp 2"})
    callers.rest("POST", f"{path}/client-types", json=CLIENT_TYPE)
    callers.rest("GET", f"{path}/client-types")
    callers.rest("GET", "/oauth-providers/777")
    callers.rest("GET", "/oauth-providers/x%0Ay")
    callers.rest("POST", "/oauth-providers", json={"Name": ""})
    callers.rest("GET", path, key="wrong")
    callers.rest("GET", path, key="")
    callers.rest("POST", f"{path}/client-types", content="{" + key)
    callers.rest("GET", f"/nowhere?key={key}")
    callers.rest("PATCH", path, headers={"x-secret": key})
    callers.rest("POST", path, content="x")
    callers.rest("PUT", path, content=b"x" * (1 << 20 | 1))
    callers.rest("PUT", path, content=key, headers={"content-type": "text/xml"})
    callers.rest("GET", path, headers={"content-type": "application/grpc"})
    callers.unreadable()
    authorization = ("authorization", f"Bearer {key}")
    callers.native(GetProviderRequest(id=created), "GetProvider", authorization)
    callers.native(GetProviderRequest(id=777), "GetProvider", authorization)
    callers.native(GetProviderRequest(id=created), "GetProvider")
    callers.native(ListProvidersRequest(filter="x"), "ListProviders", authorization)
    callers.native(ListProvidersRequest(), "ListProviders", authorization, ("grpc-tags", "x"))
    callers.native(ListProvidersRequest(), "ListProviders", authorization, ("lb-cost-bin", b"x"))
    callers.rest("DELETE", path)
    callers.rest("DELETE", path, params={"force": "true"})
    return int(created)


def test_each_call_has_one_line_with_what_finds_it(logged: Stack) -> None:
    key = portal("keys", "create", **logged.settings).stdout.strip()
    callers = Callers(logged, key)
    created = call_of_each_kind(callers, key)
    with logged.locked_database(), ThreadPoolExecutor(4) as pool:
        full = [
            pool.submit(callers.rest, "POST", "/oauth-providers", json=PROVIDER) for _ in "1234"
        ]
        assert soon(lambda: any(call.done() for call in full), 10)
    assert 429 in {call.result().status_code for call in full}
    assert len(callers.ids) >= 30

    def found() -> Counter[str]:
        return Counter(line["trace_id"] for line in lines_of(logged) if "trace_id" in line)

    assert soon(lambda: set(callers.ids) <= set(found()), 5)
    assert {trace_id: found()[trace_id] for trace_id in callers.ids} == dict.fromkeys(
        callers.ids, 1
    )
    lines = [line for line in lines_of(logged) if line.get("trace_id") in callers.ids]
    for line in lines:
        assert set(line) >= FIELDS | (CALL_FIELDS - ({"reason"} if "reason" not in line else set()))
        assert line["address"] == "127.0.0.1"
        assert line["ms"] >= 0
    own = [line for line in lines if key.split("_")[1] == line.get("key_id")]
    assert len(own) > 20
    of_provider = [line for line in lines if line.get("resource_id") == str(created)]
    assert {line["logger"] for line in of_provider} == {"portal.calls", "portal.edge"}
    text = logged.err.read_text()
    assert key not in text
    assert key[13:30] not in text
    assert SECRET not in text
    assert ADMIN_KEY not in text


def test_rejections_that_anyone_can_cause_are_counted_beyond_a_rate(logged: Stack) -> None:
    before = len(lines_of(logged))
    many = 20 * LINES_PER_SECOND
    with logged.client("wrong") as client:
        for number in range(many):
            client.get("/oauth-providers" if number % 2 else "/nowhere")

    def counted(text: str) -> int:
        found = (re.match(rf"(\d+) {text}", line["message"]) for line in lines_of(logged)[before:])
        return sum(int(match[1]) for match in found if match)

    def written(logger: str) -> int:
        new = lines_of(logged)[before:]
        return sum(line["logger"] == logger and "trace_id" in line for line in new)

    for logger, text in (
        ("portal.edge", "more calls rejected by the edge"),
        ("portal.calls", "more rejected calls"),
    ):
        assert soon(lambda: written(logger) + counted(text) == many / 2, 15), logger  # noqa: B023
        assert counted(text) > 0


def test_text_has_the_same(stack: Stack, rest: httpx.Client) -> None:
    trace_id, parent = new_parent()
    response = rest.get(
        f"http://127.0.0.1:{stack.http_port}/7?x=1", headers={"traceparent": parent}
    )
    line = (
        r"INFO portal.edge: GET /7 HTTP 404 lua_response \d+ ms key=- address=127.0.0.1"
        rf" trace={trace_id} id=7\n"
    )

    assert response.status_code == 404
    assert soon(lambda: re.search(line, stack.err.read_text()), 5)
