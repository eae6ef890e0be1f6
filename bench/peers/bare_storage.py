"""The bare peer's storage: one statement a call, prepared once, on connections that stay open."""

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol

import asyncpg

# Divided among the workers.
_CONNECTIONS = 16
_LOCK_TIMEOUT_S = 5

# Inserts nothing if the provider does not exist; the caller then returns 404.
_INSERT = """
INSERT INTO client_type (uid, provider_id, name, description, response_types, grant_types,
  token_endpoint_auth_method, okta_app_type, create_time, update_time)
SELECT $1, id, $3, $4, $5, $6, $7, $8, $9, $9 FROM provider WHERE id = $2
RETURNING id
"""
_COLUMNS = """
SELECT name, description, response_types, grant_types, token_endpoint_auth_method, okta_app_type,
  id, create_time, update_time FROM client_type
"""
_GET = _COLUMNS + "WHERE id = $2 AND provider_id = $1"
_LIST = _COLUMNS + "WHERE provider_id = $1 ORDER BY id LIMIT $2 OFFSET $3"
_PROVIDER = "SELECT 1 FROM provider WHERE id = $1"
# SQLite numbers parameters with ?1, ?2 …
_SQLITE_INSERT, _SQLITE_GET, _SQLITE_LIST, _SQLITE_PROVIDER = (
    statement.replace("$", "?") for statement in (_INSERT, _GET, _LIST, _PROVIDER)
)

Row = Sequence[Any]


class Storage(Protocol):
    """The interface of both databases. Rows have the columns of `_COLUMNS`."""

    async def insert(self, *values: Any) -> int | None:
        """Insert; the id, or None if the provider does not exist. Durable when it returns."""

    async def get(self, provider_id: int, client_type_id: int) -> Row | None:
        """One row."""

    async def list(self, provider_id: int, limit: int, offset: int) -> Sequence[Row]:
        """A page of rows."""

    async def has_provider(self, provider_id: int) -> bool:
        """Whether the provider exists."""

    async def close(self) -> None:
        """Close the connections."""


class SqliteStorage:
    """One writer thread with a connection; reads, of some microseconds, without a thread."""

    def __init__(self, path: str) -> None:
        self._reader = _connect(path)
        self._writer = _connect(path)
        self._thread = ThreadPoolExecutor(1, "writer")

    async def insert(self, *values: Any) -> int | None:
        """Insert on the writer thread; the connection commits by itself."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._insert, *values)

    def _insert(self, *values: Any) -> int | None:
        *others, time = values
        row = self._writer.execute(
            _SQLITE_INSERT, (*others, f"{time:%Y-%m-%d %H:%M:%S.%f}")
        ).fetchone()
        return None if row is None else int(row[0])

    async def get(self, provider_id: int, client_type_id: int) -> Row | None:
        """One row."""
        rows = self._reader.execute(_SQLITE_GET, (provider_id, client_type_id))
        return next(map(_with_times, rows), None)

    async def list(self, provider_id: int, limit: int, offset: int) -> Sequence[Row]:
        """A page of rows."""
        return [
            _with_times(row)
            for row in self._reader.execute(_SQLITE_LIST, (provider_id, limit, offset))
        ]

    async def has_provider(self, provider_id: int) -> bool:
        """Whether the provider exists."""
        return self._reader.execute(_SQLITE_PROVIDER, (provider_id,)).fetchone() is not None

    async def close(self) -> None:
        """Close the connections."""
        self._thread.shutdown()
        self._reader.close()
        self._writer.close()


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _with_times(row: Row) -> Row:
    # The columns contain UTC, without a time zone.
    return (*row[:-2], *(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in row[-2:]))


class PostgresStorage:
    """A bounded pool; asyncpg prepares each statement once a connection."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def insert(self, *values: Any) -> int | None:
        """Insert in one round trip, which commits by itself."""
        number: int | None = await self._pool.fetchval(_INSERT, *values)
        return number

    async def get(self, provider_id: int, client_type_id: int) -> Row | None:
        """One row."""
        row: Row | None = await self._pool.fetchrow(_GET, provider_id, client_type_id)
        return row

    async def list(self, provider_id: int, limit: int, offset: int) -> Sequence[Row]:
        """A page of rows."""
        rows: Sequence[Row] = await self._pool.fetch(_LIST, provider_id, limit, offset)
        return rows

    async def has_provider(self, provider_id: int) -> bool:
        """Whether the provider exists."""
        return await self._pool.fetchval(_PROVIDER, provider_id) is not None

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()


async def open_storage(url: str) -> Storage:
    """The storage of a SQLAlchemy URL."""
    if url.startswith("sqlite:///"):
        return SqliteStorage(url.removeprefix("sqlite:///"))
    size = _CONNECTIONS // int(os.environ["PEER_WORKERS"])
    pool = await asyncpg.create_pool(
        url.replace("postgresql+psycopg", "postgresql"), min_size=size, max_size=size
    )
    return PostgresStorage(pool)
