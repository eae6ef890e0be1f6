"""The rows, as work in a transaction reads and writes them. One SQL for both databases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Table

from portal_server.domain.calls import Request
from portal_server.domain.client_type import ClientType, ClientTypeSpec
from portal_server.domain.errors import Resource
from portal_server.domain.identity import MAX_ID
from portal_server.domain.keys import Key
from portal_server.domain.lists import Condition, PageRange
from portal_server.domain.provider import Provider, ProviderSpec
from portal_server.storage.group import Adds
from portal_server.storage.lists import values_of
from portal_server.storage.queries import CLIENT_TYPE, PROVIDER, Queries
from portal_server.storage.sql.failures import no_ids
from portal_server.storage.sql.statements import Statement

Lock = Literal["shared", "exclusive"]
"""What others may do with a row until a write ends: read it, or nothing."""

# In the order in which new rows may refer to each other.
INSERTED = (PROVIDER, CLIENT_TYPE)
_TABLES = {Resource.PROVIDER: PROVIDER, Resource.CLIENT_TYPE: CLIENT_TYPE}

_SPEC_FIELDS = {kind: [f.name for f in fields(kind)] for kind in (ProviderSpec, ClientTypeSpec)}


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer of a request that was done. Its time is UTC."""

    digest: bytes
    fingerprint: bytes
    answer: bytes
    create_time: datetime
    key_id: str | None
    """None: a server of the version before has kept it, in its own form."""


class Transaction:
    """What work may do with rows. Nothing is stored before the work is done.

    Pieces of work that share a transaction share two savings. New rows get
    their ids at once, but are put off until `flush`, or until a statement may
    meet them: then many are inserted by one. And a provider that is held by a
    lock is not read again.
    """

    def __init__(self, cursor: Any, queries: Queries, adds: Adds = ()) -> None:
        """Take a cursor in a transaction, and what each piece of work will add."""
        self._cursor = cursor
        self._queries = queries
        self._adds = adds
        self._ids: dict[Table, list[int]] = {}
        self._put_off: dict[Table, list[dict[str, Any]]] = {table: [] for table in INSERTED}
        self._held: dict[tuple[int, Lock | None], Provider] = {}
        self.written = 0
        """How many statements have written."""

    def flush(self) -> None:
        """Insert the rows that were put off."""
        for table, rows in self._put_off.items():
            if rows:
                self._queries.insert_rows[table].run(self._cursor, rows)
                rows.clear()

    # Providers

    def add_provider(self, spec: ProviderSpec, uid: str, now: datetime) -> Provider:
        """Store a new provider."""
        values = {**_values(spec), "uid": uid, "create_time": now, "update_time": now}
        return Provider(id=self._insert(PROVIDER, values), **values)

    def find_provider(self, id_: int, lock: Lock | None = None) -> Provider | None:
        """The provider with this id; a lock keeps it as it is until the end of the write."""
        held = self._held.get((id_, lock))
        if held:
            return held
        for row in self._rows(self._queries.find_provider[lock], which=id_):
            provider = Provider(**row)
            if lock:
                self._held[id_, lock] = provider
            return provider
        return None

    def list_providers(self, where: Sequence[Condition], part: PageRange) -> list[Provider]:
        """Providers that meet all conditions, in ascending order of id."""
        query = self._queries.list_providers(where)
        return [Provider(**row) for row in self._rows(query, **_list_values(where, part))]

    def update_provider(self, id_: int, spec: ProviderSpec, now: datetime) -> None:
        """Write a provider."""
        self._held.clear()
        values = {**_values(spec), "update_time": now, "which": id_}
        self._change(self._queries.update_provider, values)

    def remove_provider(self, id_: int) -> bool:
        """Remove a provider and its client types; False when there is none."""
        self._held.clear()
        return self._change(self._queries.remove_provider, {"which": id_})

    # Client types

    def add_client_type(
        self, provider_id: int, spec: ClientTypeSpec, uid: str, now: datetime
    ) -> ClientType:
        """Store a new client type of a provider that exists."""
        values = {
            **_values(spec),
            "provider_id": provider_id,
            "uid": uid,
            "create_time": now,
            "update_time": now,
        }
        return ClientType(id=self._insert(CLIENT_TYPE, values), **values)

    def find_client_type(
        self, provider_id: int, id_: int, lock: Lock | None = None
    ) -> ClientType | None:
        """The client type with this id, if it is this provider's."""
        query = self._queries.find_client_type[lock]
        for row in self._rows(query, which=id_, of_provider=provider_id):
            return ClientType(**row)
        return None

    def list_client_types(
        self, provider_id: int, where: Sequence[Condition], part: PageRange
    ) -> list[ClientType]:
        """Client types of a provider that meet all conditions, in ascending order of id."""
        query = self._queries.list_client_types(where)
        values = _list_values(where, part)
        return [ClientType(**row) for row in self._rows(query, of_provider=provider_id, **values)]

    def all_client_types(self, provider_id: int, limit: int) -> list[ClientType]:
        """The first client types of a provider, in ascending order of id."""
        query = self._queries.all_client_types
        rows = self._rows(query, of_provider=provider_id, limit=limit)
        return [ClientType(**row) for row in rows]

    def measure_client_types(self, provider_id: int, limit: int) -> tuple[int, int]:
        """How many client types a provider has, at most `limit`, and the bytes of their texts."""
        (row,) = self._rows(self._queries.measure, of_provider=provider_id, limit=limit)
        return row["rows"], row["size"]

    def client_types_without_app_type(self, provider_id: int, limit: int) -> list[int]:
        """Ids of a provider's client types that have no Okta app type."""
        query = self._queries.without_app_type
        return [
            row["id"] for row in self._rows(query, of_provider=provider_id, after=0, limit=limit)
        ]

    def update_client_type(self, id_: int, spec: ClientTypeSpec, now: datetime) -> None:
        """Write a client type."""
        values = {**_values(spec), "update_time": now, "which": id_}
        self._change(self._queries.update_client_type, values)

    def remove_client_type(self, provider_id: int, id_: int) -> bool:
        """Remove a provider's client type; False when there is none."""
        values = {"which": id_, "of_provider": provider_id}
        return self._change(self._queries.remove_client_type, values)

    # Answers

    def add_answer(self, request: Request, answer: bytes, now: datetime) -> bool:
        """Keep the answer of a request; False when there is one already."""
        values = {
            "digest": request.digest,
            "fingerprint": request.fingerprint,
            "answer": answer,
            "create_time": now,
            "key_id": request.key_id,
        }
        return self._change(self._queries.add_answer, values)

    def find_answer(self, digest: bytes) -> KeptAnswer | None:
        """The kept answer of the request with this digest."""
        for row in self._rows(self._queries.find_answer, which=digest):
            return KeptAnswer(**row)
        return None

    def remove_answer(self, digest: bytes) -> None:
        """Remove the kept answer of the request with this digest, if any."""
        self._change(self._queries.remove_answer, {"which": digest})

    def oldest_answers(self, after: int, limit: int) -> list[tuple[int, datetime]]:
        """Id and time of the first answers after this id, in ascending order of id."""
        rows = self._rows(self._queries.oldest_answers, after=after, limit=limit)
        return [(row["id"], row["create_time"]) for row in rows]

    def remove_old_answers(self, after: int, upto: int, before: datetime) -> None:
        """Remove answers by id, `after` not included, that were kept before this time."""
        values = {"after": after, "upto": upto, "before": before}
        self._change(self._queries.remove_old_answers, values)

    def kept_bytes(self, since: datetime) -> list[tuple[str, datetime, int, int]]:
        """Key, minute, number and bytes of the answers that were kept since this time."""
        return [
            (
                row["key_id"],
                datetime.fromisoformat(row["minute"]).replace(tzinfo=UTC),
                row["rows"],
                row["size"],
            )
            for row in self._rows(self._queries.kept_bytes, since=since)
        ]

    # Keys

    def add_key(self, key: Key) -> None:
        """Store a new key."""
        values = {f.name: getattr(key, f.name) for f in fields(key)}
        self._change(self._queries.add_key, values)

    def find_key(self, key_id: str) -> Key | None:
        """The key of this name."""
        for row in self._rows(self._queries.find_key, which=key_id):
            return Key(**row)
        return None

    def lock_keys(self) -> None:
        """Let nobody else add a key until the end of the write."""
        if self._queries.lock_keys:
            self._queries.lock_keys.run(self._cursor, {})

    def list_keys(self) -> list[Key]:
        """All keys, oldest first."""
        return [Key(**row) for row in self._rows(self._queries.list_keys)]

    def revoke_key(self, key_id: str, now: datetime) -> bool:
        """Mark a good key revoked; False when there is none of this name."""
        return self._change(self._queries.revoke_key, {"which": key_id, "revoke_time": now})

    def _rows(self, statement: Statement, **values: Any) -> list[dict[str, Any]]:
        self.flush()
        return statement.rows(self._cursor, values)

    def _insert(self, table: Table, values: dict[str, Any]) -> int:
        """The id of a new row."""
        ids = self._ids.get(table)
        if ids is None:
            count = sum(kind is not None and _TABLES[kind] is table for kind in self._adds)
            if count < 2:  # noqa: PLR2004 - one alone
                self.written += 1
                (row,) = self._rows(self._queries.insert[table], **values)
                return _checked(row["id"])
            ids = self._ids[table] = []
            self._reserve(table, count)
        elif not ids:
            self._reserve(table, 1)
        id_ = _checked(ids.pop())
        self.written += 1
        self._put_off[table].append({"id": id_, **values})
        return id_

    def _reserve(self, table: Table, count: int) -> None:
        rows = self._rows(self._queries.reserve_ids[table], count=count)
        self._ids[table] += [row["id"] for row in reversed(rows)]

    def _change(self, statement: Statement, values: Mapping[str, Any]) -> bool:
        """Whether there was a row to change."""
        self.flush()
        statement.run(self._cursor, values)
        changed = bool(self._cursor.rowcount)
        self.written += changed
        return changed


def _checked(id_: int) -> int:
    """An id that is not past the last one. SQLite's own are longer, PostgreSQL refuses itself."""
    if id_ > MAX_ID:
        raise no_ids()
    return int(id_)


def _values(spec: ProviderSpec | ClientTypeSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in _SPEC_FIELDS[type(spec)]}


def _list_values(where: Sequence[Condition], part: PageRange) -> dict[str, Any]:
    return {
        "after": part.after,
        "limit": part.limit,
        "offset": part.offset,
        **values_of(where),
    }
