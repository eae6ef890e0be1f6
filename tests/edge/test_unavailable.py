"""What callers of REST see while the server is away, and that it comes back."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.support.stack import TLS, Stack, suspend

PROVIDER = {"Name": "x", "Type": "Other", "WellKnownURL": "https://idp.test/x"}
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
AWAY = {"errors": ["the service is not available; retry"]}


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system that each test harms and heals."""
    running = Stack(tmp_path_factory.mktemp("unavailable")).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def path(own_stack: Stack) -> str:
    """The path of the client types of a new provider."""
    with own_stack.client() as rest:
        made = rest.post("/oauth-providers", json=PROVIDER).raise_for_status().json()["ID"]
    return f"/oauth-providers/{made}/client-types"


def until(rest: httpx.Client, status: int, seconds: float) -> httpx.Response:
    """The first response with this status."""
    deadline = time.monotonic() + seconds
    while True:
        response = rest.get("/oauth-providers")
        if response.status_code == status:
            return response
        assert time.monotonic() < deadline, response.text
        time.sleep(0.05)


def test_a_killed_server_is_503_and_comes_back_with_all_that_it_acknowledged(
    own_stack: Stack, path: str
) -> None:
    with own_stack.client() as rest:
        created = [rest.post(path, json=CLIENT_TYPE).json() for _ in range(20)]
        [server] = own_stack.children()["server"]
        os.kill(server, signal.SIGKILL)
        away = until(rest, 503, 5)
        health = httpx.get(f"http://127.0.0.1:{own_stack.http_port}/healthz", verify=TLS)
        until(rest, 200, 15)
        left = rest.get(path).json()

    assert away.json() == AWAY
    assert health.status_code in (200, 503)
    assert left == created


def test_a_server_that_hangs_is_504_is_not_ready_and_is_replaced(own_stack: Stack) -> None:
    [server] = own_stack.children()["server"]
    with own_stack.client() as rest:
        suspend(server)
        slow = rest.get("/oauth-providers")
        health = httpx.get(f"http://127.0.0.1:{own_stack.http_port}/healthz", verify=TLS)
        until(rest, 200, 30)

    assert slow.status_code == 504
    assert slow.json() == {"errors": ["the service did not respond in time"]}
    assert (health.status_code, health.json()) == (503, AWAY)
    assert own_stack.children()["server"] != [server]


def test_a_storage_that_is_locked_too_long_is_503_and_nothing_is_written(
    own_stack: Stack, path: str
) -> None:
    with own_stack.client() as rest:
        with own_stack.locked_database():
            slow = rest.post(path, json=CLIENT_TYPE)
            read = rest.get(path)
        after = rest.get(path)

    assert slow.status_code == 503
    assert slow.headers["retry-after"] == "1"
    assert "outcome is unknown" in slow.json()["errors"][0]
    assert (read.status_code, read.json()) == (200, [])
    assert after.json() == []


def test_an_internal_error_is_500_with_the_trace_id_in_the_log(own_stack: Stack) -> None:
    with closing(sqlite3.connect(own_stack.folder / "portal.db")) as behind_its_back:
        behind_its_back.execute("ALTER TABLE provider RENAME COLUMN name TO eman")
        with own_stack.client() as rest:
            response = rest.get("/oauth-providers")
        behind_its_back.execute("ALTER TABLE provider RENAME COLUMN eman TO name")
    [error] = response.json()["errors"]
    trace_id = error.removeprefix("internal error ")

    assert response.status_code == 500
    assert trace_id == response.headers["x-trace-id"]
    assert "column" not in response.text
    assert f"trace={trace_id}" in own_stack.err.read_text()
    assert "no such column" in own_stack.err.read_text()


def test_past_the_bound_callers_are_reported_at_once_and_the_service_stays_up(
    tmp_path: Path,
) -> None:
    own = Stack(tmp_path, PORTAL_THREADS="1", PORTAL_MAX_WAITING="1").start()
    path = "/oauth-providers/1/client-types"

    def post(_number: int) -> httpx.Response:
        with own.client() as rest:
            return rest.post(path, json=CLIENT_TYPE)

    with ThreadPoolExecutor(12) as pool:
        with own.locked_database():
            calls = [pool.submit(post, number) for number in range(12)]
            time.sleep(2.5)
            reported = [call.result() for call in calls if call.done()]
            health = httpx.get(f"http://127.0.0.1:{own.http_port}/healthz", verify=TLS)
        responses = [call.result() for call in calls]
    with own.client() as rest:
        stored = rest.get(path).json()
    status = own.stop()

    assert len(reported) == 10
    assert {response.status_code for response in reported} == {429}
    assert reported[0].json() == {"errors": ["too many calls wait; retry later"]}
    assert health.status_code == 200
    assert len(stored) == [response.status_code for response in responses].count(200) == 2
    assert status == 0
