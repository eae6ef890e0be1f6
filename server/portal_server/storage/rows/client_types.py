"""The rows of client types."""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import add
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import (
    BigInteger,
    Index,
    Select,
    String,
    Table,
    bindparam,
    cast,
    column,
    delete,
    exists,
    func,
    select,
    table,
    update,
)
from sqlmodel import Field, SQLModel

from portal_server.domain import fields
from portal_server.domain.client_type import (
    CLIENT_TYPE,
    ClientType,
    ClientTypeSpec,
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.discovery import Finding
from portal_server.domain.errors import AlreadyExists, NotFound, Resource
from portal_server.domain.identity import Ref
from portal_server.domain.lists import Condition, Page, PageRange
from portal_server.storage.inserts import Cursor
from portal_server.storage.sql import dialects
from portal_server.storage.sql.clauses import LIMIT, Lock, locked, number
from portal_server.storage.sql.filters import FilteredList
from portal_server.storage.sql.statements import Statement
from portal_server.storage.sql.types import NEVER_REUSE_IDS, UtcTime, Word, Words


class ClientTypeRow(SQLModel, table=True):
    """A client type; it is deleted with its provider."""

    __tablename__: ClassVar[Any] = "client_type"
    __table_args__ = (
        Index("ix_client_type_provider_id_id", "provider_id", "id"),
        Index("ix_client_type_uid", "uid", unique=True),
        NEVER_REUSE_IDS,
    )

    id: int | None = Field(default=None, primary_key=True)
    uid: str = Field(max_length=36)
    provider_id: int = Field(foreign_key="provider.id", ondelete="CASCADE")
    name: str
    description: str
    response_types: list[ResponseType] = Field(sa_type=Words(ResponseType))
    grant_types: list[GrantType] = Field(sa_type=Words(GrantType))
    token_endpoint_auth_method: TokenEndpointAuthMethod | None = Field(
        sa_type=Word(TokenEndpointAuthMethod)
    )
    okta_app_type: OktaAppType | None = Field(sa_type=Word(OktaAppType))
    create_time: datetime = Field(sa_type=UtcTime)
    update_time: datetime = Field(sa_type=UtcTime)


TABLE: Table = ClientTypeRow.__table__  # type: ignore[attr-defined]

# The rows of clients, of which only this column matters here.
_CLIENT = table("client", column("client_type_id", BigInteger))

_of_parent = TABLE.c.provider_id == number("parent")
_this = (TABLE.c.id == number("which")) & _of_parent
_has_uid = TABLE.c.uid == bindparam("uid", type_=String)


class ClientTypeStatements:
    """The statements, compiled for one dialect."""

    def __init__(self, dialect: sqlalchemy.Dialect) -> None:
        special = dialects.of(dialect)

        def following(query: Select[Any]) -> Select[Any]:
            return special.rows_after(query, TABLE.c.provider_id, TABLE.c.id)

        self.get = locked(select(TABLE).where(_this), dialect, ClientType)
        self.id_of = Statement(select(TABLE.c.id).where(_has_uid, _of_parent), dialect)
        self.with_uid = Statement(select(TABLE.c.id).where(_has_uid), dialect)
        self.update = Statement(update(TABLE).where(_this), dialect, *CLIENT_TYPE, "update_time")
        self.remove = Statement(delete(TABLE).where(_this), dialect)
        used = exists().where(_CLIENT.c.client_type_id == TABLE.c.id)
        unused = following(select(TABLE.c.id)).where(TABLE.c.id <= number("last"), ~used)
        self.remove_unused = Statement(delete(TABLE).where(TABLE.c.id.in_(unused)), dialect)
        self.list = FilteredList(TABLE, following, dialect, ClientType, keep=True)
        missing = following(select(TABLE.c.id)).where(TABLE.c.okta_app_type.is_(None))
        self.without_app_type = Statement(missing.limit(LIMIT), dialect)
        texts = [name for name, field in CLIENT_TYPE.items() if isinstance(field, fields.Text)]
        size = reduce(add, (special.byte_length(TABLE.c[name]) for name in texts))
        some = select(size.label("size")).where(_of_parent).limit(LIMIT).subquery()
        total = cast(func.coalesce(func.sum(some.c.size), 0), BigInteger)
        measured = select(func.count().label("rows"), total.label("size")).select_from(some)
        self.measure = Statement(measured, dialect)


class ClientTypeRows:
    """The client types, in one transaction."""

    __slots__ = ("_cursor", "_statements")

    def __init__(self, cursor: Cursor, statements: ClientTypeStatements) -> None:
        self._cursor = cursor
        self._statements = statements

    def add(
        self,
        provider_id: int,
        spec: ClientTypeSpec,
        uid: str,
        now: datetime,
        findings: tuple[Finding, ...] = (),
    ) -> ClientType:
        """Insert a client type of a provider that exists; the result has these findings."""
        values = {
            **fields.values_of(spec, CLIENT_TYPE),
            "provider_id": provider_id,
            "uid": uid,
            "create_time": now,
            "update_time": now,
        }
        id_ = self._cursor.insert(Resource.CLIENT_TYPE, values)
        return ClientType(id=id_, findings=findings, **values)

    def get(self, provider_id: int, ref: Ref, lock: Lock | None = None) -> ClientType:
        """The client type of this provider. Raises: NotFound."""
        id_ = ref if isinstance(ref, int) else self._id_of(provider_id, ref)
        statement = self._statements.get[lock]
        found: list[ClientType] = self._cursor.rows(statement, which=id_, parent=provider_id)
        if not found:
            raise NotFound(Resource.CLIENT_TYPE, ref)
        return found[0]

    def _id_of(self, provider_id: int, uid: str) -> int:
        rows = self._cursor.rows(self._statements.id_of, parent=provider_id, uid=uid.lower())
        for row in rows:
            return int(row["id"])
        raise NotFound(Resource.CLIENT_TYPE, uid)

    def require_unused(self, uid: str) -> None:
        """Accept a uid that no client type has. Raises: AlreadyExists."""
        if self._cursor.rows(self._statements.with_uid, uid=uid):
            raise AlreadyExists(Resource.CLIENT_TYPE, uid)

    def list(
        self, provider_id: int, where: Sequence[Condition], rows: PageRange
    ) -> Page[ClientType]:
        """The client types of a provider that meet all conditions, in ascending order of id."""
        return self._statements.list.page(self._cursor, where, rows, parent=provider_id)

    def measure(self, provider_id: int, limit: int) -> tuple[int, int]:
        """How many client types a provider has, at most `limit`, and the bytes of their texts."""
        (row,) = self._cursor.rows(self._statements.measure, parent=provider_id, limit=limit)
        return row["rows"], row["size"]

    def without_app_type(self, provider_id: int, limit: int) -> Sequence[int]:
        """The ids of the first client types of a provider that have no Okta app type."""
        statement = self._statements.without_app_type
        rows = self._cursor.rows(statement, parent=provider_id, after=0, limit=limit)
        return [row["id"] for row in rows]

    def update(self, provider_id: int, id_: int, spec: ClientTypeSpec, now: datetime) -> None:
        """Update a client type of this provider."""
        values = {
            **fields.values_of(spec, CLIENT_TYPE),
            "update_time": now,
            "which": id_,
            "parent": provider_id,
        }
        self._cursor.change(self._statements.update, values)

    def remove_unused(self, provider_id: int, after: int, last: int) -> None:
        """Delete client types of a provider without clients: `after` < id <= `last`."""
        values = {"parent": provider_id, "after": after, "last": last}
        self._cursor.change(self._statements.remove_unused, values)

    def remove(self, provider_id: int, id_: int) -> None:
        """Delete a client type of this provider."""
        self._cursor.change(self._statements.remove, {"which": id_, "parent": provider_id})
