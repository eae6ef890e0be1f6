"""The rows of clients."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import (
    JSON,
    ColumnElement,
    Index,
    Select,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
    text,
    update,
)
from sqlmodel import Field, SQLModel

from portal_server.domain.client import Client, ClientState, Difference
from portal_server.domain.errors import AlreadyExists, NotFound, Resource
from portal_server.domain.identity import Ref
from portal_server.domain.lists import Condition, Page, PageRange
from portal_server.storage.encryption import SecretColumn, Secrets, Vault
from portal_server.storage.inserts import Cursor
from portal_server.storage.sql import dialects
from portal_server.storage.sql.clauses import LIMIT, Lock, locked, number
from portal_server.storage.sql.filters import FilteredList
from portal_server.storage.sql.statements import Row, Statement
from portal_server.storage.sql.types import NEVER_REUSE_IDS, SecretText, UtcTime, Word

# For servers of the previous version, which do not know the column.
_EMPTY = {"server_default": ""}
_IS_DUE = text("due_time IS NOT NULL")


class ClientRow(SQLModel, table=True):
    """A client. While it is stored, its provider and client type cannot be deleted."""

    __tablename__: ClassVar[Any] = "client"
    __table_args__ = (
        Index("ix_client_provider_id_id", "provider_id", "id"),
        # For lists, and for the deletion of client types, which searches for the clients of each.
        Index("ix_client_client_type_id_id", "client_type_id", "id"),
        Index("ix_client_uid", "uid", unique=True),
        Index("ix_client_due_time", "due_time", sqlite_where=_IS_DUE, postgresql_where=_IS_DUE),
        NEVER_REUSE_IDS,
    )

    id: int | None = Field(default=None, primary_key=True)
    uid: str = Field(max_length=36)
    provider_id: int = Field(foreign_key="provider.id")
    client_type_id: int = Field(foreign_key="client_type.id")
    name: str
    redirect_uris: list[str] = Field(sa_type=JSON)
    scope: str
    labels: dict[str, str] = Field(sa_type=JSON)
    state: ClientState = Field(sa_type=Word(ClientState))
    state_time: datetime = Field(sa_type=UtcTime)
    message: str
    client_id: str
    client_id_issue_time: datetime | None = Field(sa_type=UtcTime)
    client_secret_expire_time: datetime | None = Field(sa_type=UtcTime)
    client_secret: str = Field(sa_type=SecretText(SecretColumn.CLIENT_SECRET), repr=False)
    client_secret_available_time: datetime | None = Field(sa_type=UtcTime)
    client_secret_digest: str = Field(
        sa_type=SecretText(SecretColumn.CLIENT_SECRET_DIGEST), sa_column_kwargs=_EMPTY, repr=False
    )
    requested: dict[str, Any] = Field(sa_type=JSON)
    registered: dict[str, Any] = Field(sa_type=JSON)
    differences: list[dict[str, Any]] = Field(sa_type=JSON)
    registration_client_uri: str
    registration_access_token: str = Field(
        sa_type=SecretText(SecretColumn.CLIENT_TOKEN), repr=False
    )
    verify_time: datetime | None = Field(sa_type=UtcTime)
    due_time: datetime | None = Field(sa_type=UtcTime)
    attempts: int
    create_time: datetime = Field(sa_type=UtcTime)
    update_time: datetime = Field(sa_type=UtcTime)


TABLE: Table = ClientRow.__table__  # type: ignore[attr-defined]

_FIXED = {"id", "uid", "provider_id", "client_type_id", "create_time"}
_FIELDS = [field.name for field in fields(Client) if field.name != "id"]
_MUTABLE = [name for name in _FIELDS if name not in _FIXED]

_SCHEDULE = ("due_time", "attempts")

_of_provider = TABLE.c.provider_id == number("parent")
_of_client_type = TABLE.c.client_type_id == number("template")
_this = TABLE.c.id == number("which")
_has_uid = TABLE.c.uid == bindparam("uid", type_=String)


class ClientStatements:
    """The statements, compiled for one dialect."""

    def __init__(self, dialect: sqlalchemy.Dialect, vault: Vault) -> None:
        special = dialects.of(dialect)
        self.secrets = Secrets(TABLE, vault)

        def of_all(query: Select[Any]) -> Select[Any]:
            return special.rows_after(query, TABLE.c.provider_id, TABLE.c.id)

        def of_some(query: Select[Any]) -> Select[Any]:
            some = query.where(_of_client_type, _of_provider, TABLE.c.id > number("after"))
            # Sorted by both, PostgreSQL uses the index on both.
            return some.order_by(TABLE.c.client_type_id, TABLE.c.id)

        self.get = locked(select(TABLE).where(_this, _of_provider), dialect)
        self.id_of = Statement(select(TABLE.c.id).where(_has_uid, _of_provider), dialect)
        self.with_uid = Statement(select(TABLE.c.id).where(_has_uid), dialect)
        self.save = Statement(update(TABLE).where(_this), dialect, *_MUTABLE)
        self.postpone = Statement(update(TABLE).where(_this), dialect, *_SCHEDULE)
        self.remove = Statement(delete(TABLE).where(_this), dialect)
        self.list_all = FilteredList(TABLE, of_all, dialect, _client)
        self.list_some = FilteredList(TABLE, of_some, dialect, _client)

        def named(of: ColumnElement[bool]) -> tuple[Statement, Statement]:
            first = select(TABLE.c.name).where(of).order_by(TABLE.c.id).limit(LIMIT)
            count = select(func.count().label("rows")).select_from(TABLE).where(of)
            return Statement(count, dialect), Statement(first, dialect)

        types = select(TABLE.c.client_type_id).where(_of_provider).distinct()
        self.types_in_use = Statement(types, dialect)
        self.remove_all = Statement(delete(TABLE).where(_of_provider), dialect)
        self.in_use_all = named(_of_provider)
        self.in_use_some = named(_of_provider & _of_client_type)
        now = bindparam("now", type_=UtcTime)
        due = select(TABLE).where(TABLE.c.due_time <= now).order_by(TABLE.c.due_time)
        self.due = Statement(due.limit(LIMIT), dialect)


class ClientRows:
    """The clients, in one transaction."""

    __slots__ = ("_cursor", "_statements")

    def __init__(self, cursor: Cursor, statements: ClientStatements) -> None:
        self._cursor = cursor
        self._statements = statements

    def add(self, client: Client) -> Client:
        """Insert a client, whose id is ignored; returns it with its id and sealed secrets.

        The transaction has locked its provider and has found its client type.

        Raises: Precondition (there is no encryption key; there are no more ids).
        """
        values = self._values(client, _FIELDS)
        return _stored(client, values, self._cursor.insert(Resource.CLIENT, values))

    def get(self, provider_id: int, ref: Ref, lock: Lock | None = None) -> Client:
        """The client of this provider. Raises: NotFound."""
        id_ = ref if isinstance(ref, int) else self._id_of(provider_id, ref)
        statement = self._statements.get[lock]
        for row in self._cursor.rows(statement, which=id_, parent=provider_id):
            return _client(**row)
        raise NotFound(Resource.CLIENT, ref)

    def _id_of(self, provider_id: int, uid: str) -> int:
        rows = self._cursor.rows(self._statements.id_of, parent=provider_id, uid=uid.lower())
        for row in rows:
            return int(row["id"])
        raise NotFound(Resource.CLIENT, uid)

    def require_unused(self, uid: str) -> None:
        """Accept a uid that no client has. Raises: AlreadyExists."""
        if self._cursor.rows(self._statements.with_uid, uid=uid):
            raise AlreadyExists(Resource.CLIENT, uid)

    def list(
        self,
        provider_id: int,
        client_type_id: int | None,
        where: Sequence[Condition],
        rows: PageRange,
    ) -> Page[Client]:
        """The clients that meet all conditions, in ascending order of id.

        They are of this provider and, if it is given, of this client type.
        """
        found, values = self._statements.list_all, {"parent": provider_id}
        if client_type_id is not None:
            found, values["template"] = self._statements.list_some, client_type_id
        return found.page(self._cursor, where, rows, **values)

    def in_use(
        self, provider_id: int, client_type_id: int | None, limit: int
    ) -> tuple[int, Sequence[str]]:
        """How many clients a provider, or one of its client types, has; the first names."""
        values = {"parent": provider_id}
        count, names = self._statements.in_use_all
        if client_type_id is not None:
            values["template"] = client_type_id
            count, names = self._statements.in_use_some
        [counted] = self._cursor.rows(count, **values)
        if not counted["rows"]:
            return 0, ()
        rows = self._cursor.rows(names, **values, limit=limit)
        return counted["rows"], [row["name"] for row in rows]

    def types_in_use(self, provider_id: int) -> set[int]:
        """The ids of the client types of a provider that have clients."""
        rows = self._cursor.rows(self._statements.types_in_use, parent=provider_id)
        return {row["client_type_id"] for row in rows}

    def due(self, now: datetime, limit: int) -> Sequence[Client]:
        """The clients whose `due_time` has passed, in ascending order of `due_time`."""
        rows = self._cursor.rows(self._statements.due, now=now, limit=limit)
        return [_client(**row) for row in rows]

    def save(self, client: Client) -> Client:
        """Write all mutable columns of a client; returns it with sealed secrets.

        The transaction has read the client with a lock.

        Raises: NotFound, Precondition (there is no encryption key).
        """
        values = self._values(client, _MUTABLE)
        if not self._cursor.change(self._statements.save, {**values, "which": client.id}):
            raise NotFound(Resource.CLIENT, client.id)
        return _stored(client, values, client.id)

    def postpone(self, client: Client) -> None:
        """Write only when a client is due, without reading its other columns."""
        values = {name: getattr(client, name) for name in _SCHEDULE}
        self._cursor.change(self._statements.postpone, {**values, "which": client.id})

    def remove(self, id_: int) -> None:
        """Delete a client."""
        self._cursor.change(self._statements.remove, {"which": id_})

    def remove_all(self, provider_id: int) -> None:
        """Delete all clients of a provider that is locked."""
        self._cursor.change(self._statements.remove_all, {"parent": provider_id})

    def _values(self, client: Client, names: Sequence[str]) -> Row:
        values = {name: getattr(client, name) for name in names}
        values["redirect_uris"] = list(client.redirect_uris)
        values["differences"] = [asdict(difference) for difference in client.differences]
        for name in ("labels", "requested", "registered"):
            values[name] = dict(values[name])
        return self._statements.secrets.sealed(client.uid, values)


def _client(**row: Any) -> Client:
    return Client(
        **row
        | {
            "redirect_uris": tuple(row["redirect_uris"]),
            "differences": tuple(Difference(**each) for each in row["differences"]),
        }
    )


def _stored(client: Client, values: Row, id_: int) -> Client:
    """The client with the id and the sealed secrets of its row."""
    return replace(
        client,
        id=id_,
        client_secret=values["client_secret"],
        client_secret_digest=values["client_secret_digest"],
        registration_access_token=values["registration_access_token"],
    )
