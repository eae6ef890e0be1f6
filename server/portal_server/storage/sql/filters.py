"""Lists with filters: SQL from parts that are each compiled once.

Compiling a statement takes milliseconds, and there are far too many combinations of
conditions to compile each. There are only about forty different conditions.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

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
    select,
    text,
)

from portal_server.domain.identity import MAX_ID
from portal_server.domain.lists import (
    MAX_EXAMINED,
    Comparison,
    Condition,
    Page,
    PageRange,
    read_page,
)
from portal_server.storage.sql.clauses import LIMIT, OFFSET
from portal_server.storage.sql.statements import Statement
from portal_server.storage.sql.types import Words

# A placeholder for the conditions, which occurs nowhere else in a statement.
_HERE = "CONDITIONS_OF_THE_LIST"


class Rows(Protocol):
    """Runs statements that read."""

    def rows(self, statement: Statement, **values: Any) -> list[Any]:
        """Run a statement; returns its rows."""


_Kind = tuple[str, Comparison, bool]


class FilteredList:
    """The rows of a list, to which conditions are added when it runs.

    `following` gives a query the WHERE and the ORDER BY of the list: the rows after an id. With
    conditions, only the first `MAX_EXAMINED` of them are read. `make` and `keep`: see
    `Statement.making`.
    """

    def __init__(
        self,
        table: Table,
        following: Callable[[Select[Any]], Select[Any]],
        dialect: Dialect,
        make: Callable[..., Any],
        *,
        keep: bool = False,
    ) -> None:
        self._table = table
        self._dialect = dialect
        page = following(select(table)).limit(LIMIT).offset(OFFSET)
        last = following(select(table.c.id)).limit(1).offset(MAX_EXAMINED - 1)
        within = table.c.id <= func.coalesce(last.scalar_subquery(), MAX_ID)
        some = page.where(within, text(_HERE))
        self._all = Statement(page, dialect).making(make, keep=keep)
        self._some = Statement(some, dialect).making(make, keep=keep)
        self._last = Statement(last, dialect)
        self._parts: dict[_Kind, Statement] = {}

    def page(
        self,
        cursor: Rows,
        where: Sequence[Condition],
        rows: PageRange,
        **values: Any,
    ) -> Page[Any]:
        """The page of objects created from the rows; `values` are those for `following`."""
        statement = self.meeting(where)

        def read(part: PageRange) -> list[Any]:
            return cursor.rows(statement, **values_of(where, part), **values)

        def examined(part: PageRange) -> int | None:
            # No list with conditions skips rows.
            found = cursor.rows(self._last, after=part.after, **values) if where else []
            return found[0]["id"] if found else None

        return read_page(rows, read, examined)

    def meeting(self, where: Sequence[Condition]) -> Statement:
        """The statement for conditions of this kind; its parameters are `values_of(...)`."""
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


def values_of(where: Sequence[Condition], rows: PageRange) -> dict[str, Any]:
    """The parameters of a list's statement for these conditions and rows."""
    values: dict[str, Any] = {"after": rows.after, "limit": rows.limit, "offset": rows.offset}
    for number, condition in enumerate(where):
        if condition.value is not None:
            values[f"value.{number}"] = condition.value
    return values


def _meets(column: Column[Any], comparison: Comparison, *, unset: bool) -> ColumnElement[bool]:
    value = None if unset else bindparam("value", type_=String)
    match comparison:
        case Comparison.EQUALS:
            # Not `=`: in the filter language, "unset" is a value like any other.
            return column.is_not_distinct_from(value)
        case Comparison.DIFFERS:
            return column.is_distinct_from(value)
        case Comparison.HAS if isinstance(column.type, Words):
            # A word in quotes occurs in the JSON only as an element of the list.
            json = cast(column, Text)
            word = literal('"') + bindparam("value", type_=String) + '"'
            return func.replace(json, word, "") != json
        case Comparison.HAS:
            # LIKE is case-sensitive only on PostgreSQL; this is case-sensitive on both.
            return (func.replace(column, value, "") != column) | (value == literal(""))
