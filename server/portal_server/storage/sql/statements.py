"""Statements that are built and compiled once, and run on the driver's own cursor.

SQLAlchemy writes the SQL and knows how each type is bound and read. What it
does beside that for each execution costs several times the statement itself.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Table
from sqlalchemy.types import TypeDecorator, TypeEngine

Convert = Callable[[Any], Any]
Row = dict[str, Any]

_KEPT = 1024


class Statement:
    """A statement for one dialect, with the conversions of what goes in and comes out."""

    def __init__(self, clause: Any, dialect: Dialect, *sets: str) -> None:
        """Take a Core statement; `sets` are the columns that an INSERT or UPDATE sets."""
        compiled = clause.compile(dialect=dialect, column_keys=sets or None)
        self.sql = str(compiled)
        self._mark = {"qmark": "?", "format": "%s"}[dialect.paramstyle]
        self.fixed = {name: value for name, value in compiled.params.items() if value is not None}
        self.inputs = [
            (name, _bound(compiled.binds[name].type, dialect))
            for name in compiled.positiontup or ()
        ]
        returned = getattr(clause, "exported_columns", {})
        self._outputs = [(column.name, _read(column.type, dialect)) for column in returned]

    def filled(self, place: str, between: str, parts: "Sequence[Statement]") -> "Statement":
        """This one with expressions in brackets at a place that its text has once.

        A parameter of the part with the number n is called `<its name>.<n>`.
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
        """Execute it; `values` by name of column or bind parameter."""
        given = {**self.fixed, **values}
        cursor.execute(
            self.sql,
            [convert(given[name]) if convert else given[name] for name, convert in self.inputs],
        )

    def rows(self, cursor: Any, values: Mapping[str, Any]) -> list[Row]:
        """Execute it; what it returns, by name of column."""
        self.run(cursor, values)
        return [
            {
                name: convert(value) if convert else value
                for (name, convert), value in zip(self._outputs, row, strict=True)
            }
            for row in cursor.fetchall()
        ]


class InsertRows:
    """An INSERT of many rows at once, for one dialect."""

    def __init__(self, table: Table, dialect: Dialect) -> None:
        """Take the table."""
        names = [column.name for column in table.c]
        self._into = f"INSERT INTO {table.name} ({', '.join(names)}) "
        # A parameter for all: psycopg takes long over dozens of them, and would
        # prepare a statement for each number of rows.
        self._from_json = (
            f"SELECT {', '.join(names)} FROM json_populate_recordset(NULL::{table.name}, %s)"  # noqa: S608 - our own names
        )
        self._row = f"({', '.join('?' for _ in names)})"
        self._inputs = [(c.name, _bound(c.type, dialect)) for c in table.c]
        self.run = {"sqlite": self._run_values, "postgresql": self._run_json}[dialect.name]
        """Execute it, with a cursor and rows by name of column."""

    def _run_json(self, cursor: Any, rows: Sequence[Row]) -> None:
        cursor.execute(self._into + self._from_json, [json.dumps(rows, default=str)])

    def _run_values(self, cursor: Any, rows: Sequence[Row]) -> None:
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
    # Our own types have few values, words, or the same one often, the time of a write.
    return lru_cache(_KEPT)(convert) if convert and isinstance(kind, TypeDecorator) else convert


def _read(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)
