"""The whole system as people run it: `portal up` in a separate process."""

import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from tests.support import commands
from tests.support.postgres import free_port

ROOT = commands.ROOT
ADMIN_KEY = "the-tests-own-admin-key"
# Without the caller's PYTHONDONTWRITEBYTECODE: hundreds of processes import the same modules,
# and compiling them takes a fifth of the CPU of a start.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("PORTAL_") and name != "PYTHONDONTWRITEBYTECODE"
}
ENVIRONMENT["PATH"] = f"{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"
# One for all clients. None uses TLS, but without it httpx loads the certificates of all CAs for
# each client: 75 ms of CPU, during which other threads of the test wait.
TLS = ssl.create_default_context()


def portal(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a command `portal …` to its end."""
    return commands.run("portal_cli", arguments, ENVIRONMENT | settings)


def listening(port: int) -> bool:
    """Whether a process listens on this port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def alive(process_id: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def suspend(process_id: int) -> None:
    """Stop a process, and return when all its threads have stopped."""
    os.kill(process_id, signal.SIGSTOP)
    threads = Path(f"/proc/{process_id}/task")
    while any(
        (thread / "stat").read_text().rpartition(")")[2].split()[0] != "T"
        for thread in threads.iterdir()
    ):
        time.sleep(0.01)


def soon(happens: Callable[[], object], seconds: float) -> bool:
    """Wait until something is so, at most this long; returns whether it is."""
    deadline = time.monotonic() + seconds
    while not (so := happens()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(so)


class Stack:
    """`portal up` on free ports, with its data in a folder."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.http_port, self.grpc_port = free_port(), free_port()
        self.folder = folder
        self.settings = {
            "PORTAL_HTTP_PORT": str(self.http_port),
            "PORTAL_GRPC_PORT": str(self.grpc_port),
            "PORTAL_DATABASE_URL": f"sqlite:///{folder}/portal.db",
            "PORTAL_ADMIN_KEY": ADMIN_KEY,
            "PORTAL_KEY_FILE": str(folder / "admin.key"),
            "PORTAL_ENCRYPTION_KEYS_FILE": str(folder / "encryption.key"),
            "PORTAL_DEVELOPMENT": "true",
            "PORTAL_METRICS_PORT": "0",
        } | settings
        self.out = folder / "out.txt"
        self.err = folder / "err.txt"
        self.command: tuple[str, ...] = (sys.executable, "-m", "portal_server")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def rest(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/portal-api"

    def start(self, *before: str, folder: Path = ROOT) -> "Stack":
        """Start it in a folder and wait until it is up; `before` is a command that runs it."""
        self.launch(*before, folder=folder)
        assert self.process
        deadline = time.monotonic() + 60
        while "is up" not in self.out.read_text():
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < deadline, self.err.read_text()
            time.sleep(0.05)
        return self

    def launch(self, *before: str, folder: Path = ROOT) -> "subprocess.Popen[bytes]":
        """Start it, and do not wait."""
        self.out.write_text("")
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                [*before, *self.command, "up"],
                env=ENVIRONMENT | self.settings,
                cwd=folder,
                stdout=out,
                stderr=err,
            )
        return self.process

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it as a user would; returns the exit status."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def children(self) -> dict[str, list[int]]:
        """The numbers of the supervisor's processes: of `envoy`, and of every `server`."""
        assert self.process
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found: dict[str, list[int]] = {"envoy": [], "server": []}
        for number in map(int, path.read_text().split()):
            program = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")[0]
            found["envoy" if b"envoy" in program else "server"].append(number)
        return found

    @property
    def run_folder(self) -> Path:
        """The private folder of this start."""
        [envoy] = self.children()["envoy"]
        words = Path(f"/proc/{envoy}/cmdline").read_text().split("\0")
        return Path(next(word for word in words if word.endswith("/envoy.json"))).parent

    @contextmanager
    def locked_database(self) -> Iterator[None]:
        """Another process holds the write lock of SQLite."""
        with closing(sqlite3.connect(self.folder / "portal.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("COMMIT")

    def client(self, key: str | None = ADMIN_KEY) -> httpx.Client:
        """An HTTP client of the REST API, with this key."""
        headers = {} if key is None else {"Authorization": key}
        return httpx.Client(base_url=self.rest, headers=headers, timeout=20, verify=TLS)
