"""The measured systems, each started as its users start it, on free ports."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.databases import Database
from bench.peers.tables import create_api_key, create_db_and_tables, open_engine
from bench.processes import tree
from bench.workloads import EMPTY, WORKLOADS
from tests.support.postgres import free_port
from tests.support.stack import ENVIRONMENT, ROOT, Stack

# The API key of the Python peers, which is not in their databases.
PEER_KEY = "the-key-of-the-peers"
_START_SECONDS = 30.0
_STOP_SECONDS = 3.0

REST = "portal, REST"
GRPC = "portal, gRPC"
GRPC_DIRECT = "portal, gRPC direct"
TUTORIAL = "tutorial"
TUNED = "tuned"
BARE = "bare"
GO_REST = "go, REST"
GO_GRPC = "go, gRPC"
EMPTY_RPC = "empty RPC"
PLAIN_EMPTY_RPC = "empty RPC, plain"
EMPTY_RPCS = (EMPTY_RPC, PLAIN_EMPTY_RPC)


@dataclass(frozen=True, kw_only=True)
class System:
    """A system that runs.

    `owner` is the owner of its tables in the database; the empty RPC has none. `processes` returns
    the process IDs by part of the system. `key` is its API key.
    """

    name: str
    protocol: str
    port: int
    owner: str
    processes: Callable[[], dict[str, list[int]]]
    restart: Callable[[], object]
    workloads: tuple[str, ...] = WORKLOADS
    key: str = PEER_KEY


@contextmanager
def portal(database: Database, folder: Path, **settings: str) -> Iterator[tuple[System, ...]]:
    """The portal, started with `portal up`: through Envoy, and gRPC on the direct port.

    Its API key is one that it stores. An API key of the settings would need no look-up. The other
    settings are its defaults, except those given.
    """
    direct_port = free_port()
    settings |= {
        "PORTAL_DATABASE_URL": database.url("portal"),
        "PORTAL_DIRECT_GRPC_PORT": str(direct_port),
    }
    stack = Stack(folder, **settings)
    del stack.settings["PORTAL_ADMIN_KEY"]

    def restart() -> None:
        stack.stop()
        stack.start()

    def system(
        name: str,
        protocol: str,
        port: int,
        processes: Callable[[], dict[str, list[int]]] = stack.children,
    ) -> System:
        return System(
            name=name,
            protocol=protocol,
            port=port,
            owner="portal",
            processes=processes,
            restart=restart,
            key=key,
        )

    try:
        stack.start()
        key = command("keys", "create", **stack.settings)
        yield (
            system(REST, "http", stack.http_port),
            system(GRPC, "grpc", stack.grpc_port),
            system(
                GRPC_DIRECT, "grpc", direct_port, lambda: {"server": stack.children()["server"]}
            ),
        )
    finally:
        stack.stop()


def command(*arguments: str, **settings: str) -> str:
    """Run a command `portal …`; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "portal_cli", *arguments],
        cwd=ROOT,
        env=ENVIRONMENT | settings,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@contextmanager
def tutorial(database: Database, folder: Path) -> Iterator[System]:
    """FastAPI and SQLModel, run as their tutorials do."""
    with _peer("tutorial", database, folder, 1) as process:
        yield _rest_system(TUTORIAL, "tutorial", process)


@contextmanager
def tuned(database: Database, folder: Path, workers: int, name: str = TUNED) -> Iterator[System]:
    """The tuned or the bare peer, with this number of processes."""
    engine = open_engine(database.url(name))
    create_db_and_tables(engine)
    engine.dispose()
    options = ("--no-access-log", "--loop", "uvloop", "--http", "httptools")
    with _peer(name, database, folder, workers, *options) as process:
        yield _rest_system(name, name, process)


@contextmanager
def go(database: Database, folder: Path, program: Path) -> Iterator[tuple[System, ...]]:
    """The peer in Go, which `go_peer.build` has built: REST through grpc-gateway, and gRPC."""
    engine = open_engine(database.url("go"))
    create_db_and_tables(engine)
    key = create_api_key(engine)
    engine.dispose()
    http_port, grpc_port = free_port(), free_port()
    settings = {
        "PEER_DATABASE_URL": database.url("go"),
        "PEER_HTTP_PORT": str(http_port),
        "PEER_GRPC_PORT": str(grpc_port),
    }
    with _Process([str(program)], http_port, folder / "go.txt", settings) as process:

        def system(name: str, protocol: str, port: int) -> System:
            return System(
                name=name,
                protocol=protocol,
                port=port,
                owner="go",
                processes=lambda: {"server": process.tree()},
                restart=process.restart,
                key=key,
            )

        yield system(GO_REST, "http", http_port), system(GO_GRPC, "grpc", grpc_port)


@contextmanager
def empty_rpc(folder: Path, name: str = EMPTY_RPC) -> Iterator[System]:
    """A reference of `bench.empty_rpc`."""
    port = free_port()
    command = [sys.executable, "-m", "bench.empty_rpc", str(port)]
    if name == PLAIN_EMPTY_RPC:
        command.append("--plain")
    with _Process(command, port, folder / "empty_rpc.txt", {}) as process:
        yield System(
            name=name,
            protocol="grpc",
            port=port,
            owner="",
            processes=lambda: {"server": process.tree()},
            restart=process.restart,
            workloads=(EMPTY,),
        )


def _rest_system(name: str, owner: str, process: "_Process") -> System:
    return System(
        name=name,
        protocol="http",
        port=process.port,
        owner=owner,
        processes=lambda: {"server": process.tree()},
        restart=process.restart,
    )


def _peer(name: str, database: Database, folder: Path, workers: int, *options: str) -> "_Process":
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"bench.peers.{name}:app", "--port", str(port)]
    if workers > 1:
        command += ["--workers", str(workers)]
    settings = {
        "PEER_DATABASE_URL": database.url(name),
        "PEER_KEY": PEER_KEY,
        "PEER_WORKERS": str(workers),
    }
    return _Process([*command, *options], port, folder / f"{name}.txt", settings)


class _Process:
    """A process that listens on a port, for the length of a block."""

    def __init__(self, command: list[str], port: int, log: Path, settings: dict[str, str]) -> None:
        self.port = port
        self._command = command
        self._log = log
        self._settings = settings
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop(_STOP_SECONDS)

    def restart(self) -> None:
        """Kill and start again; this is used when it hangs."""
        self._stop(0)
        self._start()

    def tree(self) -> list[int]:
        """The process and its children."""
        return tree(self._process.pid)

    def _start(self) -> None:
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=ENVIRONMENT | self._settings, stdout=out, stderr=out
            )
        deadline = time.monotonic() + _START_SECONDS
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop(0)
                raise RuntimeError(f"{self._command} did not start:\n{self._log.read_text()}")
            time.sleep(0.05)

    def _stop(self, seconds: float) -> None:
        # A supervisor stops its workers; all that remain after the timeout are killed.
        pids = self.tree()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
