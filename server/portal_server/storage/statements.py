"""Statements that are built and compiled once, and run on the driver's own cursor.

SQLAlchemy writes the SQL and knows how each type is bound and read. What it
does beside that for each execution costs several times the statement itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.types import TypeEngine

Convert = Callable[[Any], Any]
Row = dict[str, Any]


class Statement:
    """A statement for one dialect, with the conversions of what goes in and comes out."""

    def __init__(self, clause: Any, dialect: Dialect, *sets: str) -> None:
        """Take a Core statement; `sets` are the columns that an INSERT or UPDATE sets."""
        compiled = clause.compile(dialect=dialect, column_keys=sets or None)
        self._sql = str(compiled)
        self._names = compiled.positiontup
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}
        self._bind = _converters(
            {name: bound.type for name, bound in compiled.binds.items()},
            lambda kind: kind.bind_processor(dialect),
            dialect,
        )
        returned = getattr(clause, "exported_columns", {})
        self._columns = [column.name for column in returned]
        self._read = _converters(
            {column.name: column.type for column in returned},
            lambda kind: kind.result_processor(dialect, None),
            dialect,
        )

    def run(self, cursor: Any, values: Mapping[str, Any]) -> None:
        """Execute it; `values` by name of column or bind parameter."""
        given = {**self._fixed, **values}
        for name, convert in self._bind.items():
            given[name] = convert(given[name])
        cursor.execute(self._sql, [given[n] for n in self._names] if self._names else given)

    def rows(self, cursor: Any, values: Mapping[str, Any]) -> list[Row]:
        """Execute it; what it returns, by name of column."""
        self.run(cursor, values)
        rows = [dict(zip(self._columns, row, strict=True)) for row in cursor.fetchall()]
        for name, convert in self._read.items():
            for row in rows:
                row[name] = convert(row[name])
        return rows


def _converters(
    types: Mapping[str, TypeEngine[Any]],
    of: Callable[[TypeEngine[Any]], Convert | None],
    dialect: Dialect,
) -> dict[str, Convert]:
    found = ((name, of(kind.dialect_impl(dialect))) for name, kind in types.items())
    return {name: convert for name, convert in found if convert}
