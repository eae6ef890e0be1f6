"""The systems that are measured, each started as its users start it, on free ports."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.databases import Database
from bench.peers.tables import create_db_and_tables, open_engine
from bench.processes import tree
from bench.workloads import EMPTY, WORKLOADS
from postgres import free_port
from stack import ENVIRONMENT, ROOT, Stack

KEY = "the-benchmarks-key"
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0

REST = "portal, REST"
GRPC = "portal, gRPC"
TUTORIAL = "tutorial"
TUNED = "tuned"
EMPTY_RPC = "empty RPC"


@dataclass(frozen=True, kw_only=True)
class System:
    """A system that runs.

    `owner` has its tables in the database; the empty RPC has none. `processes` tells its processes
    by their part.
    """

    name: str
    protocol: str
    port: int
    owner: str
    processes: Callable[[], dict[str, list[int]]]
    workloads: tuple[str, ...] = WORKLOADS


@contextmanager
def portal(database: Database, folder: Path) -> Iterator[tuple[System, System]]:
    """Ours, by `portal up`: REST through Envoy and gRPC at the server itself."""
    settings = {"PORTAL_DATABASE_URL": database.url("portal"), "PORTAL_ADMIN_KEY": KEY}
    stack = Stack(folder, **settings)
    try:
        stack.start()
        children = stack.children()
        server, envoy = [children["server"]], [children["envoy"]]
        yield (
            System(
                name=REST,
                protocol="http",
                port=stack.http_port,
                owner="portal",
                processes=lambda: {"server": server, "envoy": envoy},
            ),
            System(
                name=GRPC,
                protocol="grpc",
                port=stack.grpc_port,
                owner="portal",
                processes=lambda: {"server": server},
            ),
        )
    finally:
        stack.stop()


@contextmanager
def tutorial(database: Database, folder: Path) -> Iterator[System]:
    """FastAPI and SQLModel, run as their tutorials do."""
    with _peer("tutorial", database, folder, 1) as (port, process):
        yield System(
            name=TUTORIAL,
            protocol="http",
            port=port,
            owner="tutorial",
            processes=lambda: {"server": tree(process.pid)},
        )


@contextmanager
def tuned(database: Database, folder: Path, workers: int) -> Iterator[System]:
    """FastAPI with every trick, in so many processes."""
    engine = open_engine(database.url("tuned"))
    create_db_and_tables(engine)
    engine.dispose()
    options = ("--no-access-log", "--loop", "uvloop", "--http", "httptools")
    with _peer("tuned", database, folder, workers, *options) as (port, process):
        yield System(
            name=TUNED,
            protocol="http",
            port=port,
            owner="tuned",
            processes=lambda: {"server": tree(process.pid)},
        )


@contextmanager
def empty_rpc(folder: Path) -> Iterator[System]:
    """The yardstick of `bench.empty_rpc`."""
    port = free_port()
    command = [sys.executable, "-m", "bench.empty_rpc", str(port)]
    with _process(command, port, folder / "empty_rpc.txt", {}) as process:
        yield System(
            name=EMPTY_RPC,
            protocol="grpc",
            port=port,
            owner="",
            processes=lambda: {"server": [process.pid]},
            workloads=(EMPTY,),
        )


@contextmanager
def _peer(
    name: str, database: Database, folder: Path, workers: int, *options: str
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"bench.peers.{name}:app", "--port", str(port)]
    if workers > 1:
        command += ["--workers", str(workers)]
    settings = {
        "PEER_DATABASE_URL": database.url(name),
        "PEER_KEY": KEY,
        "PEER_WORKERS": str(workers),
    }
    with _process([*command, *options], port, folder / f"{name}.txt", settings) as process:
        yield port, process


@contextmanager
def _process(
    command: list[str], port: int, log: Path, settings: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that listens on this port, until the end of the block."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT | settings, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
