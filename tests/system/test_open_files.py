"""`portal up` where less is allowed: files, system calls, folders."""

import json
import resource
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import WITHOUT_RESOURCES
from tests.support.stack import ENVIRONMENT, ROOT, Stack, portal

NEEDS_SECCOMP = pytest.mark.needs("x86-64")  # the numbers of its system calls


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, not started."""
    stack = Stack(tmp_path)
    yield stack
    if stack.process:
        stack.stop()


def max_connections(own: Stack) -> int:
    config = json.loads((own.run_folder / "envoy.json").read_text())
    monitors = config["overload_manager"]["resource_monitors"]
    [found] = [
        monitor["typed_config"]["max_active_downstream_connections"]
        for monitor in monitors
        if "downstream" in monitor["name"]
    ]
    return int(found)


def open_files(process_id: int) -> int:
    limits = Path(f"/proc/{process_id}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    return int(line.split()[3])


@NEEDS_SECCOMP
def test_a_start_that_may_not_set_limits_or_cores_still_serves(own: Stack) -> None:
    own.start("sh", "-c", 'ulimit -n 1024; exec "$@"', "sh", *WITHOUT_RESOURCES)
    with own.client() as rest:
        status = rest.get("/oauth-providers").status_code
    expected = own.err.read_text()

    assert status == 200
    assert max_connections(own) == 1024 - 256 - 100
    assert [open_files(n) for n in own.children()["envoy"]] == [1024]
    assert "at most 668 connections, not 16384: the limit of open files is 1024" in expected
    assert own.stop() == 0
    assert "Traceback" not in own.err.read_text()


@NEEDS_SECCOMP
def test_too_few_files_for_any_connection_are_one_clear_line(own: Stack) -> None:
    command = ["sh", "-c", 'ulimit -n 300; exec "$@"', "sh", *WITHOUT_RESOURCES]
    ended = own.launch(*command).wait(30)

    assert ended == 1
    assert own.err.read_text() == (
        "portal: the limit of open files is 300 and must be more than 356: raise it\n"
    )


def test_a_start_raises_the_limit_of_files_as_far_as_it_may(own: Stack) -> None:
    own.start("sh", "-c", 'ulimit -S -n 1024; exec "$@"', "sh")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = min(hard, 65_536)
    [envoy] = own.children()["envoy"]

    assert open_files(envoy) >= allowed
    assert max_connections(own) == min(16_384, open_files(envoy) - 356)


def test_a_folder_whose_path_is_too_long_for_a_socket_is_one_clear_line(own: Stack) -> None:
    folder = own.folder / ("x" * 90)
    folder.mkdir()
    done = portal("up", **own.settings, TMPDIR=str(folder))

    assert done.returncode == 1
    assert done.stderr.startswith(f"portal: the path {folder}/portal-")
    assert done.stderr.endswith(" is too long for Unix sockets: set TMPDIR to a shorter path\n")
    assert list(folder.iterdir()) == []


@pytest.mark.needs("root")  # to mount
def test_a_read_only_root_is_enough_with_a_writable_temporary_folder_and_data(own: Stack) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        own.settings["TMPDIR"] = folder
        own.settings["PORTAL_DATABASE_URL"] = f"sqlite:///{folder}/portal.db"
        own.settings["PORTAL_ENCRYPTION_KEYS_FILE"] = f"{folder}/encryption.key"
        own.start(*_read_only(folder))
        with own.client() as rest:
            status = rest.get("/oauth-providers").status_code
        data = stat.S_IMODE(Path(folder, "portal.db").stat().st_mode)

        assert status == 200
        assert data == 0o600
        assert own.stop() == 0


@pytest.mark.needs("root")  # to mount
def test_no_writable_temporary_folder_is_one_clear_line(own: Stack) -> None:
    done = subprocess.run(
        [*_read_only(), f"{ROOT}/.venv/bin/portal", "up"],
        env=ENVIRONMENT | own.settings,
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (
        done.stderr == "portal: no temporary folder is writable: set TMPDIR to a writable folder\n"
    )
    assert done.returncode == 1


def _read_only(writable: str = "") -> tuple[str, ...]:
    """A command that runs another where every file system but this folder's is read-only."""
    script = """
        for place in $(awk '{print $5}' /proc/self/mountinfo); do
          case $1 in "$place"/*) test "$place" = / || continue;; esac
          mount -o remount,bind,ro "$place" 2>/dev/null || true
        done
        shift
        exec "$@"
    """
    return ("unshare", "--mount", "sh", "-c", script, "sh", writable)
