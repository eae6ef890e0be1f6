"""The rows of leases: which server does work that only one may do at a time."""

from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import String, Table, bindparam, delete
from sqlmodel import Field, SQLModel

from portal_server.storage.inserts import Cursor
from portal_server.storage.sql import dialects
from portal_server.storage.sql.statements import Statement
from portal_server.storage.sql.types import UtcTime


class LeaseRow(SQLModel, table=True):
    """A lease: the server that holds it may do the work until it expires."""

    __tablename__: ClassVar[Any] = "lease"

    name: str = Field(max_length=64, primary_key=True)
    holder: str = Field(max_length=64)
    until: datetime = Field(sa_type=UtcTime)


TABLE: Table = LeaseRow.__table__  # type: ignore[attr-defined]

_COLUMNS = [column.name for column in TABLE.c]


class LeaseStatements:
    """The statements, compiled for one dialect."""

    def __init__(self, dialect: sqlalchemy.Dialect) -> None:
        insert = dialects.of(dialect).insert(TABLE)
        new = insert.excluded
        now, latest = (bindparam(name, type_=UtcTime) for name in ("now", "latest"))
        expired = (TABLE.c.until <= now) | (TABLE.c.until > latest)
        free = (TABLE.c.holder == new.holder) | expired
        taken = insert.on_conflict_do_update(
            index_elements=[TABLE.c.name],
            set_={"holder": new.holder, "until": new.until},
            where=free,
        )
        self.acquire = Statement(taken, dialect, *_COLUMNS)
        which = TABLE.c.name == bindparam("which", type_=String)
        by = TABLE.c.holder == bindparam("by", type_=String)
        self.release = Statement(delete(TABLE).where(which, by), dialect)


class LeaseRows:
    """The leases, in one transaction."""

    __slots__ = ("_cursor", "_statements")

    def __init__(self, cursor: Cursor, statements: LeaseStatements) -> None:
        self._cursor = cursor
        self._statements = statements

    def acquire(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        """Get or renew a lease; False while another one holds it.

        The clocks of the servers must differ by less than the time of a lease. One that ends
        later than that is of a clock that was set back since.
        """
        latest = until + (until - now)
        values = {"name": name, "holder": holder, "until": until, "now": now, "latest": latest}
        return self._cursor.change(self._statements.acquire, values)

    def release(self, name: str, holder: str) -> None:
        """End a lease, if this server holds it."""
        self._cursor.change(self._statements.release, {"which": name, "by": holder})
