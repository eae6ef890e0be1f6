"""The databases: a SQLite file or a PostgreSQL database for each owner."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import LiteralString, Protocol

import psycopg

from bench.processes import open_files, tree
from tests.support.postgres import Postgres

DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
OWNERS = ("portal", "tutorial", "tuned", "bare", "go")
_COUNT = "SELECT count(*) FROM client_type"
_COUNT_RESPONSES = "SELECT count(*) FROM answer"
_COUNT_CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_WAL_BYTES = "SELECT sum(size) FROM pg_ls_waldir()"


class Database(Protocol):
    """A database with separate tables for each owner."""

    name: str

    def url(self, owner: str) -> str:
        """A SQLAlchemy URL."""

    def rows(self, owner: str) -> int:
        """The number of stored client types."""

    def responses(self, owner: str) -> int:
        """The number of responses that the portal keeps for retries."""

    def connections(self, owner: str, servers: Iterable[int]) -> int:
        """The number of connections of these server processes."""

    def wal_bytes(self, owner: str) -> int:
        """The size of the write-ahead log; PostgreSQL has one for all owners."""

    def processes(self) -> list[int]:
        """Its process IDs, if it has processes."""


class _Sqlite:
    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}.db"

    def url(self, owner: str) -> str:
        return f"sqlite:///{self._path(owner)}"

    def rows(self, owner: str) -> int:
        return self._number(owner, _COUNT)

    def responses(self, owner: str) -> int:
        return self._number(owner, _COUNT_RESPONSES)

    def connections(self, owner: str, servers: Iterable[int]) -> int:
        # A connection keeps the file open; nothing else does.
        path = str(self._path(owner))
        return sum(open_files(server).count(path) for server in servers)

    def wal_bytes(self, owner: str) -> int:
        log = self._path(owner).with_suffix(".db-wal")
        return log.stat().st_size if log.exists() else 0

    def _number(self, owner: str, query: str) -> int:
        with closing(sqlite3.connect(self._path(owner))) as connection:
            return int(connection.execute(query).fetchone()[0])

    def processes(self) -> list[int]:
        return []


class _PostgreSql:
    name = "postgresql"

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            for owner in OWNERS:
                connection.execute(psycopg.sql.SQL(f"CREATE DATABASE {owner}"))

    def _dsn(self, owner: str) -> str:
        return self.url(owner).replace("+psycopg", "")

    def url(self, owner: str) -> str:
        return self._postgres.url(owner)

    def rows(self, owner: str) -> int:
        return self._number(owner, _COUNT)

    def responses(self, owner: str) -> int:
        return self._number(owner, _COUNT_RESPONSES)

    def connections(self, owner: str, servers: Iterable[int]) -> int:
        del servers  # nobody else has connections to this database
        return self._number(owner, _COUNT_CONNECTIONS)

    def wal_bytes(self, owner: str) -> int:
        return self._number(owner, _WAL_BYTES)

    def _number(self, owner: str, query: LiteralString) -> int:
        with psycopg.connect(self._dsn(owner)) as connection:
            row = connection.execute(query).fetchone()
            return int(row[0]) if row else 0

    def processes(self) -> list[int]:
        return tree(self._postgres.pid)


@contextmanager
def _sqlite(folder: Path) -> Iterator[Database]:
    yield _Sqlite(folder)


@contextmanager
def _postgresql(folder: Path) -> Iterator[Database]:
    home = folder / "postgres"
    home.mkdir()
    postgres = Postgres(home)
    postgres.start(fsync=True)
    try:
        yield _PostgreSql(postgres)
    finally:
        postgres.stop()


def running(name: str, folder: Path) -> AbstractContextManager[Database]:
    """The database of this name, with its data in this folder."""
    return {"sqlite": _sqlite, "postgresql": _postgresql}[name](folder)
