"""The tuned peer's storage: SQLAlchemy Core, one statement a call."""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Executable, Integer, Row, bindparam, event, insert, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import col

from bench.peers.tables import ClientType, Provider, new_uid, now, open_engine

# Divided among the workers.
_CONNECTIONS = 16

Rows = Sequence[Row[Any]]

_TABLE: Any = ClientType.__table__  # type: ignore[attr-defined]
_this_provider = col(Provider.id) == bindparam("which", type_=Integer)
_its = _TABLE.c.provider_id == bindparam("which", type_=Integer)
# Inserts nothing if the provider does not exist; the caller then returns 404.
_NEW = {c.name: bindparam(f"new_{c.name}", type_=c.type) for c in _TABLE.c if c.name != "id"}
_INSERT = (
    insert(_TABLE)
    .from_select(
        list(_NEW),
        select(*(_NEW | {"provider_id": col(Provider.id)}).values()).where(_this_provider),
    )
    .returning(*_TABLE.c)
)
_GET = select(*_TABLE.c).where(_its, _TABLE.c.id == bindparam("this", type_=Integer))
_LIST = (
    select(*_TABLE.c)
    .where(_its)
    .order_by(_TABLE.c.id)
    .limit(bindparam("this_many", type_=Integer))
    .offset(bindparam("past", type_=Integer))
)
_PROVIDER = select(col(Provider.id)).where(_this_provider)


class Storage(ABC):
    """The statements of the API; each commits by itself and is durable when it returns."""

    async def insert(self, provider_id: int, **values: Any) -> Row[Any] | None:
        """Insert; the row, or None if the provider does not exist."""
        time = now()
        row = {**values, "uid": new_uid(), "create_time": time, "update_time": time}
        given = {f"new_{name}": value for name, value in row.items()}
        return _first(await self._write(_INSERT, {"which": provider_id, **given}))

    async def get(self, provider_id: int, client_type_id: int) -> Row[Any] | None:
        """One row."""
        return _first(await self._read(_GET, {"which": provider_id, "this": client_type_id}))

    async def list(self, provider_id: int, limit: int, offset: int) -> Rows:
        """A page of rows."""
        given = {"which": provider_id, "this_many": limit, "past": offset}
        return await self._read(_LIST, given)

    async def has_provider(self, provider_id: int) -> bool:
        """Whether the provider exists."""
        return bool(await self._read(_PROVIDER, {"which": provider_id}))

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    async def _read(self, statement: Executable, values: dict[str, Any]) -> Rows: ...

    @abstractmethod
    async def _write(self, statement: Executable, values: dict[str, Any]) -> Rows: ...


class _Sqlite(Storage):
    """One writer thread with a connection; reads, of some microseconds, without a thread."""

    def __init__(self, url: str) -> None:
        engine = open_engine(url)
        event.listen(engine, "connect", _use_wal)
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._reader, self._writer = engine.connect(), engine.connect()
        self._thread = ThreadPoolExecutor(1, "writer")

    async def close(self) -> None:
        self._thread.shutdown()
        self._reader.close()
        self._writer.close()

    async def _read(self, statement: Executable, values: dict[str, Any]) -> Rows:
        return self._reader.execute(statement, values).all()

    async def _write(self, statement: Executable, values: dict[str, Any]) -> Rows:
        run = lambda: self._writer.execute(statement, values).all()  # noqa: E731 - for the thread
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


class _Postgres(Storage):
    """A bounded pool of asyncpg, which prepares each statement once a connection."""

    def __init__(self, url: str) -> None:
        size = _CONNECTIONS // int(os.environ["PEER_WORKERS"])
        self._engine = create_async_engine(
            url.replace("postgresql+psycopg", "postgresql+asyncpg"),
            pool_size=size,
            max_overflow=0,
            pool_reset_on_return=None,
            isolation_level="AUTOCOMMIT",
        )

    async def close(self) -> None:
        await self._engine.dispose()

    async def _read(self, statement: Executable, values: dict[str, Any]) -> Rows:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement, values)).all()

    async def _write(self, statement: Executable, values: dict[str, Any]) -> Rows:
        return await self._read(statement, values)


def _use_wal(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _first(rows: Rows) -> Row[Any] | None:
    return rows[0] if rows else None


def open_storage(url: str) -> Storage:
    """The storage of a SQLAlchemy URL."""
    return _Sqlite(url) if url.startswith("sqlite") else _Postgres(url)
