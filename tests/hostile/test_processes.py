"""What the processes show of themselves, and how they end and heal while callers call."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.hostile.http2 import Connection, http, message, rpc
from tests.hostile.system import API, PROVIDER, WATCH, System, end, start_system
from tests.hostile.victims import Victims
from tests.support.stack import ADMIN_KEY


@pytest.fixture
def own(tmp_path: Path, victims: Victims) -> Iterator[System]:
    """A system of the test's own, with two servers."""
    system = start_system(tmp_path, victims, PORTAL_WORKERS="2")
    yield system
    end(system.stack)


def wait_until(true: Callable[[], bool], seconds: float) -> float:
    """How long it took to become true; fails when it takes longer than this."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - start


def _listening(pid: int) -> set[int]:
    """The TCP ports that a process listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(link.readlink()))
        except FileNotFoundError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def test_nothing_but_envoy_listens_and_on_the_public_ports_alone(each: System) -> None:
    children = each.stack.children()
    assert each.stack.process

    assert _listening(each.envoy) == set(each.ports.values())
    for pid in [each.stack.process.pid, *children["server"]]:
        assert _listening(pid) == set()


def test_no_process_shows_a_key(one: System) -> None:
    token = "registration-token-of-a-test"  # noqa: S105
    one.call_rest(one.stack.http_port, "POST", json=PROVIDER | {"RegistrationAccessToken": token})
    one.call_rest(one.stack.http_port, "POST", json=PROVIDER | {"RegistrationAccessToken": [token]})
    secrets = [ADMIN_KEY, one.admin, one.viewer, one.greedy_admin, token]
    pids = [pid for group in one.stack.children().values() for pid in group]
    shown = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    shown += [Path(f"/proc/{one.envoy}/environ").read_bytes(), one.log().encode()]

    assert not [secret for secret in secrets for text in shown if secret.encode() in text]


def test_an_open_watch_does_not_hold_up_the_end(own: System) -> None:
    held = []
    for port in own.ports.values():
        for _ in range(5):
            connection = Connection(port)
            connection.data(connection.begin(rpc(WATCH)), message(), end=True)
            connection.pump(0.2)
            held.append(connection)
    start = time.monotonic()

    assert own.stack.stop() == 0
    assert time.monotonic() - start < 5
    for connection in held:
        connection.close()


@pytest.mark.long
def test_the_end_under_load_loses_no_write_that_was_acknowledged(own: System) -> None:
    made: list[int] = []
    stop = time.monotonic() + 20

    def write(number: int) -> None:
        port = list(own.ports.values())[number % 2]
        while time.monotonic() < stop:
            try:
                found = own.call_rest(port, "POST", json=PROVIDER)
            except httpx.HTTPError:
                return
            if found.status_code == 200:
                made.append(found.json()["ID"])

    with ThreadPoolExecutor(8) as pool:
        for number in range(8):
            pool.submit(write, number)
        time.sleep(1)
        start = time.monotonic()
        status = own.stack.stop()
        taken = time.monotonic() - start
    with closing(sqlite3.connect(own.stack.folder / "portal.db")) as database:
        stored = {row[0] for row in database.execute("SELECT id FROM provider")}

    assert status == 0
    assert taken < 30
    assert made
    assert set(made) <= stored


@pytest.mark.attack
def test_restarts_in_turn_fail_no_call(two: System) -> None:
    assert two.stack.process
    with two.victims.calling(two.target):
        for _ in range(2):
            before = set(two.stack.children()["server"])
            two.stack.process.send_signal(signal.SIGHUP)

            def replaced(before: set[int] = before) -> bool:
                now = set(two.stack.children()["server"])
                return len(now) == 2 and not now & before

            wait_until(replaced, 30)
            time.sleep(0.5)


@pytest.mark.long
def test_a_hung_server_is_replaced_and_the_other_continues(own: System) -> None:
    hung, other = own.stack.children()["server"]
    os.kill(hung, signal.SIGSTOP)
    try:
        wait_until(lambda: hung not in own.stack.children()["server"], 25)
    finally:
        if hung in own.stack.children()["server"]:
            os.kill(hung, signal.SIGCONT)
    wait_until(lambda: len(own.stack.children()["server"]) == 2, 10)

    assert other in own.stack.children()["server"]
    wait_until(own.is_well, 10)


def test_the_last_id_is_followed_by_a_clear_error_and_lists_go_on(one: System, port: str) -> None:
    number = one.ports[port]
    with closing(sqlite3.connect(one.stack.folder / "portal.db")) as database:
        [before] = database.execute(
            "SELECT seq FROM sqlite_sequence WHERE name='provider'"
        ).fetchone()
        try:
            with database:
                database.execute("UPDATE sqlite_sequence SET seq=2147483647 WHERE name='provider'")
            found = one.call_rest(number, "POST", json=PROVIDER)
            assert 400 <= found.status_code < 500 or found.status_code == 503
            assert found.json()["errors"]
            assert one.call_rest(number, path=f"{API}?per_page=1000").status_code == 200
        finally:
            with database:
                database.execute("DELETE FROM provider WHERE id > 2147483646")
                database.execute(
                    "UPDATE sqlite_sequence SET seq=? WHERE name='provider'", (before,)
                )


def test_a_watch_reports_that_the_service_serves(one: System, port: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{one.ports[port]}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=5)
        first = next(iter(watch))
        watch.cancel()

    assert first.status == health_pb2.HealthCheckResponse.SERVING


def test_while_no_server_runs_envoy_lives_and_is_not_ready(own: System) -> None:
    servers = own.stack.children()["server"]
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)

    def reported() -> bool:
        found = []
        for path in ("/livez", "/readyz", "/healthz"):
            with Connection(own.stack.grpc_port) as connection:
                found.append(connection.call(http("GET", path)).status)
        return found == [200, 503, 503]

    try:
        wait_until(reported, 12)
    finally:
        for pid in servers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
