"""Runs work on the rows: reads, and writes that share their transactions.

`Store.read` and `Store.write` run a piece of work in one transaction; the work
gets a `Transaction`, whose methods are all there is to do with rows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Engine

from portal_server.domain.errors import Resource
from portal_server.storage.group import Adds, GroupCommit
from portal_server.storage.queries import Queries
from portal_server.storage.rows import Lock, Transaction
from portal_server.storage.sql.failures import unconfirmed
from portal_server.storage.sql.transactions import Transactions
from portal_server.storage.sql.watchdog import Watchdog

__all__ = ["Lock", "Store", "Transaction"]

Result = TypeVar("Result")


class Store:
    """The portal's rows in a database."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine of `storage.engine`; its schema must be known."""
        self._engine = engine
        self._queries = Queries(engine.dialect)
        self._watchdog = Watchdog(unconfirmed)
        self._transactions = Transactions(engine, self._watchdog)
        self._group = GroupCommit(self._writing, self._transactions)
        self._watchdog.each_time(self._group.end_stall)

    def read(self, work: Callable[[Transaction], Result]) -> Result:
        """Run work that only reads, on one snapshot of one moment.

        Raises:
            PortalError: what the work raises, or a failure of the storage.
        """
        with self._transactions.reading() as cursor:
            return work(Transaction(cursor, self._queries))

    def look(self, work: Callable[[Transaction], Result]) -> Result:
        """Run work that only reads; each statement sees a moment of its own.

        A single statement is faster than by `read`. The work may run twice.

        Raises:
            PortalError: what the work raises, or a failure of the storage.
        """
        return self._transactions.look(lambda cursor: work(Transaction(cursor, self._queries)))

    def write(self, work: Callable[[Transaction], Result], adds: Resource | None = None) -> Result:
        """Run work that writes; when this returns, it is durable.

        `adds`: what the work will make one of; many of them then get their ids
        at once. The work may share its transaction with other work, and may run again
        when that fails: it must do nothing but read and write rows.

        Raises:
            PortalError: what the work raises, or a failure of the storage. Then
                nothing of it is stored, but for Unavailable and
                DeadlineExceeded, which leave that open.
        """
        return self._group.run(work, adds)

    def commit_age(self) -> float:
        """For how many seconds no write is confirmed though there are some; 0.0: all is well."""
        return self._transactions.unconfirmed

    @contextmanager
    def _writing(self, adds: Adds) -> Iterator[Transaction]:
        with self._transactions.writing() as cursor:
            yield Transaction(cursor, self._queries, adds)

    def close(self) -> None:
        """Close the connections; SQLite then folds its write-ahead log in."""
        self._watchdog.close()
        self._engine.dispose()
