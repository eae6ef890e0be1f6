"""The rows of API keys."""

from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import LargeBinary, String, Table, bindparam, insert, select, update
from sqlmodel import Field, SQLModel

from portal_server.domain.keys import Key, Role
from portal_server.storage.inserts import Cursor
from portal_server.storage.sql import dialects
from portal_server.storage.sql.statements import Statement
from portal_server.storage.sql.types import UtcTime, Word


class ApiKeyRow(SQLModel, table=True):
    """An API key: its digest, never its text."""

    __tablename__: ClassVar[Any] = "api_key"

    key_id: str = Field(max_length=8, primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary, repr=False)
    role: Role = Field(sa_type=Word(Role))
    note: str
    create_time: datetime = Field(sa_type=UtcTime)
    revoke_time: datetime | None = Field(sa_type=UtcTime)


TABLE: Table = ApiKeyRow.__table__  # type: ignore[attr-defined]

_COLUMNS = [column.name for column in TABLE.c]
_this = TABLE.c.key_id == bindparam("which", type_=String)


class ApiKeyStatements:
    """The statements, compiled for one dialect."""

    def __init__(self, dialect: sqlalchemy.Dialect) -> None:
        self.add = Statement(insert(TABLE), dialect, *_COLUMNS)
        self.find = Statement(select(TABLE).where(_this), dialect)
        self.list = Statement(select(TABLE).order_by(TABLE.c.create_time, TABLE.c.key_id), dialect)
        valid = TABLE.c.revoke_time.is_(None)
        self.revoke = Statement(update(TABLE).where(_this, valid), dialect, "revoke_time")
        self.lock = dialects.of(dialect).lock_table


class ApiKeyRows:
    """The API keys, in one transaction."""

    __slots__ = ("_cursor", "_statements")

    def __init__(self, cursor: Cursor, statements: ApiKeyStatements) -> None:
        self._cursor = cursor
        self._statements = statements

    def add(self, key: Key) -> None:
        """Insert an API key."""
        values = {name: getattr(key, name) for name in _COLUMNS}
        self._cursor.change(self._statements.add, values)

    def find(self, key_id: str) -> Key | None:
        """The API key with this id."""
        for row in self._cursor.rows(self._statements.find, which=key_id):
            return Key(**row)
        return None

    def lock(self) -> None:
        """Prevent others from adding an API key until the transaction ends."""
        if self._statements.lock:
            self._cursor.execute(self._statements.lock.format(TABLE.name))

    def list(self) -> list[Key]:
        """All API keys, oldest first."""
        return [Key(**row) for row in self._cursor.rows(self._statements.list)]

    def revoke(self, key_id: str, now: datetime) -> bool:
        """Revoke an API key; False if there is no valid one with this id."""
        values = {"which": key_id, "revoke_time": now}
        return self._cursor.change(self._statements.revoke, values)
