"""Lists whose conditions callers choose: SQL from parts that are each compiled once.

There are more combinations of sixteen conditions than could be compiled: it takes
milliseconds each. There are some forty different conditions.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Dialect,
    Select,
    String,
    Table,
    Text,
    bindparam,
    cast,
    func,
    literal,
    text,
)

from portal_server.domain.lists import Comparison, Condition
from portal_server.storage.sql.statements import Statement
from portal_server.storage.tables import Words

# Where the conditions go: nothing that a statement has otherwise.
_HERE = "CONDITIONS_OF_THE_LIST"

_Kind = tuple[str, Comparison, bool]


class FilteredList:
    """A SELECT to which conditions are added when it is run."""

    def __init__(self, table: Table, query: Select[Any], dialect: Dialect) -> None:
        """Take the table, a SELECT of it that has a WHERE already, and the dialect."""
        self._table = table
        self._dialect = dialect
        self._all = Statement(query, dialect)
        self._some = Statement(query.where(text(_HERE)), dialect)
        self._parts: dict[_Kind, Statement] = {}

    def meeting(self, where: Sequence[Condition]) -> Statement:
        """The rows that meet conditions of this kind; takes `values_of(where)`."""
        if not where:
            return self._all
        return self._some.filled(_HERE, " AND ", [self._part(condition) for condition in where])

    def _part(self, condition: Condition) -> Statement:
        kind = condition.field, condition.comparison, condition.value is None
        part = self._parts.get(kind)
        if part is None:
            clause = _meets(self._table.c[condition.field], condition.comparison, unset=kind[2])
            part = self._parts[kind] = Statement(clause, self._dialect)
        return part


def values_of(where: Sequence[Condition]) -> dict[str, Any]:
    """What the statement of a list takes for its conditions."""
    return {
        f"value.{number}": condition.value
        for number, condition in enumerate(where)
        if condition.value is not None
    }


def _meets(column: Column[Any], comparison: Comparison, *, unset: bool) -> ColumnElement[bool]:
    value = None if unset else bindparam("value", type_=String)
    match comparison:
        case Comparison.EQUALS:
            # Not `=`: an unset column is a value here, as in the filter language.
            return column.is_not_distinct_from(value)
        case Comparison.DIFFERS:
            return column.is_distinct_from(value)
        case Comparison.HAS if isinstance(column.type, Words):
            # A word with its quotes is nowhere in the JSON but as an element.
            json = cast(column, Text)
            word = literal('"') + bindparam("value", type_=String) + '"'
            return func.replace(json, word, "") != json
        case Comparison.HAS:
            # LIKE ignores case in SQLite and keeps it in PostgreSQL; this keeps it in both.
            return (func.replace(column, value, "") != column) | (value == literal(""))
