"""Statements that are compiled once and run on the driver's own cursor.

SQLAlchemy generates the SQL and the conversions of each type. Running a statement
through SQLAlchemy costs several times as much as the statement itself.

This module uses `compiled.positiontup`, `bind_processor` and `_static_cache_key` of
SQLAlchemy, which are not documented: its version is pinned, and all of tests/storage fails
when they change.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Table
from sqlalchemy.types import TypeDecorator, TypeEngine

Convert = Callable[[Any], Any]
Row = dict[str, Any]

Found = tuple[Any, ...]
"""A row as the driver returns it."""

_KEPT = 1024
# This many client types take half a MiB, the largest ones with the messages made of them 18 MiB.
_KEPT_OBJECTS = 256


class Statement:
    """A Core statement for one dialect, with the conversions of its parameters and results.

    `sets` are the columns that an INSERT or UPDATE sets.
    """

    def __init__(self, clause: Any, dialect: Dialect, *sets: str) -> None:
        compiled = clause.compile(dialect=dialect, column_keys=sets or None)
        self.sql = str(compiled)
        self._mark = {"qmark": "?", "format": "%s"}[dialect.paramstyle]
        self.fixed = {name: value for name, value in compiled.params.items() if value is not None}
        self.inputs = [
            (name, _bound(compiled.binds[name].type, dialect))
            for name in compiled.positiontup or ()
        ]
        returned = getattr(clause, "exported_columns", {})
        self._names = [column.name for column in returned]
        self.unlocked: Statement | None = None
        """For a statement that locks rows: the same without the lock."""
        self._outputs = [
            (column.name, convert)
            for column in returned
            if (convert := _read(column.type, dialect))
        ]
        self._make: Callable[[Found], Any] = self._row

    def making(self, make: Callable[..., Any], *, keep: bool = False) -> "Statement":
        """This statement, whose rows are objects: `make` gets the values by name of column.

        With `keep`, the last objects are kept, so that rows which are read again and again are
        not converted each time. They must be immutable, and the values of a row hashable.
        """

        def made(found: Found) -> Any:
            return make(**self._row(found))

        other = copy(self)
        other._make = lru_cache(_KEPT_OBJECTS)(made) if keep else made
        return other

    def filled(self, place: str, between: str, parts: "Sequence[Statement]") -> "Statement":
        """This statement with expressions in place of its only placeholder.

        The parameter `name` of part number n gets the name `name.n`.
        """
        before, after = self.sql.split(place)
        first = before.count(self._mark)
        whole = copy(self)
        whole.sql = before + between.join(f"({part.sql})" for part in parts) + after
        whole.inputs = [
            *self.inputs[:first],
            *(
                (f"{name}.{number}", convert)
                for number, part in enumerate(parts)
                for name, convert in part.inputs
            ),
            *self.inputs[first:],
        ]
        whole.fixed = self.fixed | {
            f"{name}.{number}": value
            for number, part in enumerate(parts)
            for name, value in part.fixed.items()
        }
        return whole

    def run(self, cursor: Any, values: Mapping[str, Any]) -> None:
        """Run it; `values` by name of column or parameter."""
        given = {**self.fixed, **values}
        cursor.execute(
            self.sql,
            [convert(given[name]) if convert else given[name] for name, convert in self.inputs],
        )

    def rows(self, cursor: Any, values: Mapping[str, Any]) -> list[Any]:
        """Run it; returns its rows: by name of column, or as objects."""
        self.run(cursor, values)
        return list(map(self._make, cursor.fetchall()))

    def _row(self, found: Found) -> Row:
        row = dict(zip(self._names, found, strict=True))
        for name, convert in self._outputs:
            row[name] = convert(row[name])
        return row


class InsertRows(ABC):
    """An INSERT of many rows at once into these columns of a table, for one dialect."""

    def __init__(self, table: Table, dialect: Dialect, columns: Sequence[str]) -> None:
        self._names = columns
        self._into = f"INSERT INTO {table.name} ({', '.join(columns)}) "
        self._inputs = [(name, _bound(table.c[name].type, dialect)) for name in columns]

    @abstractmethod
    def run(self, cursor: Any, rows: Sequence[Row]) -> None:
        """Insert rows, which have their values by name of column."""


class InsertJson(InsertRows):
    """Gives all rows to PostgreSQL as one parameter.

    With a parameter for each value psycopg takes 1.2 ms of CPU for eight client types,
    with one for all 0.6 ms; and it would prepare a statement for each number of rows.
    """

    def __init__(self, table: Table, dialect: Dialect, columns: Sequence[str]) -> None:
        super().__init__(table, dialect, columns)
        rows = f"json_populate_recordset(NULL::{table.name}, %s)"
        self._sql = f"{self._into}SELECT {', '.join(columns)} FROM {rows}"  # noqa: S608 - our own names

    def run(self, cursor: Any, rows: Sequence[Row]) -> None:
        """Insert rows, which have their values by name of column."""
        cursor.execute(self._sql, [json.dumps(rows, default=str)])


class InsertValues(InsertRows):
    """Gives SQLite a parameter for each value."""

    def __init__(self, table: Table, dialect: Dialect, columns: Sequence[str]) -> None:
        super().__init__(table, dialect, columns)
        self._row = f"({', '.join('?' for _ in self._names)})"

    def run(self, cursor: Any, rows: Sequence[Row]) -> None:
        """Insert rows, which have their values by name of column."""
        cursor.execute(
            f"{self._into}VALUES {', '.join([self._row] * len(rows))}",
            [
                convert(row[name]) if convert else row[name]
                for row in rows
                for name, convert in self._inputs
            ],
        )


def _bound(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    convert = kind.dialect_impl(dialect).bind_processor(dialect)
    return _cached(kind, convert, dialect.name, "bound")


def _read(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    convert = kind.dialect_impl(dialect).result_processor(dialect, None)
    return _cached(kind, convert, dialect.name, "read")


_caches: dict[tuple[Any, ...], Convert] = {}


def _cached(kind: TypeEngine[Any], convert: Convert | None, *use: str) -> Convert | None:
    """The conversion with a cache, which all columns of the same type share.

    Our own types have few values (words) or repeat them, all of which are immutable: a create has
    one time in three columns. Without the cache, conversions take more than half of the time of a
    list.
    """
    if convert is None or not isinstance(kind, TypeDecorator):
        return convert
    key = kind._static_cache_key, *use  # noqa: SLF001
    return _caches.setdefault(key, lru_cache(_KEPT)(convert))
