"""The differences between SQLite and PostgreSQL, as one value for each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    LargeBinary,
    Select,
    String,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy import table as sql_table
from sqlalchemy.dialects import postgresql, sqlite

from portal_server.storage.sql.statements import InsertJson, InsertRows, InsertValues

COMMIT_TIMEOUT_S = 5.0
"""How long a transaction may take to begin, and to commit. A caller behind the edge has 10
seconds; cancelling may take 2 of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One of the two databases."""

    begin_read: str
    """Begins a transaction that reads one snapshot."""
    begin_write: str
    commit_timeout_s: float
    migration_isolation: str | None
    """The isolation level of a migration; None: that of the engine."""
    insert_rows: Callable[[Table, sqlalchemy.Dialect, Sequence[str]], InsertRows]
    """Inserts many rows with one statement, given the names of the columns."""
    insert: Callable[[Table], Any]
    """Inserts a row; its result has the methods for a row that already exists."""
    insert_or_ignore: Callable[[Table], Any]
    """Inserts a row unless it violates a unique constraint."""
    next_ids: Callable[[Table], Select[Any]]
    """Selects `count` ids that no row has had, in a transaction that writes."""
    byte_length: Callable[[ColumnElement[str]], ColumnElement[int]]
    """The length of a text in bytes."""
    rows_after: Callable[[Select[Any], Column[int], Column[int]], Select[Any]]
    """Selects the rows of `parent` after the id `after`, by the index on both columns."""
    transactions: Select[int, int]
    """Selects `oldest`, the oldest open transaction, and `next`, a later one than all others."""
    delete_append_only: Callable[[str], tuple[Sequence[str], Sequence[str]]]
    """What lets the owner of an append-only table delete rows, and what ends that."""
    lock_table: str | None
    """Prevents others from writing to a table until the transaction ends, if that is needed."""


def of(dialect: sqlalchemy.Dialect) -> Dialect:
    """The value for an engine's dialect."""
    return {"sqlite": SQLITE, "postgresql": POSTGRESQL}[dialect.name]


def _numbers() -> Any:
    number = select(literal(1).label("n")).cte("number", recursive=True)
    return number.union_all(select(number.c.n + 1).where(number.c.n < bindparam("count")))


# The last id of each table with AUTOINCREMENT.
_SEQUENCE = sql_table("sqlite_sequence", column("name", String), column("seq", BigInteger))


def _next_ids_sqlite(table: Table) -> Select[Any]:
    # There is no other writer. Inserting the rows advances the sequence.
    number = _numbers()
    last = select(func.coalesce(func.max(_SEQUENCE.c.seq), 0))
    last = last.where(_SEQUENCE.c.name == table.name)
    return select((last.scalar_subquery() + number.c.n).label("id"))


def _next_ids_postgresql(table: Table) -> Select[Any]:
    sequence = func.nextval(f"{table.name}_id_seq")
    return select(sequence.label("id")).select_from(_numbers())


def _rows_after_sqlite(query: Select[Any], parent: Column[int], id_: Column[int]) -> Select[Any]:
    this, after = bindparam("parent", type_=BigInteger), bindparam("after", type_=BigInteger)
    return query.where(parent == this, id_ > after).order_by(id_)


def _rows_after_postgresql(
    query: Select[Any], parent: Column[int], id_: Column[int]
) -> Select[Any]:
    # With `parent = ?` PostgreSQL might choose the index on the id alone, and read the
    # rows of all other parents.
    this, after = bindparam("parent", type_=BigInteger), bindparam("after", type_=BigInteger)
    following = tuple_(parent, id_) > tuple_(this, after)
    return query.where(following, parent <= this).order_by(parent, id_)


def _transactions_postgresql() -> "Select[int, int]":
    # https://www.postgresql.org/docs/current/functions-info.html, "Transaction ID and Snapshot
    # Information Functions". An xid8 has no cast to bigint.
    snapshot = func.pg_current_snapshot()

    def number(xid8: ColumnElement[Any], name: str) -> ColumnElement[int]:
        return cast(cast(xid8, Text), BigInteger).label(name)

    oldest = number(func.pg_snapshot_xmin(snapshot), "oldest")
    return select(oldest, number(func.pg_snapshot_xmax(snapshot), "next"))


def append_only_triggers(table: str) -> dict[str, str]:
    """SQLite's triggers that reject changes of an append-only table, by name."""
    return {
        f"{table}_no_{what.lower()}": f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON"
        f" {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for what in ("UPDATE", "DELETE")
    }


def _delete_append_only_sqlite(table: str) -> tuple[Sequence[str], Sequence[str]]:
    name = f"{table}_no_delete"
    return [f"DROP TRIGGER {name}"], [append_only_triggers(table)[name]]


SQLITE = Dialect(
    begin_read="BEGIN",
    # Takes the lock at once: a read transaction that later becomes a writer fails without
    # waiting if another writer was first.
    begin_write="BEGIN IMMEDIATE",
    # SQLite has a timeout for its lock. Nothing interrupts a commit to a disk.
    commit_timeout_s=math.inf,
    migration_isolation=None,
    insert_rows=InsertValues,
    insert=sqlite.insert,
    insert_or_ignore=lambda table: sqlite.insert(table).on_conflict_do_nothing(),
    next_ids=_next_ids_sqlite,
    # octet_length came with SQLite 3.43.
    byte_length=lambda text: func.length(cast(text, LargeBinary)),
    rows_after=_rows_after_sqlite,
    # There is one writer at a time.
    transactions=select(literal(0).label("oldest"), literal(0).label("next")),
    delete_append_only=_delete_append_only_sqlite,
    lock_table=None,  # there is one writer at a time
)

POSTGRESQL = Dialect(
    begin_read="BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    begin_write="BEGIN",
    commit_timeout_s=COMMIT_TIMEOUT_S,
    migration_isolation="READ COMMITTED",
    insert_rows=InsertJson,
    insert=postgresql.insert,
    insert_or_ignore=lambda table: postgresql.insert(table).on_conflict_do_nothing(),
    next_ids=_next_ids_postgresql,
    byte_length=func.octet_length,
    rows_after=_rows_after_postgresql,
    transactions=_transactions_postgresql(),
    # The trigger reads this setting.
    delete_append_only=lambda _table: (["SET LOCAL portal.prune = 'on'"], []),
    lock_table="LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE",
)
