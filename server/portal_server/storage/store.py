"""Transactions and the rows they read and write. One SQL for both databases.

`Store.read` and `Store.write` run a piece of work in one transaction; the work
gets a `Transaction`, whose methods are all there is to do with rows.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from portal_server.domain.keys import Key
from portal_server.domain.model import (
    ClientType,
    ClientTypeSpec,
    Comparison,
    Condition,
    Provider,
    ProviderSpec,
    Slice,
)
from portal_server.storage.engine import for_reading, for_writing
from portal_server.storage.failures import translated
from portal_server.storage.tables import ApiKeyRow, ClientTypeRow, ProviderRow, Words

Result = TypeVar("Result")

Lock = Literal["shared", "exclusive"]
"""What others may do with a row until a write ends: read it, or nothing."""

_provider: Table = ProviderRow.__table__  # type: ignore[attr-defined]
_client_type: Table = ClientTypeRow.__table__  # type: ignore[attr-defined]
_api_key: Table = ApiKeyRow.__table__  # type: ignore[attr-defined]


class Store:
    """The portal's rows in a database."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine of `storage.engine`; its schema must be the newest."""
        self._engine = engine
        self._reader = for_reading(engine)
        self._writer = for_writing(engine)
        # SQLite has one writer at a time and lets the others poll; a lock lets
        # them queue. PostgreSQL has row locks.
        self._turn = threading.Lock() if engine.dialect.name == "sqlite" else None

    def read(self, work: Callable[["Transaction"], Result]) -> Result:
        """Run work that only reads, on one snapshot of one moment.

        Raises:
            PortalError: what the work raises, or a failure of the storage.
        """
        with translated(), self._reader.begin() as connection:
            return work(Transaction(connection))

    def write(self, work: Callable[["Transaction"], Result]) -> Result:
        """Run work that writes; when this returns, it is durable.

        Raises:
            PortalError: what the work raises, or a failure of the storage. Then
                nothing of it is stored, but for Unavailable and
                DeadlineExceeded, which leave that open.
        """
        if self._turn is None:
            return self._commit(work)
        with self._turn:
            return self._commit(work)

    def _commit(self, work: Callable[["Transaction"], Result]) -> Result:
        with translated(), self._writer.begin() as connection:
            return work(Transaction(connection))

    def close(self) -> None:
        """Close the connections; SQLite then folds its write-ahead log in."""
        self._engine.dispose()


class Transaction:
    """What work may do with rows. Nothing is stored before the work is done."""

    def __init__(self, connection: Connection) -> None:
        """Take a connection in a transaction."""
        self._connection = connection

    # Providers

    def add_provider(self, spec: ProviderSpec, uid: str, now: datetime) -> Provider:
        """Store a new provider."""
        values = {**asdict(spec), "uid": uid, "create_time": now, "update_time": now}
        return Provider(id=self._insert(_provider, values), **values)

    def find_provider(self, id_: int, lock: Lock | None = None) -> Provider | None:
        """The provider with this id; a lock keeps it as it is until the end of the write."""
        query = _locked(select(_provider).where(_provider.c.id == _any(id_)), lock)
        row = self._connection.execute(query).mappings().first()
        return None if row is None else Provider(**row)

    def list_providers(self, where: Sequence[Condition], part: Slice) -> list[Provider]:
        """Providers that meet all conditions, in ascending order of id."""
        query = _sliced(select(_provider), _provider, where, part)
        return [Provider(**row) for row in self._connection.execute(query).mappings()]

    def update_provider(self, id_: int, spec: ProviderSpec, now: datetime) -> None:
        """Write a provider."""
        values = {**asdict(spec), "update_time": now}
        self._connection.execute(update(_provider).where(_provider.c.id == _any(id_)), values)

    def remove_provider(self, id_: int) -> bool:
        """Remove a provider and its client types; False when there is none."""
        return self._delete(_provider, _provider.c.id == _any(id_))

    # Client types

    def add_client_type(
        self, provider_id: int, spec: ClientTypeSpec, uid: str, now: datetime
    ) -> ClientType:
        """Store a new client type of a provider that exists."""
        values = {
            **asdict(spec),
            "provider_id": provider_id,
            "uid": uid,
            "create_time": now,
            "update_time": now,
        }
        return ClientType(id=self._insert(_client_type, values), **values)

    def find_client_type(
        self, provider_id: int, id_: int, lock: Lock | None = None
    ) -> ClientType | None:
        """The client type with this id, if it is this provider's."""
        query = _locked(select(_client_type).where(_is(provider_id, id_)), lock)
        row = self._connection.execute(query).mappings().first()
        return None if row is None else ClientType(**row)

    def list_client_types(
        self, provider_id: int, where: Sequence[Condition], part: Slice | None
    ) -> list[ClientType]:
        """Client types of a provider that meet all conditions, in ascending order of id.

        `part` None is all of them.
        """
        query = select(_client_type).where(_client_type.c.provider_id == _any(provider_id))
        query = _sliced(query, _client_type, where, part)
        return [ClientType(**row) for row in self._connection.execute(query).mappings()]

    def client_types_without_app_type(self, provider_id: int, limit: int) -> list[int]:
        """Ids of a provider's client types that have no Okta app type."""
        query = (
            select(_client_type.c.id)
            .where(_client_type.c.provider_id == _any(provider_id))
            .where(_client_type.c.okta_app_type.is_(None))
            .order_by(_client_type.c.id)
            .limit(limit)
        )
        return list(self._connection.execute(query).scalars())

    def update_client_type(self, id_: int, spec: ClientTypeSpec, now: datetime) -> None:
        """Write a client type."""
        values = {**asdict(spec), "update_time": now}
        self._connection.execute(update(_client_type).where(_client_type.c.id == _any(id_)), values)

    def remove_client_type(self, provider_id: int, id_: int) -> bool:
        """Remove a provider's client type; False when there is none."""
        return self._delete(_client_type, _is(provider_id, id_))

    # Keys

    def add_key(self, key: Key) -> None:
        """Store a new key."""
        self._connection.execute(insert(_api_key), asdict(key))

    def find_key(self, key_id: str) -> Key | None:
        """The key of this name."""
        query = select(_api_key).where(_api_key.c.key_id == key_id)
        row = self._connection.execute(query).mappings().first()
        return None if row is None else Key(**row)

    def list_keys(self) -> list[Key]:
        """All keys, oldest first."""
        query = select(_api_key).order_by(_api_key.c.create_time, _api_key.c.key_id)
        return [Key(**row) for row in self._connection.execute(query).mappings()]

    def revoke_key(self, key_id: str, now: datetime) -> bool:
        """Mark a good key revoked; False when there is none of this name."""
        good = (_api_key.c.key_id == key_id) & _api_key.c.revoke_time.is_(None)
        return bool(
            self._connection.execute(update(_api_key).where(good).values(revoke_time=now)).rowcount
        )

    def _insert(self, table: Table, values: dict[str, Any]) -> int:
        added = self._connection.execute(insert(table).returning(table.c.id), values)
        return int(added.scalar_one())

    def _delete(self, table: Table, where: ColumnElement[bool]) -> bool:
        return bool(self._connection.execute(delete(table).where(where)).rowcount)


def _any(id_: int) -> ColumnElement[int]:
    # As a column's own type PostgreSQL would refuse a number that is too big for
    # it, instead of finding no row.
    return literal(id_, BigInteger)


def _is(provider_id: int, id_: int) -> ColumnElement[bool]:
    return (_client_type.c.id == _any(id_)) & (_client_type.c.provider_id == _any(provider_id))


def _locked(query: Select[Any], lock: Lock | None) -> Select[Any]:
    # SQLite needs none and writes none: its writers take turns.
    return query if lock is None else query.with_for_update(read=lock == "shared")


def _sliced(
    query: Select[Any], table: Table, where: Sequence[Condition], part: Slice | None
) -> Select[Any]:
    query = query.where(*(_meets(table.c[c.field], c) for c in where)).order_by(table.c.id)
    if part is None:
        return query
    return query.where(table.c.id > _any(part.after)).offset(part.offset).limit(part.limit)


def _meets(column: Column[Any], condition: Condition) -> ColumnElement[bool]:
    value = condition.value
    match condition.comparison:
        case Comparison.EQUALS:
            # Not `=`: an unset column is a value here, as in the filter language.
            return column.is_not_distinct_from(value)
        case Comparison.DIFFERS:
            return column.is_distinct_from(value)
        case Comparison.HAS if isinstance(column.type, Words):
            # A word with its quotes is nowhere in the JSON but as an element.
            return cast(column, Text).contains(f'"{value}"', autoescape=True)
        case Comparison.HAS:
            # LIKE ignores case in SQLite and keeps it in PostgreSQL; this keeps it in both.
            return func.replace(column, bindparam(None, value), "") != column
