"""A cursor whose inserts are deferred.

After the commit itself, the INSERT's round trip is the largest cost of a create.
So if several jobs that share a transaction create rows, each row gets its id at once,
from a block that is reserved for the transaction. All rows are inserted together at its
end, or before the next statement, which might read them.

A job that is alone in its transaction inserts its row directly: reserving an id first
would cost a second round trip.

Rows that no other statement of the transaction reads are inserted last, all at once: the
events of the audit log. The database assigns their ids then.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import Table, insert

from portal_server.domain.errors import Resource
from portal_server.domain.identity import MAX_ID
from portal_server.storage.sql import dialects
from portal_server.storage.sql.failures import no_ids
from portal_server.storage.sql.statements import InsertRows, Row, Statement

# How many rows one statement inserts. SQLite has a limit of parameters.
_AT_ONCE = 500

Adds = Sequence[Resource | None]
"""The resource that each job of a transaction creates, if it creates one."""


class InsertStatements:
    """How rows of a table are inserted."""

    def __init__(self, table: Table, dialect: sqlalchemy.Dialect) -> None:
        special = dialects.of(dialect)
        columns = [column.name for column in table.c if column.name != "id"]
        self.one = Statement(insert(table).returning(table.c.id), dialect, *columns)
        self.many = special.insert_rows(table, dialect, [column.name for column in table.c])
        self.reserve_ids = Statement(special.next_ids(table), dialect)


class Cursor:
    """A driver's cursor in a transaction.

    `tables` has the resources in the order in which their rows refer to each
    other; `adds` has what the jobs of the transaction create.
    """

    def __init__(
        self, cursor: Any, tables: Mapping[Resource, InsertStatements], adds: Adds = ()
    ) -> None:
        self._cursor = cursor
        self._tables = tables
        self._adds = adds
        self._reserved: dict[Resource, list[int]] = {}
        self._pending_inserts: dict[Resource, list[Row]] = {}
        self._last_inserts: dict[InsertRows, list[Row]] = {}
        self.written = 0
        """How many statements have written."""

    def rows(self, statement: Statement, **values: Any) -> list[Any]:
        """Run a statement; returns its rows."""
        self.flush()
        return statement.rows(self._cursor, values)

    def change(self, statement: Statement, values: Mapping[str, Any]) -> bool:
        """Run a statement that writes; returns whether it changed a row."""
        self.flush()
        statement.run(self._cursor, values)
        changed = bool(self._cursor.rowcount)
        self.written += changed
        return changed

    def execute(self, sql: str) -> None:
        """Run a statement without parameters and results."""
        self._cursor.execute(sql)

    def insert(self, resource: Resource, values: Row) -> int:
        """Insert a row, now or later; returns its id.

        Raises:
            Precondition: there are no more ids.
        """
        ids = self._reserved.get(resource)
        if ids is None:
            count = self._adds.count(resource)
            if count < 2:  # noqa: PLR2004 - alone
                self.written += 1
                (row,) = self.rows(self._tables[resource].one, **values)
                return _checked(row["id"])
            ids = self._reserved[resource] = self._reserve(resource, count)
            if not self._pending_inserts:
                self._pending_inserts = {each: [] for each in self._tables}
        elif not ids:
            ids += self._reserve(resource, 1)
        id_ = _checked(ids.pop())
        self.written += 1
        self._pending_inserts[resource].append({"id": id_, **values})
        return id_

    def insert_last(self, statement: InsertRows, values: Row) -> None:
        """Insert a row at the end of the transaction; no statement before reads it."""
        self.written += 1
        self._last_inserts.setdefault(statement, []).append(values)

    def finish(self) -> None:
        """Insert all rows that are still to be inserted."""
        self.flush()
        for statement, rows in self._last_inserts.items():
            for start in range(0, len(rows), _AT_ONCE):
                statement.run(self._cursor, rows[start : start + _AT_ONCE])
        self._last_inserts.clear()

    def flush(self) -> None:
        """Insert the pending rows."""
        for resource, rows in self._pending_inserts.items():
            if rows:
                self._tables[resource].many.run(self._cursor, rows)
                rows.clear()

    def _reserve(self, resource: Resource, count: int) -> list[int]:
        rows = self.rows(self._tables[resource].reserve_ids, count=count)
        return [row["id"] for row in reversed(rows)]


class ValidatingCursor(Cursor):
    """A cursor that reads without locks and writes nothing: for work that is only validated.

    A row that it does not insert has the id 0.
    """

    def rows(self, statement: Statement, **values: Any) -> list[Any]:
        """Run a statement that reads; returns its rows."""
        return (statement.unlocked or statement).rows(self._cursor, values)

    def change(self, _statement: Statement, _values: Mapping[str, Any]) -> bool:
        """Change nothing."""
        return True

    def insert(self, _resource: Resource, _values: Row) -> int:
        """Insert nothing."""
        return 0

    def insert_last(self, _statement: InsertRows, _values: Row) -> None:
        """Insert nothing."""


def _checked(id_: int) -> int:
    # SQLite's ids have 64 bits; PostgreSQL checks its own.
    if id_ > MAX_ID:
        raise no_ids()
    return int(id_)
