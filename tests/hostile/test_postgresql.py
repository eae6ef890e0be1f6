"""A PostgreSQL that is away, stuck, or read-only: callers are reported, and all heals by itself."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.hostile.system import API, PROVIDER, System, end, start_system
from tests.hostile.victims import Victims
from tests.support.postgres import Postgres, running_postgres
from tests.support.stack import TLS

pytestmark = pytest.mark.attack


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def system(
    cluster: Postgres, tmp_path_factory: pytest.TempPathFactory, victims: Victims
) -> Iterator[System]:
    """Two servers on their own PostgreSQL."""
    folder: Path = tmp_path_factory.mktemp("postgresql")
    started = start_system(folder, victims, PORTAL_DATABASE_URL=cluster.url(), PORTAL_WORKERS="2")
    yield started
    end(started.stack)


def sql(cluster: Postgres, *statements: str) -> None:
    url = cluster.url().replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        # The connection's own commits must not wait for the standby either.
        connection.execute("SET synchronous_commit = local")
        for statement in statements:
            connection.execute(statement)


def status(system: System, path: str) -> int:
    return httpx.get(
        f"http://127.0.0.1:{system.stack.http_port}{path}", timeout=5, verify=TLS
    ).status_code


def until(true: Callable[[], bool], seconds: float) -> None:
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.05)


@contextmanager
def standby_that_is_away(cluster: Postgres) -> Iterator[None]:
    """Commits wait for a standby that does not exist."""
    sql(cluster, "ALTER SYSTEM SET synchronous_standby_names = 'nosuch'", "SELECT pg_reload_conf()")
    time.sleep(0.3)
    try:
        yield
    finally:
        sql(cluster, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")


def test_while_commits_do_not_return_reads_go_on_and_writes_are_reported(
    system: System, cluster: Postgres
) -> None:
    ports = list(system.ports.values())
    reported: list[tuple[float, httpx.Response]] = []

    def write(number: int) -> None:
        start = time.monotonic()
        found = system.call_rest(ports[number % 2], "POST", seconds=20, json=PROVIDER)
        reported.append((time.monotonic() - start, found))

    reads: list[float] = []
    with standby_that_is_away(cluster), ThreadPoolExecutor(40) as pool:
        writes = [pool.submit(write, number) for number in range(40)]
        start = time.monotonic()
        while time.monotonic() < start + 7:
            began = time.monotonic()
            for port in ports:
                system.call_native(port)
            assert system.call_rest(ports[0], path=f"{API}?per_page=1").status_code == 200
            reads.append(time.monotonic() - began)
            time.sleep(0.02)
        unready = status(system, "/readyz"), status(system, "/livez")
        for done in writes:
            done.result()
    until(lambda: status(system, "/readyz") == 200, 10)

    assert max(reads) < 1
    assert {found.status_code for _, found in reported} == {503}
    assert any("outcome is unknown" in found.text for _, found in reported)
    assert max(seconds for seconds, _ in reported) < 11
    assert unready == (503, 200)
    assert system.call_rest(ports[0], "POST", json=PROVIDER).status_code == 200


def test_a_database_that_is_away_is_reported_by_readiness_and_not_by_liveness(
    system: System, cluster: Postgres
) -> None:
    cluster.stop()
    try:
        until(lambda: status(system, "/readyz") == 503, 6)
        found = system.call_rest(system.stack.grpc_port)
        assert status(system, "/livez") == 200
    finally:
        cluster.start()
    until(lambda: status(system, "/readyz") == 200, 5)

    assert found.status_code == 503
    assert found.json()["errors"]
    assert system.call_rest(system.stack.http_port).status_code == 200


@pytest.mark.long
def test_a_restart_of_the_database_under_load_loses_no_write(
    system: System, cluster: Postgres
) -> None:
    made: list[int] = []
    stop = threading.Event()

    def write(number: int) -> None:
        port = list(system.ports.values())[number % 2]
        while not stop.is_set():
            found = system.call_rest(port, "POST", seconds=12, json=PROVIDER)
            assert found.status_code in {200, 503, 504}, found.text
            if found.status_code == 200:
                made.append(found.json()["ID"])

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, number) for number in range(8)]
        time.sleep(0.7)
        cluster.stop()
        cluster.start()
        start = len(made)
        try:
            until(lambda: len(made) > start + 20, 10)
        finally:
            stop.set()
        for writer in writers:
            writer.result()
    url = cluster.url().replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        stored = {row[0] for row in connection.execute("SELECT id FROM provider")}

    assert set(made) <= stored


@pytest.mark.long
def test_a_hung_database_costs_no_caller_more_than_its_deadline(
    system: System, cluster: Postgres
) -> None:
    pids = _processes_of(cluster.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with ThreadPoolExecutor(40) as pool:
            calls = [
                pool.submit(system.call_rest, system.stack.http_port, seconds=15) for _ in range(40)
            ]
            found = {call.result().status_code for call in calls}
        taken = time.monotonic() - start
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    until(lambda: system.call_rest(system.stack.http_port).status_code == 200, 5)

    assert found <= {503, 504, 429}
    assert taken < 13


@pytest.mark.long
def test_a_database_that_takes_no_writes_is_read(system: System, cluster: Postgres) -> None:
    port = system.stack.http_port
    sql(cluster, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    try:
        until(lambda: system.call_rest(port, "POST", json=PROVIDER).status_code == 503, 5)
        assert system.call_rest(port).status_code == 200
    finally:
        url = cluster.url().replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")
    until(lambda: system.call_rest(port, "POST", json=PROVIDER).status_code == 200, 5)


def _processes_of(postmaster: int) -> list[int]:
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]
