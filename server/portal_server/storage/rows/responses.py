"""The rows of stored responses: results of writes, for retries."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import (
    BigInteger,
    Integer,
    LargeBinary,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    func,
    select,
    text,
)
from sqlmodel import Field, SQLModel

from portal_server.domain.calls import IdempotencyKey
from portal_server.storage.inserts import Cursor
from portal_server.storage.sql import dialects
from portal_server.storage.sql.clauses import LIMIT, number
from portal_server.storage.sql.statements import Statement
from portal_server.storage.sql.types import NEVER_REUSE_IDS, UtcTime


class ResponseRow(SQLModel, table=True):
    """The response of a write. The order of ids is the order of time."""

    __tablename__: ClassVar[Any] = "answer"
    __table_args__ = (NEVER_REUSE_IDS,)

    # There are as many as there are writes: 32 bits would be used up within days.
    id: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger().with_variant(Integer, "sqlite")
    )
    digest: bytes = Field(sa_type=LargeBinary, unique=True)
    fingerprint: bytes = Field(sa_type=LargeBinary)
    # JSON; where `key_id` is null, in the format of the previous version.
    answer: bytes = Field(sa_type=LargeBinary, repr=False)
    create_time: datetime = Field(sa_type=UtcTime)
    key_id: str | None = Field(default=None)


TABLE: Table = ResponseRow.__table__  # type: ignore[attr-defined]

RESPONSE = TABLE.c.answer

_this = TABLE.c.digest == bindparam("which", type_=LargeBinary)
_after = TABLE.c.id > number("after")


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response of a write that was done. Its time is UTC."""

    fingerprint: bytes
    response: bytes
    create_time: datetime
    key_id: str | None
    """None: the previous version has stored it, in its own format."""


class ResponseStatements:
    """The statements, compiled for one dialect."""

    def __init__(self, dialect: sqlalchemy.Dialect) -> None:
        columns = [column.name for column in TABLE.c if column.name != "id"]
        self.add = Statement(dialects.of(dialect).insert_or_ignore(TABLE), dialect, *columns)
        self.find = Statement(
            select(
                TABLE.c.fingerprint,
                TABLE.c.answer.label("response"),
                TABLE.c.create_time,
                TABLE.c.key_id,
            ).where(_this),
            dialect,
        )
        self.remove = Statement(delete(TABLE).where(_this), dialect)
        # In the order of ids, which is that of time: an index on the time would slow down writes.
        oldest = select(TABLE.c.id, TABLE.c.create_time).where(_after).order_by(TABLE.c.id)
        self.oldest = Statement(oldest.limit(LIMIT), dialect)
        old = TABLE.c.create_time < bindparam("before", type_=TABLE.c.create_time.type)
        up_to = TABLE.c.id <= number("up_to")
        self.remove_old = Statement(delete(TABLE).where(_after, up_to, old), dialect)
        # Both databases write a time in UTC as YYYY-MM-DD HH:MM:SS.
        minute = func.substr(cast(TABLE.c.create_time, Text), text("1"), text("16"))
        since = TABLE.c.create_time >= bindparam("since", type_=TABLE.c.create_time.type)
        self.usage = Statement(
            select(
                TABLE.c.key_id,
                minute.label("minute"),
                func.count().label("rows"),
                cast(func.sum(func.length(TABLE.c.answer)), BigInteger).label("size"),
            )
            .where(TABLE.c.key_id.is_not(None), since)
            .group_by(TABLE.c.key_id, minute),
            dialect,
        )


class ResponseRows:
    """The stored responses, in one transaction."""

    __slots__ = ("_cursor", "_statements")

    def __init__(self, cursor: Cursor, statements: ResponseStatements) -> None:
        self._cursor = cursor
        self._statements = statements

    def add(self, key: IdempotencyKey, response: bytes, now: datetime) -> bool:
        """Store the response of a request; False if there is one already."""
        values = {
            "digest": key.digest,
            "fingerprint": key.fingerprint,
            "answer": response,
            "create_time": now,
            "key_id": key.key_id,
        }
        return self._cursor.change(self._statements.add, values)

    def find(self, digest: bytes) -> StoredResponse | None:
        """The stored response of the request with this digest."""
        for row in self._cursor.rows(self._statements.find, which=digest):
            return StoredResponse(**row)
        return None

    def remove(self, digest: bytes) -> None:
        """Delete the stored response of the request with this digest, if there is one."""
        self._cursor.change(self._statements.remove, {"which": digest})

    def oldest(self, after: int, limit: int) -> list[tuple[int, datetime]]:
        """Id and time of the first responses after this id, in ascending order of id."""
        rows = self._cursor.rows(self._statements.oldest, after=after, limit=limit)
        return [(row["id"], row["create_time"]) for row in rows]

    def remove_old(self, after: int, up_to: int, before: datetime) -> None:
        """Delete responses with these ids, `after` not included, that are older than this time."""
        values = {"after": after, "up_to": up_to, "before": before}
        self._cursor.change(self._statements.remove_old, values)

    def usage(self, since: datetime) -> list[tuple[str, datetime, int, int]]:
        """API key, minute, number and bytes of the responses stored since this time."""
        return [
            (
                row["key_id"],
                datetime.fromisoformat(row["minute"]).replace(tzinfo=UTC),
                row["rows"],
                row["size"],
            )
            for row in self._cursor.rows(self._statements.usage, since=since)
        ]
