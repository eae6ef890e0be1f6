"""SIGHUP restarts the servers one after the other, and no caller notices."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Self

import httpx
import pytest

from portal_client import GRANT_TYPE_PKCE, RESPONSE_TYPE_CODE, ClientType, Portal
from tests.support.postgres import Postgres
from tests.support.stack import ADMIN_KEY, Stack, alive, soon

pytestmark = pytest.mark.slow

CLIENT_TYPES = "/oauth-providers/1/client-types"
CALLERS = 16
RESTARTS = 4


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two started servers."""
    own = Stack(tmp_path_factory.mktemp("pair"), PORTAL_WORKERS="2").start()
    yield own
    own.stop()


class Restarts:
    """The restarts that the log reports from now on."""

    def __init__(self, own: Stack) -> None:
        self._own = own
        self._from = own.err.stat().st_size

    @property
    def log(self) -> str:
        return self._own.err.read_bytes()[self._from :].decode()

    @property
    def started(self) -> int:
        return self.log.count("restart: started")

    @property
    def done(self) -> int:
        return self.log.count("restart: done")


def servers(own: Stack) -> set[int]:
    return set(own.children()["server"])


def hang_up(own: Stack) -> None:
    assert own.process
    own.process.send_signal(signal.SIGHUP)


class Callers:
    """Programs that write and read until reported to stop."""

    def __init__(self, own: Stack) -> None:
        self._own = own
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CALLERS)
        self.calls = 0
        self.written: list[int] = []
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        for number in range(CALLERS):
            self._pool.submit(self._rest if number % 2 else self._grpc)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    def _rest(self) -> None:
        body = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
        with self._own.client() as rest:
            while not self._stop.is_set():
                try:
                    made = rest.post(CLIENT_TYPES, json=body).raise_for_status().json()["ID"]
                    self.written.append(made)
                    rest.get(f"{CLIENT_TYPES}/{made}").raise_for_status()
                except httpx.HTTPError as error:
                    self.errors.append(repr(error))
                self.calls += 2

    def _grpc(self) -> None:
        body = ClientType(
            name="x", response_types=[RESPONSE_TYPE_CODE], grant_types=[GRANT_TYPE_PKCE]
        )
        with Portal(f"localhost:{self._own.grpc_port}", key=ADMIN_KEY) as portal:
            while not self._stop.is_set():
                try:
                    made = portal.create_client_type(1, body).id
                    self.written.append(made)
                    portal.get_client_type(1, made)
                except Exception as error:  # noqa: BLE001 - whatever it is, it must not be
                    self.errors.append(repr(error))
                self.calls += 2


def stored(own: Stack) -> set[int]:
    with Portal(f"localhost:{own.grpc_port}", key=ADMIN_KEY, timeout=60) as portal:
        return {found.id for found in portal.list_client_types(1, page_size=1000)}


@pytest.mark.timeout(600)
def test_restarts_under_load_fail_no_call_and_lose_no_write(
    tmp_path: Path, postgres: Postgres
) -> None:
    url = postgres.new_database("restarts")
    own = Stack(tmp_path, PORTAL_WORKERS="2", PORTAL_DATABASE_URL=url).start()
    first = servers(own)
    log = Restarts(own)
    try:
        with Callers(own) as callers:
            for number in range(RESTARTS):
                before = servers(own)
                hang_up(own)
                assert soon(lambda: log.done == number + 1, 60), own.err.read_text()[-2000:]  # noqa: B023
                assert len(servers(own)) == 2
                assert not servers(own) & before
        found = stored(own)
    finally:
        status = own.stop()

    assert len(first) == 2
    assert callers.errors == []
    assert callers.calls > RESTARTS * CALLERS
    assert len(set(callers.written)) == len(callers.written)
    assert set(callers.written) - found == set()
    assert status == 0


def test_hangups_during_a_restart_are_one_more_restart(pair: Stack) -> None:
    log = Restarts(pair)
    hang_up(pair)
    assert soon(lambda: log.started, 10)
    for _ in range(5):
        time.sleep(0.3)
        hang_up(pair)
    assert soon(lambda: log.done == 2, 60)

    # The supervisor looks for signals ten times a second.
    assert not soon(lambda: log.started > 2, 1)


def test_when_a_new_server_cannot_start_the_old_one_goes_on(pair: Stack) -> None:
    before, log = servers(pair), Restarts(pair)
    with closing(sqlite3.connect(pair.folder / "portal.db")) as database:
        database.execute("ALTER TABLE alembic_version RENAME TO away")
        hang_up(pair)
        tried = soon(lambda: log.done == 1, 60)
        database.execute("ALTER TABLE away RENAME TO alembic_version")

    assert tried
    assert servers(pair) == before
    for number in (1, 2):
        assert f"the new gRPC server {number} ended with status 1; the old one continues" in log.log
    with pair.client() as rest:
        assert {rest.get(CLIENT_TYPES).status_code for _ in range(20)} == {200}


def test_a_server_that_dies_during_its_replacement_is_replaced(pair: Stack) -> None:
    before, log = servers(pair), Restarts(pair)
    hang_up(pair)
    assert soon(lambda: len(servers(pair)) == 3, 20)
    for process in before:
        os.kill(process, signal.SIGKILL)

    assert soon(lambda: log.done == 1 and len(servers(pair)) == 2, 60)
    assert not servers(pair) & before
    with pair.client() as rest:
        assert soon(lambda: rest.get(CLIENT_TYPES).status_code == 200, 10)


def test_a_stop_during_a_restart_leaves_nothing_behind(pair: Stack) -> None:
    hang_up(pair)
    assert soon(lambda: len(servers(pair)) == 3, 20)
    children = [number for numbers in pair.children().values() for number in numbers]
    status = pair.stop()

    assert status == 0
    assert len(children) == 4
    assert not [number for number in children if alive(number)]
    assert "Traceback" not in pair.err.read_text()
