"""Transactions on the driver's own connections, which the engine's pool keeps.

A server that restarts leaves dead connections in the pool. Asking each one for
a sign of life would cost every call a round trip; instead the first statement
is tried again, once, on a new connection: nothing was done before it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.pool import PoolProxiedConnection as _Connection

from portal_server.storage.failures import translated

Result = TypeVar("Result")

_READ = {
    "sqlite": "BEGIN",
    # One snapshot for all statements, as SQLite has it anyway.
    "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
}
_WRITE = {
    # A writer takes the lock at once: upgrading a read transaction later fails
    # without waiting when another writer was faster.
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "BEGIN",
}


class Transactions:
    """Begins, commits and rolls back; the failures of a driver leave as PortalErrors."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine of `storage.engine`, whose connections commit by themselves."""
        self._engine = engine
        self._error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._read = _READ[engine.dialect.name]
        self._write = _WRITE[engine.dialect.name]

    def look(self, work: Callable[[Any], Result]) -> Result:
        """Run work that only reads with a cursor; each statement sees a moment of its own.

        Without a transaction's begin and end, a single statement is a single
        round trip.
        """
        with translated():
            connection, _, result = self._start(work)
            connection.close()
            return result

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """A cursor in a transaction that sees one moment of the database."""
        with self._transaction(self._read) as cursor:
            yield cursor

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """A cursor in a transaction that writes; durable when this ends without an error."""
        with self._transaction(self._write) as cursor:
            yield cursor

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Any]:
        with translated():
            connection, cursor, _ = self._start(lambda cursor: cursor.execute(begin))
            try:
                try:
                    yield cursor
                except BaseException:
                    cursor.execute("ROLLBACK")
                    raise
                cursor.execute("COMMIT")
            except self._error as error:
                # Broken or in a state nobody knows: the pool must not give it out again.
                connection.invalidate(error)
                raise
            finally:
                connection.close()

    def _start(self, first: Callable[[Any], Result]) -> tuple[_Connection, Any, Result]:
        """A connection, a cursor of it, and what came of the first that was done with it."""
        try:
            return self._try_to_start(first)
        except _Dead:
            # Those beside it in the pool have died with it.
            self._engine.dispose()
        try:
            return self._try_to_start(first)
        except _Dead as dead:
            raise dead.error from None

    def _try_to_start(self, first: Callable[[Any], Result]) -> tuple[_Connection, Any, Result]:
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            return connection, cursor, first(cursor)
        except self._error as error:
            dead = getattr(connection.driver_connection, "closed", False)
            connection.invalidate(error)
            if dead:
                raise _Dead(error) from None
            raise
        except BaseException:
            connection.close()
            raise


class _Dead(Exception):
    """The server has closed the connection."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
