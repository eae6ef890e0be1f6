"""Runs work on the rows: reads, and writes that share their transactions.

Work is a function that gets a `Transaction`, whose attributes are the only way to use
rows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Engine

from portal_server.domain.calls import Call
from portal_server.domain.errors import Resource
from portal_server.storage.encryption import Vault
from portal_server.storage.group_commit import GroupCommit
from portal_server.storage.inserts import Adds, Cursor
from portal_server.storage.sql.clauses import Lock
from portal_server.storage.sql.failures import unconfirmed
from portal_server.storage.sql.schema import read_revision
from portal_server.storage.sql.standby import Standby
from portal_server.storage.sql.transactions import Transactions
from portal_server.storage.sql.watchdog import Watchdog
from portal_server.storage.statistics import Statistics, StatisticsStatements
from portal_server.storage.statistics import read as read_statistics
from portal_server.storage.transaction import Transaction, statements_for
from portal_server.tracing import span

__all__ = ["Lock", "Recent", "Store", "Transaction"]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Recent:
    """A standby of the database, and how old its rows may be for a read."""

    engine: Engine
    max_age_s: float


class Store:
    """The portal's rows in a database, with an engine from `open_engine`.

    Without a vault, no secret can be stored. Without `recent`, all reads see the latest rows.
    """

    def __init__(
        self, engine: Engine, vault: Vault | None = None, recent: Recent | None = None
    ) -> None:
        self.vault = vault or Vault()
        """Opens the secrets of the rows."""
        self._engine = engine
        self._statements = statements_for(engine.dialect, self.vault)
        self._watchdog = Watchdog(unconfirmed)
        self._transactions = Transactions(engine, self._watchdog)
        self._statistics = StatisticsStatements(engine.dialect)
        self._group = GroupCommit(self._writing, self._transactions)
        self._watchdog.each_time(self._group.end_stall)
        self._standby = (
            Standby(recent.engine, self._transactions, self._watchdog, recent.max_age_s)
            if recent
            else None
        )

    def read_snapshot(self, call: Call, work: Callable[[Transaction], Result]) -> Result:
        """Run work that only reads; all its statements see one snapshot.

        Raises:
            PortalError: what the work raises, or a failure of the storage.
        """
        work = _for_caller(call, work)
        with self._transactions.reading(call) as cursor:
            return work(Transaction(cursor, self._statements))

    def read_latest(self, call: Call, work: Callable[[Transaction], Result]) -> Result:
        """Run work that only reads; each statement sees the latest rows.

        For a single statement this is faster than `read_snapshot`. The work may run twice.

        Raises:
            PortalError: what the work raises, or a failure of the storage.
        """
        allowed = _for_caller(call, work)
        return self._transactions.read_latest(
            call, lambda cursor: allowed(Transaction(cursor, self._statements))
        )

    def read_recent(self, call: Call, work: Callable[[Transaction], Result]) -> Result:
        """Run work that only reads; each statement sees rows of a short time ago, or the latest.

        Only for what is returned to callers: nothing that is written may depend on it.

        Raises:
            PortalError: what the work raises, or a failure of the storage.
        """
        if self._standby:
            limited = _for_caller(call, work)
            found = self._standby.read(
                call, lambda cursor: (limited(Transaction(cursor, self._statements)),)
            )
            if found:
                return found[0]
        return self.read_latest(call, work)

    def write(
        self, call: Call, work: Callable[[Transaction], Result], adds: Resource | None = None
    ) -> Result:
        """Run work that writes; when this returns, it is durable.

        `adds` is the resource that the work creates: see `storage.inserts`. The work may
        share its transaction with other work, and may run again when that fails: it must
        only read and write rows.

        Raises:
            PortalError: what the work raises, or a failure of the storage. Nothing is stored
                then, but after Unavailable and DeadlineExceeded this is unknown.
        """
        with span("transaction"):
            return self._group.run(call, _for_caller(call, work), adds)

    def validate(self, call: Call, work: Callable[[Transaction], Result]) -> Result:
        """Run work that writes, in a transaction that only reads: writes have no effect.

        A resource that the work creates has the id 0. No row is locked.

        Raises:
            PortalError: what the work raises, or a failure of the storage.
        """
        work = _for_caller(call, work)
        with self._transactions.reading(call) as cursor:
            return work(Transaction(cursor, self._statements, validate_only=True))

    def schema_revision(self, call: Call) -> str:
        """The revision of the database's schema. Raises: PortalError."""
        return self._transactions.read_latest(call, read_revision)

    def statistics(self, call: Call, now: datetime) -> Statistics:
        """Numbers of all rows; reads whole tables. Raises: PortalError."""
        with self._transactions.reading(call) as cursor:
            return read_statistics(Cursor(cursor, {}), self._statistics, now)

    def connections(self) -> tuple[int, int, int]:
        """How many connections are in use, are idle, and may be open."""
        pool: Any = self._engine.pool
        return pool.checkedout(), pool.checkedin(), pool.size()

    def commit_age(self) -> float:
        """How many seconds writes have waited without a confirmed one; 0.0: none waits."""
        return self._transactions.unconfirmed

    def close(self) -> None:
        """Close the connections; SQLite then merges its write-ahead log."""
        if self._standby:
            self._standby.close()
        self._watchdog.close()
        self._engine.dispose()

    @contextmanager
    def _writing(self, adds: Adds) -> Iterator[Transaction]:
        with self._transactions.writing() as cursor:
            yield Transaction(cursor, self._statements, adds)


def _for_caller(
    call: Call, work: Callable[[Transaction], Result]
) -> Callable[[Transaction], Result]:
    """The work, which finds only the providers that the caller may use."""
    provider_ids = call.caller.provider_ids
    if not provider_ids:
        return work

    def limited(tx: Transaction) -> Result:
        # The transaction may be shared with work of other callers.
        with tx.within(provider_ids):
            return work(tx)

    return limited
