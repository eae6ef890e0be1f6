"""Transactions on the driver's own connections, which the engine's pool keeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from portal_server.storage.failures import translated

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
        self._read = _READ[engine.dialect.name]
        self._write = _WRITE[engine.dialect.name]

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
            connection = self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                cursor.execute(begin)
                try:
                    yield cursor
                except BaseException:
                    cursor.execute("ROLLBACK")
                    raise
                cursor.execute("COMMIT")
            except self._engine.dialect.loaded_dbapi.Error as error:
                # Broken or in a state nobody knows: the pool must not give it out again.
                connection.invalidate(error)
                raise
            finally:
                connection.close()
