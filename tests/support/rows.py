"""Rows of every table, for tests of what all tables have in common."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Boolean, Column, DateTime, Engine, Integer, LargeBinary, Table, select
from sqlmodel import SQLModel

from portal_server.domain.identity import new_uid
from portal_server.storage import transaction  # noqa: F401 - fills the metadata
from portal_server.storage.encryption import SecretColumn
from portal_server.storage.sql.types import SecretText, UtcTime, Word, Words
from tests.support.catalog import VAULT

TOKEN = "a-token-that-nobody-may-read"  # noqa: S105
# What a format of text could get wrong.
TEXT = 'a "b" \\ \\x00 \\N \t\r\n\x01 ü 😀 {"c": 1}'
Rows = dict[str, list[dict[str, Any]]]


def fill(engine: Engine, count: int = 3) -> None:
    """Insert rows into every table, with a value in every column of all rows but one."""
    with engine.begin() as connection:
        for table in SQLModel.metadata.sorted_tables:
            for number in range(1, count + 1):
                row = _row(table, number, nulls=number == count)
                connection.execute(table.insert().values(row))


def rows(engine: Engine) -> Rows:
    """All rows of all tables."""
    with engine.connect() as connection:
        return {
            table.name: [
                dict(row._mapping)  # noqa: SLF001 - its documented name
                for row in connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in SQLModel.metadata.sorted_tables
        }


def _row(table: Table, number: int, *, nulls: bool) -> Mapping[str, Any]:
    uid = new_uid()
    row = {c.name: _value(c, number, uid, nulls=nulls) for c in table.c}
    # The database assigns ids, so that its sequences count them.
    return {name: value for name, value in row.items() if name != "id"}


def _value(column: Column[Any], number: int, uid: str, *, nulls: bool) -> Any:  # noqa: C901, PLR0911
    kind = column.type
    if nulls and column.nullable:
        return None
    if column.foreign_keys:
        return 1
    if column.name == "uid":
        return uid
    if isinstance(kind, SecretText):
        return VAULT.seal(SecretColumn(kind.column), uid, TOKEN)
    if isinstance(kind, Word | Words):
        words: Any = kind.vocabulary
        return tuple(words) if isinstance(kind, Words) else list(words)[number % len(words)]
    if isinstance(kind, UtcTime | DateTime):
        return datetime(2026, 11, 29, 12, number // 60, number % 60, 120_000 + number, UTC)
    if isinstance(kind, JSON):
        return {"b": [TEXT, 1, 1.5, None, True], "a": {}}
    if isinstance(kind, LargeBinary):
        return b"null" if column.name == "answer" else number.to_bytes(4, "big") + b"\x00\\\xff" * 8
    if isinstance(kind, Boolean):
        return number % 2 == 0
    if isinstance(kind, Integer):
        return number
    length = getattr(kind, "length", None)
    return f"{number}{TEXT}"[:length]
