"""The rows of providers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import Index, Select, String, Table, bindparam, delete, select, update
from sqlmodel import Field, SQLModel

from portal_server.domain import fields
from portal_server.domain.errors import AlreadyExists, NotFound, Resource
from portal_server.domain.identity import Ref
from portal_server.domain.keys import MAX_PROVIDERS
from portal_server.domain.lists import Condition, Page, PageRange
from portal_server.domain.provider import (
    PROVIDER,
    CredentialType,
    Provider,
    ProviderSpec,
    ProviderType,
)
from portal_server.storage.encryption import SecretColumn, Secrets, Vault
from portal_server.storage.inserts import Cursor
from portal_server.storage.sql.clauses import Lock, locked, number
from portal_server.storage.sql.filters import FilteredList
from portal_server.storage.sql.statements import Statement
from portal_server.storage.sql.types import NEVER_REUSE_IDS, SecretText, UtcTime, Word

# For servers of the previous version, which do not know the column.
_EMPTY = {"server_default": ""}


class ProviderRow(SQLModel, table=True):
    """A provider. A column has the name of the field that it stores."""

    __tablename__: ClassVar[Any] = "provider"
    __table_args__ = (Index("ix_provider_uid", "uid", unique=True), NEVER_REUSE_IDS)

    id: int | None = Field(default=None, primary_key=True)
    uid: str = Field(max_length=36)
    name: str
    type: ProviderType = Field(sa_type=Word(ProviderType))
    well_known_uri: str
    tls_insecure_skip_verify: bool
    registration_access_token: str = Field(
        sa_type=SecretText(SecretColumn.PROVIDER_TOKEN), repr=False
    )
    registration_endpoint: str = Field(sa_column_kwargs=_EMPTY)
    ca_certificate: str = Field(sa_column_kwargs=_EMPTY)
    credential_type: CredentialType | None = Field(sa_type=Word(CredentialType))
    credential_client_id: str = Field(sa_column_kwargs=_EMPTY)
    credential_client_secret: str = Field(
        sa_type=SecretText(SecretColumn.PROVIDER_CLIENT_SECRET), sa_column_kwargs=_EMPTY, repr=False
    )
    credential_scope: str = Field(sa_column_kwargs=_EMPTY)
    create_time: datetime = Field(sa_type=UtcTime)
    update_time: datetime = Field(sa_type=UtcTime)


TABLE: Table = ProviderRow.__table__  # type: ignore[attr-defined]

_this = TABLE.c.id == number("which")
_has_uid = TABLE.c.uid == bindparam("uid", type_=String)


# A name for each place of a list of ids; places that are left over have the id 0.
_ALLOWED = tuple(f"allowed_{place}" for place in range(MAX_PROVIDERS))


def _following(query: Select[Any]) -> Select[Any]:
    return query.where(TABLE.c.id > number("after")).order_by(TABLE.c.id)


def _following_allowed(query: Select[Any]) -> Select[Any]:
    return _following(query.where(TABLE.c.id.in_(list(map(number, _ALLOWED)))))


class ProviderStatements:
    """The statements, compiled for one dialect."""

    def __init__(self, dialect: sqlalchemy.Dialect, vault: Vault) -> None:
        self.secrets = Secrets(TABLE, vault)
        self.get = locked(select(TABLE).where(_this), dialect)
        self.id_of = Statement(select(TABLE.c.id).where(_has_uid), dialect)
        self.update = Statement(update(TABLE).where(_this), dialect, *PROVIDER, "update_time")
        self.remove = Statement(delete(TABLE).where(_this), dialect)
        self.list = FilteredList(TABLE, _following, dialect, Provider)
        self.list_allowed = FilteredList(TABLE, _following_allowed, dialect, Provider)


class ProviderRows:
    """The providers, in one transaction. A provider that is locked is read once.

    While there are `allowed` ids, no other provider is found. Every way to a provider, its
    client types and its clients begins in this class.
    """

    __slots__ = ("_cursor", "_locked", "_statements", "allowed")

    def __init__(self, cursor: Cursor, statements: ProviderStatements) -> None:
        self._cursor = cursor
        self._statements = statements
        self._locked: dict[tuple[int, Lock], Provider] = {}
        self.allowed: frozenset[int] = frozenset()

    def add(self, spec: ProviderSpec, uid: str, now: datetime) -> Provider:
        """Insert a provider. Raises: Precondition (there is no encryption key)."""
        values = {
            **self._statements.secrets.sealed(uid, fields.values_of(spec, PROVIDER)),
            "uid": uid,
            "create_time": now,
            "update_time": now,
        }
        return Provider(id=self._cursor.insert(Resource.PROVIDER, values), **values)

    def get(self, ref: Ref, lock: Lock | None = None) -> Provider:
        """The provider; with a lock, nothing else changes it until the transaction ends.

        Raises: NotFound.
        """
        id_ = self.id_of(ref)
        if lock and (found := self._locked.get((id_, lock))):
            return found
        for row in self._cursor.rows(self._statements.get[lock], which=id_):
            provider = Provider(**row)
            if lock:
                self._locked[id_, lock] = provider
            return provider
        raise NotFound(Resource.PROVIDER, ref)

    def id_of(self, ref: Ref) -> int:
        """The id of the provider; it may not exist if `ref` is its id. Raises: NotFound."""
        id_ = ref if isinstance(ref, int) else self._find(ref)
        if id_ is None or (self.allowed and id_ not in self.allowed):
            raise NotFound(Resource.PROVIDER, ref)
        return id_

    def _find(self, uid: str) -> int | None:
        for row in self._cursor.rows(self._statements.id_of, uid=uid.lower()):
            return int(row["id"])
        return None

    def require_unused(self, uid: str) -> None:
        """Accept a uid that no provider has. Raises: AlreadyExists."""
        if self._cursor.rows(self._statements.id_of, uid=uid):
            raise AlreadyExists(Resource.PROVIDER, uid)

    def list(self, where: Sequence[Condition], rows: PageRange) -> Page[Provider]:
        """The providers that meet all conditions, in ascending order of id."""
        statement = self._statements.list_allowed if self.allowed else self._statements.list
        values: dict[str, int] = {}
        if self.allowed:
            values = dict.fromkeys(_ALLOWED, 0) | dict(zip(_ALLOWED, self.allowed, strict=False))
        return statement.page(self._cursor, where, rows, **values)

    def update(self, stored: Provider, spec: ProviderSpec, now: datetime) -> Provider:
        """Update a provider. Raises: Precondition (there is no encryption key)."""
        values = self._statements.secrets.sealed(stored.uid, fields.values_of(spec, PROVIDER))
        self._locked.clear()
        changes = {**values, "update_time": now}
        self._cursor.change(self._statements.update, {**changes, "which": stored.id})
        return replace(stored, **changes)

    def remove(self, id_: int) -> None:
        """Delete a provider and its client types."""
        self._locked.clear()
        self._cursor.change(self._statements.remove, {"which": id_})
