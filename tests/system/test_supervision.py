"""What `portal up` does when a server or Envoy ends, hangs or cannot start."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.support.faults import break_servers
from tests.support.stack import ENVIRONMENT, ROOT, Stack, alive, soon

pytestmark = pytest.mark.slow

CLIENT_TYPES = "/oauth-providers/1/client-types"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Stack]:
    """Two servers, not started."""
    own = Stack(tmp_path, PORTAL_WORKERS="2")
    yield own
    if own.process:
        own.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two started servers."""
    own = Stack(tmp_path_factory.mktemp("shared"), PORTAL_WORKERS="2").start()
    yield own
    own.stop()


@pytest.fixture
def running(shared: Stack) -> Stack:
    """Two started servers, which the test before may have harmed."""
    assert soon(lambda: len(servers(shared)) == 2 and status(shared) == 200, 20)
    return shared


def servers(own: Stack) -> set[int]:
    return set(own.children()["server"])


def status(own: Stack) -> int | str:
    with own.client() as rest:
        try:
            return rest.get(CLIENT_TYPES).status_code
        except httpx.HTTPError as error:
            return repr(error)


def require_replacement(own: Stack, number: int) -> None:
    """Stop so many servers; others must take their places within 30 seconds."""
    before, log = servers(own), own.err.read_text()
    stopped = sorted(before)[:number]
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    replaced = soon(lambda: len(servers(own) - set(stopped)) == 2, 30)

    assert replaced
    assert not any(map(alive, stopped))
    assert soon(lambda: status(own) == 200, 10)
    assert servers(own) & before == before - set(stopped)
    new = own.err.read_text().removeprefix(log)
    assert new.count("has not responded for 10 s and is killed") == number


def test_a_server_that_is_stopped_is_replaced_within_30_seconds(running: Stack) -> None:
    require_replacement(running, 1)


@pytest.mark.slow
def test_all_servers_that_are_stopped_are_replaced_within_30_seconds(pair: Stack) -> None:
    # A separate start: a server that is replaced before it was healthy is given longer.
    require_replacement(pair.start(), 2)


def test_a_server_that_is_away_for_some_seconds_stays(running: Stack) -> None:
    before = servers(running)
    for process in before:
        os.kill(process, signal.SIGSTOP)
    time.sleep(6)
    for process in before:
        os.kill(process, signal.SIGCONT)
    # What the supervisor does about them, it does before it sees that they respond again.
    assert soon(lambda: all(status(running) == 200 for _ in range(10)), 10)
    assert not soon(lambda: servers(running) != before, 2)


def test_a_server_that_cannot_start_is_retried_after_growing_delays_while_the_others_serve(
    pair: Stack,
) -> None:
    pair.start()
    dies, stays = sorted(servers(pair))
    with closing(sqlite3.connect(pair.folder / "portal.db")) as database:
        database.execute("ALTER TABLE alembic_version RENAME TO away")
        os.kill(dies, signal.SIGKILL)
        tried = soon(lambda: "restarting in 4 s" in pair.err.read_text(), 30)
        served = {status(pair) for _ in range(30)}
        database.execute("ALTER TABLE away RENAME TO alembic_version")
    log = pair.err.read_text()

    assert tried
    assert served == {200}
    assert re.findall(r"restarting in (\S+) s", log)[-4:] == ["0.5", "1", "2", "4"]
    assert soon(lambda: len(servers(pair)) == 2, 20)
    assert stays in servers(pair)


def test_a_start_goes_on_without_a_server_that_cannot_start(pair: Stack) -> None:
    pair.settings |= break_servers(pair.folder, 0)
    pair.start()
    served = {status(pair) for _ in range(20)}

    assert served == {200}
    assert "gRPC server 1 ended with status 3; restarting in 0.5 s" in pair.err.read_text()
    assert pair.stop() == 0


def test_a_start_without_any_working_server_ends_with_a_clear_line(pair: Stack) -> None:
    pair.settings |= break_servers(pair.folder, 0, 1)
    ended = pair.launch().wait(30)
    *_, last = pair.err.read_text().splitlines()

    assert ended == 1
    assert re.fullmatch(
        r"portal: no gRPC server can start: gRPC server [12] ended with status 3", last
    )
    assert pair.out.read_text() == ""


def test_an_envoy_that_has_ended_is_started_again(running: Stack) -> None:
    before = servers(running)
    [envoy] = running.children()["envoy"]
    os.kill(envoy, signal.SIGKILL)

    assert soon(lambda: not alive(envoy) and status(running) == 200, 10)
    assert servers(running) == before


def test_an_envoy_that_is_stopped_is_replaced(running: Stack) -> None:
    [envoy] = running.children()["envoy"]
    os.kill(envoy, signal.SIGSTOP)

    assert soon(lambda: not alive(envoy), 25)
    assert soon(lambda: status(running) == 200, 10)
    assert "Envoy has not responded for 10 s and is killed" in running.err.read_text()


def test_an_envoy_that_keeps_ending_ends_all_with_a_clear_line(pair: Stack) -> None:
    file = pair.folder / "own.yaml"
    shutil.copy(ROOT / "envoy.yaml", file)
    # Its files are searched in its folder first.
    (pair.folder / "edge").mkdir()
    (pair.folder / "edge/rest.lua").write_text("not Lua\n")
    done = subprocess.run(
        [sys.executable, "-m", "portal_server", "up"],
        env=ENVIRONMENT | pair.settings | {"PORTAL_ENVOY_CONFIG": str(file)},
        cwd=pair.folder,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.endswith("portal: Envoy ended with status 1\n")
    assert done.stdout == ""
