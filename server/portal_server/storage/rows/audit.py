"""The rows of audit events and of their seals: they are added, never changed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    Index,
    Integer,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
)
from sqlmodel import Field, SQLModel

from portal_server.domain.audit import (
    AuditAction,
    AuditKind,
    AuditOutcome,
    Event,
    Range,
    Resource,
    Seal,
    StoredEvent,
    event_of,
    maintenance,
)
from portal_server.domain.calls import Call
from portal_server.storage.inserts import Cursor
from portal_server.storage.sql import dialects
from portal_server.storage.sql.clauses import LIMIT, number
from portal_server.storage.sql.statements import Row, Statement
from portal_server.storage.sql.types import NEVER_REUSE_IDS, UtcTime, Word

_BIG = BigInteger().with_variant(Integer, "sqlite")


class AuditEventRow(SQLModel, table=True):
    """An audit event. `before` and `after` are JSON as text, which no database changes."""

    __tablename__: ClassVar[Any] = "audit_event"
    __table_args__ = (NEVER_REUSE_IDS,)

    id: int | None = Field(default=None, primary_key=True, sa_type=_BIG)
    create_time: datetime = Field(sa_type=UtcTime)
    key_id: str
    address: str
    trace_id: str
    method: str
    kind: AuditKind = Field(sa_type=Word(AuditKind))
    action: AuditAction = Field(sa_type=Word(AuditAction))
    outcome: AuditOutcome = Field(sa_type=Word(AuditOutcome))
    resource_id: int
    uid: str
    provider_id: int
    etag_before: str
    etag_after: str
    before: str
    after: str
    digest: str = Field(max_length=64)


class AuditSealRow(SQLModel, table=True):
    """A seal: see `domain.audit.Seal`."""

    __tablename__: ClassVar[Any] = "audit_seal"
    __table_args__ = (Index("ix_audit_seal_create_time", "create_time"),)

    position: int = Field(primary_key=True, sa_type=_BIG, sa_column_kwargs={"autoincrement": False})
    count: int
    ids: list[list[int]] = Field(sa_type=JSON)
    last_id: int = Field(sa_type=_BIG)
    missing: list[list[int]] = Field(sa_type=JSON)
    create_time: datetime = Field(sa_type=UtcTime)
    content_hash: str = Field(max_length=64)
    hash: str = Field(max_length=64)


EVENTS: Table = AuditEventRow.__table__  # type: ignore[attr-defined]
SEALS: Table = AuditSealRow.__table__  # type: ignore[attr-defined]

_between = (EVENTS.c.id >= number("first"), EVENTS.c.id <= number("last"))


class AuditStatements:
    """The statements, compiled for one dialect."""

    def __init__(self, dialect: sqlalchemy.Dialect) -> None:
        special = dialects.of(dialect)
        self.add = special.insert_rows(EVENTS, dialect, [*Event._fields, "digest"])
        events = select(EVENTS).where(*_between).order_by(EVENTS.c.id).limit(LIMIT)
        self.events = Statement(events, dialect)
        digests = select(EVENTS.c.id, EVENTS.c.digest).where(*_between).order_by(EVENTS.c.id)
        self.digests = Statement(digests.limit(LIMIT), dialect)
        self.last_id = Statement(select(func.max(EVENTS.c.id).label("id")), dialect)
        counted = select(func.count().label("rows")).select_from(EVENTS).where(*_between)
        self.count = Statement(counted, dialect)
        self.seal = Statement(insert(SEALS), dialect, *(column.name for column in SEALS.c))
        newest = select(SEALS).order_by(SEALS.c.position.desc()).limit(1)
        self.head = Statement(newest, dialect)
        after = select(SEALS).where(SEALS.c.position > number("after"))
        self.seals = Statement(after.order_by(SEALS.c.position).limit(LIMIT), dialect)
        since = SEALS.c.create_time < bindparam("since", type_=SEALS.c.create_time.type)
        older = select(SEALS.c.position).where(since).order_by(SEALS.c.create_time.desc()).limit(1)
        self.position_before = Statement(older, dialect)
        self.transactions = Statement(special.transactions, dialect)
        self.prune = Statement(delete(EVENTS).where(*_between), dialect)
        self.allow_prune, self.end_prune = special.delete_append_only(EVENTS.name)


class AuditRows:
    """The audit events and seals, in one transaction."""

    __slots__ = ("_cursor", "_statements")

    def __init__(self, cursor: Cursor, statements: AuditStatements) -> None:
        self._cursor = cursor
        self._statements = statements

    def add(
        self,
        call: Call,
        before: Resource | None,
        after: Resource | None,
        outcome: AuditOutcome | None = None,
    ) -> None:
        """Store that this call changed a resource from `before` to `after`.

        None before is a create, None after a deletion. Call this in the transaction of the write.
        """
        self._add(event_of(call, before, after, outcome))

    def add_maintenance(self, call: Call, facts: Mapping[str, str | int]) -> None:
        """Store that a command worked on the database; `facts` have no secrets."""
        self._add(maintenance(call, facts))

    def _add(self, event: Event) -> None:
        row = {**event._asdict(), "digest": event.digest()}
        self._cursor.insert_last(self._statements.add, row)

    def events(self, ids: Range, limit: int) -> list[StoredEvent]:
        """The events with these IDs, in ascending order, at most `limit`."""
        first, last = ids
        rows = self._cursor.rows(self._statements.events, first=first, last=last, limit=limit)
        return [_event(row) for row in rows]

    def digests(self, ids: Range, limit: int) -> list[tuple[int, str]]:
        """The IDs and digests of the events with these IDs, in ascending order."""
        first, last = ids
        rows = self._cursor.rows(self._statements.digests, first=first, last=last, limit=limit)
        return [(row["id"], row["digest"]) for row in rows]

    def last_id(self) -> int:
        """The highest ID of the committed events; 0 if there is none."""
        [row] = self._cursor.rows(self._statements.last_id)
        return row["id"] or 0

    def count(self, ids: Range) -> int:
        """How many events with these IDs there are."""
        [row] = self._cursor.rows(self._statements.count, first=ids[0], last=ids[1])
        return int(row["rows"])

    def add_seal(self, seal: Seal) -> None:
        """Store a seal."""
        values = {column.name: getattr(seal, column.name) for column in SEALS.c}
        self._cursor.change(self._statements.seal, values)

    def head(self) -> Seal | None:
        """The newest seal."""
        for row in self._cursor.rows(self._statements.head):
            return _seal(row)
        return None

    def seals(self, after: int, limit: int) -> list[Seal]:
        """The seals that have events after this position, in their order."""
        rows = self._cursor.rows(self._statements.seals, after=after, limit=limit)
        return list(map(_seal, rows))

    def position_before(self, time: datetime) -> int:
        """The position of the newest seal that is older; 0 if there is none."""
        for row in self._cursor.rows(self._statements.position_before, since=time):
            return int(row["position"])
        return 0

    def transactions(self) -> tuple[int, int]:
        """The oldest open transaction, and a number that is later than all others."""
        [row] = self._cursor.rows(self._statements.transactions)
        return row["oldest"], row["next"]

    def prune(self, ids: Range) -> None:
        """Delete the events with these IDs. PostgreSQL: only the owner of the tables may."""
        first, last = ids
        for sql in self._statements.allow_prune:
            self._cursor.execute(sql)
        self._cursor.change(self._statements.prune, {"first": first, "last": last})
        for sql in self._statements.end_prune:
            self._cursor.execute(sql)


def _event(row: Row) -> StoredEvent:
    values = {name: row[name] for name in Event._fields}
    return StoredEvent(id=row["id"], event=Event(**values), digest=row["digest"])


def _seal(row: Row) -> Seal:
    return Seal(**row | {name: [(a, b) for a, b in row[name]] for name in ("ids", "missing")})
