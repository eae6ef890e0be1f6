"""The rows of API keys.

Servers of the previous version read them too. They know two roles, and neither limits nor
expiry, but they reject the format of the keys that this version creates.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import JSON, LargeBinary, String, Table, bindparam, insert, or_, select, update
from sqlmodel import Field, SQLModel

from portal_server.domain.api_key import ApiKey, ApiKeySpec, PreviousSecret
from portal_server.domain.errors import NotFound, Resource
from portal_server.domain.keys import Role
from portal_server.storage.inserts import Cursor
from portal_server.storage.sql import dialects
from portal_server.storage.sql.clauses import LIMIT, OFFSET, locked
from portal_server.storage.sql.statements import Statement
from portal_server.storage.sql.types import UtcTime, Word

_OLD_ROLES = (Role.ADMIN, Role.VIEWER)


class ApiKeyRow(SQLModel, table=True):
    """An API key: the digests of its secrets, never its text."""

    __tablename__: ClassVar[Any] = "api_key"

    key_id: str = Field(max_length=8, primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary, repr=False)
    role: Role = Field(sa_type=Word(Role))
    note: str
    create_time: datetime = Field(sa_type=UtcTime)
    revoke_time: datetime | None = Field(sa_type=UtcTime)
    # The role, if the previous version does not know it: it reads "viewer" in `role`.
    new_role: Role | None = Field(sa_type=Word(Role))
    expire_time: datetime | None = Field(sa_type=UtcTime)
    provider_ids: list[int] | None = Field(sa_type=JSON(none_as_null=True))
    requests_per_second: int | None = Field()
    burst: int | None = Field()
    # Digests in hexadecimal, and times in ISO 8601.
    previous_secrets: list[list[str]] | None = Field(sa_type=JSON(none_as_null=True), repr=False)
    # None: it was not changed since it was created.
    update_time: datetime | None = Field(sa_type=UtcTime)
    last_use_time: datetime | None = Field(sa_type=UtcTime)


TABLE: Table = ApiKeyRow.__table__  # type: ignore[attr-defined]

_COLUMNS = [column.name for column in TABLE.c]
_CHANGES = [name for name in _COLUMNS if name not in ("key_id", "create_time", "last_use_time")]
_this = TABLE.c.key_id == bindparam("which", type_=String)


class ApiKeyStatements:
    """The statements, compiled for one dialect."""

    def __init__(self, dialect: sqlalchemy.Dialect) -> None:
        self.add = Statement(insert(TABLE), dialect, *_COLUMNS)
        self.find = Statement(select(TABLE).where(_this), dialect)
        self.get = locked(select(TABLE).where(_this), dialect)
        oldest = select(TABLE).order_by(TABLE.c.create_time, TABLE.c.key_id)
        self.all = Statement(oldest, dialect)
        self.page = Statement(oldest.limit(LIMIT).offset(OFFSET), dialect)
        self.save = Statement(update(TABLE).where(_this), dialect, *_CHANGES)
        used = TABLE.c.last_use_time
        before = used < bindparam("before", type_=used.type)
        is_old = or_(used.is_(None), before)
        self.note_use = Statement(update(TABLE).where(_this, is_old), dialect, "last_use_time")
        self.lock = dialects.of(dialect).lock_table


class ApiKeyRows:
    """The API keys, in one transaction."""

    __slots__ = ("_cursor", "_statements")

    def __init__(self, cursor: Cursor, statements: ApiKeyStatements) -> None:
        self._cursor = cursor
        self._statements = statements

    def add(self, key: ApiKey) -> None:
        """Insert an API key."""
        self._cursor.change(self._statements.add, _to_row(key))

    def find(self, key_id: str) -> ApiKey | None:
        """The API key with this id."""
        for row in self._cursor.rows(self._statements.find, which=key_id):
            return _from_row(row)
        return None

    def get(self, key_id: str) -> ApiKey:
        """The API key with this id, locked until the transaction ends. Raises: NotFound."""
        for row in self._cursor.rows(self._statements.get["exclusive"], which=key_id):
            return _from_row(row)
        raise NotFound(Resource.API_KEY, key_id)

    def lock(self) -> None:
        """Prevent others from changing API keys until the transaction ends."""
        if self._statements.lock:
            self._cursor.execute(self._statements.lock.format(TABLE.name))

    def all(self) -> list[ApiKey]:
        """All API keys, oldest first."""
        return list(map(_from_row, self._cursor.rows(self._statements.all)))

    def page(self, offset: int, limit: int) -> list[ApiKey]:
        """Some API keys, oldest first."""
        rows = self._cursor.rows(self._statements.page, offset=offset, limit=limit)
        return list(map(_from_row, rows))

    def save(self, key: ApiKey) -> None:
        """Store a changed API key."""
        row = _to_row(key)
        changes = {name: row[name] for name in _CHANGES}
        self._cursor.change(self._statements.save, {"which": key.id, **changes})

    def note_use(self, key_id: str, time: datetime) -> bool:
        """Store that an API key was used at this time; False if a later use is stored."""
        values = {"which": key_id, "last_use_time": time, "before": time}
        return self._cursor.change(self._statements.note_use, values)


def _to_row(key: ApiKey) -> dict[str, Any]:
    values = {name: getattr(key, name) for name in ApiKeySpec.__dataclass_fields__}
    known = key.role in _OLD_ROLES
    return values | {
        "key_id": key.id,
        "digest": key.digest,
        "role": key.role if known else Role.VIEWER,
        "new_role": None if known else key.role,
        "create_time": key.create_time,
        "update_time": key.update_time,
        "revoke_time": key.revoke_time,
        "last_use_time": key.last_use_time,
        "previous_secrets": [
            [one.digest.hex(), one.expire_time.isoformat()] for one in key.previous_secrets
        ],
    }


def _from_row(row: Mapping[str, Any]) -> ApiKey:
    values = {name: row[name] for name in ApiKeySpec.__dataclass_fields__}
    values["role"] = row["new_role"] or row["role"]
    values["provider_ids"] = tuple(row["provider_ids"] or ())
    return ApiKey(
        **values,
        id=row["key_id"],
        digest=row["digest"],
        create_time=row["create_time"],
        update_time=row["update_time"] or row["create_time"],
        revoke_time=row["revoke_time"],
        last_use_time=row["last_use_time"],
        previous_secrets=tuple(
            PreviousSecret(digest=bytes.fromhex(one), expire_time=datetime.fromisoformat(end))
            for one, end in row["previous_secrets"] or ()
        ),
    )
