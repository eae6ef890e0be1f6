"""Nobody else on the machine reads what the portal keeps."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import ADMIN_KEY, ENVIRONMENT, ROOT, Stack, portal, soon


def mode(path: Path) -> str:
    return stat.filemode(path.stat().st_mode)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own in a folder that others may read, not started."""
    tmp_path.chmod(0o755)
    stack = Stack(tmp_path)
    yield stack
    if stack.process:
        stack.stop()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A started stack without an API key in its settings, in a folder that others may read."""
    folder = tmp_path_factory.mktemp("started")
    folder.chmod(0o755)
    stack = Stack(folder, PORTAL_ADMIN_KEY="").start("sh", "-c", 'umask 022; exec "$@"', "sh")
    yield stack
    stack.stop()


def test_files_of_a_start_are_readable_by_its_user_only(started: Stack) -> None:
    with started.client() as rest:
        rest.post("/oauth-providers/1/client-types", json={})
        folder = started.run_folder
        modes = {path.name: mode(path) for path in folder.iterdir()}
        data = {path.name: mode(path) for path in started.folder.glob("portal.db*")}

    assert mode(folder) == "drwx------"
    assert modes == {
        "envoy.json": "-rw-------",
        "endpoints.json": "-rw-------",
        "admin.sock": "srw-------",
        "edge.log": "prw-------",
        "0-1.sock": "srwx------",
        "0-1.metrics": "srwx------",
    }
    assert data == dict.fromkeys(("portal.db", "portal.db-wal", "portal.db-shm"), "-rw-------")


def test_envoy_knows_no_setting(stack: Stack) -> None:
    [envoy] = stack.children()["envoy"]
    environment = Path(f"/proc/{envoy}/environ").read_text()
    command = Path(f"/proc/{envoy}/cmdline").read_text()

    assert "PORTAL_" not in environment
    assert ADMIN_KEY not in environment + command
    assert str(stack.http_port) not in command


def test_the_first_key_goes_to_a_private_file_and_nowhere_else(started: Stack) -> None:
    file = started.folder / "admin.key"
    key = file.read_text().strip()
    with started.client(key) as rest:
        status = rest.get("/oauth-providers").status_code

    assert status == 200
    assert mode(file) == "-rw-------"
    assert str(file) in started.out.read_text()
    assert key not in started.out.read_text() + started.err.read_text()


def test_a_stop_deletes_the_folder_of_a_start(started: Stack) -> None:
    folder = started.run_folder

    assert started.stop() == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "reason"), [("there", "it exists; if it is of an earlier"), ("file/admin.key", "")]
)
def test_no_key_is_created_if_its_file_cannot_be_written(
    own: Stack, name: str, reason: str
) -> None:
    file = own.folder / name
    (own.folder / "there").write_text("precious")
    (own.folder / "file").write_text("")
    settings = own.settings | {"PORTAL_ADMIN_KEY": "", "PORTAL_KEY_FILE": str(file)}
    done = portal("up", **settings)
    listed = portal("keys", "list", **settings)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"portal: cannot write the first API key to {file}: {reason}")
    assert listed.stdout.count("\n") == 1
    assert (own.folder / "there").read_text() == "precious"


def test_a_terminal_shows_the_first_key_and_closing_it_stops_everything(
    own: Stack,
) -> None:
    own.settings["PORTAL_ADMIN_KEY"] = ""
    process, terminal = _at_a_terminal(own)
    expected = b""
    while b"ListClientTypes\r\n\r\n" not in expected:
        expected += os.read(terminal, 4096)
    own.process = process
    children = own.children()
    os.close(terminal)
    ended = process.wait(30)

    assert b"Admin key  oap_" in expected
    assert not (own.folder / "admin.key").exists()
    assert ended == 0
    assert children["envoy"]
    assert children["server"]


def test_a_hangup_at_a_terminal_that_is_still_there_is_a_restart(own: Stack) -> None:
    process, terminal = _at_a_terminal(own)
    expected = b""
    while b"ListClientTypes\r\n\r\n" not in expected:
        expected += os.read(terminal, 4096)
    own.process = process
    [before] = own.children()["server"]
    process.send_signal(signal.SIGHUP)
    replaced = soon(
        lambda: len(own.children()["server"]) == 1 and before not in own.children()["server"], 30
    )
    process.terminate()
    ended = process.wait(30)
    os.close(terminal)

    assert replaced
    assert ended == 0


def _at_a_terminal(own: Stack) -> tuple["subprocess.Popen[bytes]", int]:
    """`portal up` at its own terminal, and the other end of it."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "portal_server", "up"],
        env=ENVIRONMENT | own.settings,
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )
    os.close(theirs)
    return process, ours
