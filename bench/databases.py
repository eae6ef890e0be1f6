"""The databases: a SQLite file or a PostgreSQL database for each owner."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

from bench.processes import tree
from tests.support.postgres import Postgres

OWNERS = ("portal", "tutorial", "tuned", "bare", "go")
_COUNT = "SELECT count(*) FROM client_type"


class Database(Protocol):
    """A database with separate tables for each owner."""

    name: str

    def url(self, owner: str) -> str:
        """A SQLAlchemy URL."""

    def rows(self, owner: str) -> int:
        """The number of stored client types."""

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
        with closing(sqlite3.connect(self._path(owner))) as connection:
            return int(connection.execute(_COUNT).fetchone()[0])

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
        with psycopg.connect(self._dsn(owner)) as connection:
            row = connection.execute(_COUNT).fetchone()
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
