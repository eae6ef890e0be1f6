"""The audit log: one event for each write, in an order that is sealed and cannot be changed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, exc, text

from portal_server.catalog.api_keys import ApiKeys, Rotation
from portal_server.catalog.audit_log import AuditLog
from portal_server.catalog.audit_verification import InvalidHead, Report, verify
from portal_server.catalog.rotation import encrypt_again
from portal_server.catalog.sealer import Sealer
from portal_server.catalog.updates import Change
from portal_server.domain.api_key import ApiKeyDraft
from portal_server.domain.audit import (
    START,
    AuditAction,
    AuditKind,
    AuditOutcome,
    Event,
    Place,
    Placed,
    Range,
)
from portal_server.domain.calls import Call, IdempotencyKey, Origin
from portal_server.domain.client_type import ClientTypeDraft, GrantType, ResponseType
from portal_server.domain.errors import Aborted, Invalid, OutOfRange
from portal_server.domain.keys import Caller, Role
from portal_server.domain.lists import Comparison, Condition
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.storage.encryption import Vault
from portal_server.storage.rows.audit import AuditRows
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.store import Store, Transaction
from tests.storage.test_backup import restored, written
from tests.support.catalog import CALL, KEY, VAULT, Catalog
from tests.support.stack import soon

PROVIDER = ProviderDraft(
    name="p",
    type=ProviderType.OTHER,
    well_known_uri="https://idp.test/x",
    registration_access_token="a-very-secret-token",  # noqa: S106
)
CLIENT_TYPE = ClientTypeDraft(
    name="web",
    response_types=(ResponseType.CODE,),
    grant_types=(GrantType.AUTHORIZATION_CODE,),
)
BY = replace(
    CALL,
    caller=Caller("3fR0aQ2x", Role.ADMIN),
    origin=Origin("/a.Service/Method", "0af7651916cd43dd8448eb211c80319c", "192.0.2.1"),
)


def seal(store: Store) -> None:
    """Seal all events, as a server that ends right after it."""
    sealer = Sealer(store)
    sealer.seal()
    sealer.release()


def sealed(store: Store) -> list[Event]:
    """All events, after they were sealed."""
    seal(store)
    return [placed.event for placed in AuditLog(store).list(CALL, START, 1000).items]


def test_each_write_has_an_event_with_who_what_and_from_where(
    store: Store, catalog: Catalog
) -> None:
    created = catalog.providers.create(BY, PROVIDER)
    change = Change(replace(PROVIDER, name="q"), {"name"})
    updated = catalog.providers.update(BY, created.id, change)
    catalog.providers.delete(BY, created.id)
    first, second, third = sealed(store)

    assert [e.action for e in (first, second, third)] == [
        AuditAction.CREATE,
        AuditAction.UPDATE,
        AuditAction.DELETE,
    ]
    assert [(e.etag_before, e.etag_after) for e in (first, second, third)] == [
        ("", created.etag),
        (created.etag, updated.etag),
        (updated.etag, ""),
    ]
    assert (first.key_id, first.address, first.trace_id, first.method) == (
        "3fR0aQ2x",
        "192.0.2.1",
        "0af7651916cd43dd8448eb211c80319c",
        "/a.Service/Method",
    )
    assert (first.kind, first.uid, first.resource_id, first.provider_id) == (
        AuditKind.PROVIDER,
        created.uid,
        created.id,
        created.id,
    )
    assert (json.loads(second.before)["name"], json.loads(second.after)["name"]) == ("p", "q")
    assert (first.before, third.after, first.outcome) == ("", "", AuditOutcome.DONE)


def test_no_event_has_a_secret(store: Store, catalog: Catalog) -> None:
    catalog.providers.create(BY, PROVIDER)
    made = ApiKeys(store).create(BY, ApiKeyDraft(role=Role.ADMIN, note="a note"))
    [provider, created] = sealed(store)

    assert json.loads(provider.after)["registration_access_token"] == "set"  # noqa: S105
    assert "a-very-secret-token" not in provider.after
    assert "enc:v1" not in provider.after
    assert json.loads(created.after)["note"] == "a note"
    assert not {"digest", "previous_secrets"} & json.loads(created.after).keys()
    assert made.text.split("_")[2] not in created.after
    assert (created.kind, created.uid) == (AuditKind.API_KEY, made.api_key.id)


def test_each_change_of_an_api_key_has_an_event(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal_server.catalog.api_keys.REMEMBERED_S", 0.0)
    api_keys = ApiKeys(store)
    key_id = api_keys.create(BY, ApiKeyDraft(role=Role.VIEWER)).api_key.id
    api_keys.update(BY, key_id, Change(ApiKeyDraft(note="new"), {"note"}))
    made = api_keys.rotate(BY, key_id, Rotation(overlap_s=60))
    last = api_keys.revoke(BY, key_id)
    api_keys.revoke(BY, key_id)
    events = sealed(store)

    assert [event.uid for event in events] == [key_id] * 4
    assert [event.action for event in events] == [AuditAction.CREATE, *[AuditAction.UPDATE] * 3]
    assert events[2].etag_after == events[3].etag_before == made.api_key.etag
    assert events[3].etag_after == last.etag
    assert "digest" not in "".join(event.after for event in events)


def test_a_write_that_was_rejected_validated_or_done_before_has_no_event(
    store: Store, catalog: Catalog
) -> None:
    provider = catalog.providers.create(BY, PROVIDER)
    once = replace(BY, idempotency=IdempotencyKey(b"d", b"f", "k"))
    catalog.client_types.create(once, provider.id, CLIENT_TYPE)
    catalog.client_types.create(once, provider.id, CLIENT_TYPE)
    catalog.client_types.create(replace(BY, validate_only=True), provider.id, CLIENT_TYPE)
    with pytest.raises(Invalid):
        catalog.client_types.create(BY, provider.id, ClientTypeDraft())
    with pytest.raises(Aborted):
        catalog.providers.update(BY, provider.id, Change(PROVIDER, {"name"}, {"another"}))

    assert [event.kind for event in sealed(store)] == [AuditKind.PROVIDER, AuditKind.CLIENT_TYPE]


@pytest.mark.parametrize("deletes", ["delete", "forget"])
def test_a_provider_is_deleted_with_an_event_for_each_client_type(
    store: Store, catalog: Catalog, deletes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal_server.catalog.providers.PIECE", 3)
    provider = catalog.providers.create(BY, PROVIDER)
    types = [catalog.client_types.create(BY, provider.id, CLIENT_TYPE) for _ in range(8)]
    getattr(catalog.providers, deletes)(BY, provider.id)
    deleted = [event for event in sealed(store) if event.action is AuditAction.DELETE]

    assert sorted(e.uid for e in deleted) == sorted([provider.uid, *(t.uid for t in types)])
    assert deleted[-1].uid == provider.uid


def test_commands_on_the_database_have_events(store: Store, catalog: Catalog) -> None:
    catalog.providers.create(BY, PROVIDER)
    command = Call(origin=Origin("portal encryption rotate"))
    other = Store(store._engine, Vault([bytes(32), KEY]))  # noqa: SLF001
    encrypt_again(other, command, lambda _table, _count: None)
    api_keys = ApiKeys(store)
    api_keys.revoke(BY, api_keys.create(BY, ApiKeyDraft(role=Role.VIEWER)).api_key.id)
    _, rotated, created, revoked = sealed(store)

    assert (rotated.kind, rotated.action, rotated.method) == (
        AuditKind.DATABASE,
        AuditAction.MAINTAIN,
        "portal encryption rotate",
    )
    assert json.loads(rotated.after) == {"table": "provider", "secrets": 1, "last_id": 1}
    assert (created.action, revoked.action) == (AuditAction.CREATE, AuditAction.UPDATE)


@pytest.mark.parametrize("table", ["audit_event", "audit_seal"])
@pytest.mark.parametrize("change", ["UPDATE {} SET hash = 'x'", "DELETE FROM {}"])
def test_events_and_seals_cannot_be_changed(
    store: Store, catalog: Catalog, engine: Engine, table: str, change: str
) -> None:
    catalog.providers.create(BY, PROVIDER)
    sealed(store)
    column = "digest" if table == "audit_event" else "hash"
    sql = change.format(table).replace("hash", column)
    with engine.connect() as connection, pytest.raises(exc.DBAPIError, match="append-only"):
        connection.execute(text(sql))

    assert len(sealed(store)) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("table", ["audit_event", "audit_seal"])
def test_events_and_seals_cannot_be_truncated(engine: Engine, table: str) -> None:
    with engine.connect() as connection, pytest.raises(exc.DBAPIError, match="append-only"):
        connection.execute(text(f"TRUNCATE {table}"))


def test_events_of_one_transaction_keep_their_order(store: Store) -> None:
    def work(tx: Transaction) -> None:
        for number in range(700):
            tx.audit.add_maintenance(CALL, {"number": number})

    store.write(CALL, work)

    assert [json.loads(e.after)["number"] for e in sealed(store)] == list(range(700))


def test_a_transaction_that_is_rolled_back_has_no_event(store: Store) -> None:
    def work(tx: Transaction) -> None:
        tx.audit.add_maintenance(CALL, {})
        raise Invalid

    with pytest.raises(Invalid):
        store.write(CALL, work)

    assert sealed(store) == []


def test_pages_follow_the_final_order(store: Store, catalog: Catalog) -> None:
    for _ in range(3):
        for _ in range(4):
            catalog.providers.create(BY, PROVIDER)
        seal(store)
    log = AuditLog(store)
    found: list[Placed] = []
    page = log.list(CALL, START, 5)
    while page.items:
        found += page.items
        page = log.list(CALL, page.last, 5)

    assert [placed.place.position for placed in found] == list(range(1, 13))
    assert [placed.event.resource_id for placed in found] == list(range(1, 13))


def test_a_filter_selects_events(store: Store, catalog: Catalog) -> None:
    provider = catalog.providers.create(BY, PROVIDER)
    catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)
    sealed(store)
    log = AuditLog(store)

    def kinds(*where: Condition) -> list[AuditKind]:
        return [placed.event.kind for placed in log.list(CALL, START, 10, where).items]

    assert kinds(Condition("kind", Comparison.EQUALS, "provider")) == [AuditKind.PROVIDER]
    assert kinds(Condition("key_id", Comparison.DIFFERS, "3fR0aQ2x")) == [AuditKind.CLIENT_TYPE]
    assert kinds(Condition("method", Comparison.HAS, "Service")) == [AuditKind.PROVIDER]


# The order on PostgreSQL


@contextmanager
def open_transaction(engine: Engine) -> Iterator[Any]:
    """Another connection, which commits at the end of the block."""
    with psycopg.connect(
        engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    ) as connection:
        yield connection


def insert_event(connection: Any, number: int) -> None:
    columns = [name for name in Event._fields if name != "create_time"]
    event = Event(
        create_time=datetime.now(UTC),
        kind=AuditKind.DATABASE,
        action=AuditAction.MAINTAIN,
        outcome=AuditOutcome.DONE,
        resource_id=0,
        provider_id=0,
        **dict.fromkeys(
            ("key_id", "address", "trace_id", "method", "uid", "etag_before", "etag_after"), ""
        ),
        before="",
        after=json.dumps({"number": number}),
    )
    names = ["create_time", *columns, "digest"]
    connection.execute(
        f"INSERT INTO audit_event ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})",  # noqa: S608
        [event.create_time, *(getattr(event, name) for name in columns), event.digest()],
    )


def numbers(store: Store) -> list[int]:
    return [
        json.loads(placed.event.after)["number"]
        for placed in AuditLog(store).list(CALL, START, 99).items
    ]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_event_that_is_committed_late_is_sealed_late(store: Store, engine: Engine) -> None:
    first, second = Sealer(store), Sealer(store)
    with open_transaction(engine) as late:
        insert_event(late, 1)
        with open_transaction(engine) as early:
            insert_event(early, 2)
        for _ in range(3):  # as long as it is open, it is missing
            first.seal()
        assert numbers(store) == [2]
    assert second.seal() == 0  # the lease is held
    assert first.seal() == 1
    head = AuditLog(store).head(CALL)

    assert head
    assert head.missing == []
    assert first.seal() == 0
    assert numbers(store) == [2, 1]
    assert not verify(store, CALL).problems


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_events_that_are_committed_while_a_sealer_reads_keep_their_order(
    store: Store, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealer, read = Sealer(store), AuditRows.digests
    statements: list[Range] = []

    def digests(rows: AuditRows, ids: Range, limit: int) -> list[tuple[int, str]]:
        found = read(rows, ids, limit)
        statements.append(ids)
        if len(statements) == 1:  # the sealer has another statement to run
            late.commit()
            with open_transaction(engine) as later:
                insert_event(later, 3)
        return found

    with open_transaction(engine) as late:
        insert_event(late, 1)
        with open_transaction(engine) as early:
            insert_event(early, 2)
        sealer.seal()
        with open_transaction(engine) as early:  # so that there is something to seal
            insert_event(early, 4)
        monkeypatch.setattr(AuditRows, "digests", digests)
        sealer.seal()
    sealer.seal()

    assert len(statements) > 1
    found = numbers(store)
    assert sorted(found) == [1, 2, 3, 4]
    assert found.index(1) < found.index(3)
    assert not verify(store, CALL).problems


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_id_that_was_rolled_back_is_not_looked_for_forever(store: Store, engine: Engine) -> None:
    sealer = Sealer(store)
    with open_transaction(engine) as rolled_back:
        insert_event(rolled_back, 1)
        with open_transaction(engine) as other:
            insert_event(other, 2)
        rolled_back.rollback()
    sealer.seal()
    head = AuditLog(store).head(CALL)
    assert head
    assert head.missing == [(1, 1)]
    more = count(3)

    def is_gone() -> bool:
        with open_transaction(engine) as other:
            insert_event(other, next(more))
        sealer.seal()
        head = AuditLog(store).head(CALL)
        return head is not None and head.missing == []

    # Transactions of other databases of the cluster, of other tests, also have to end.
    assert soon(is_gone, 20)
    assert numbers(store) == list(range(2, next(more)))


# Verification


def filled(store: Store, catalog: Catalog) -> Report:
    """A log with four seals of two events; its report."""
    for _ in range(4):
        catalog.providers.create(BY, PROVIDER)
        catalog.providers.create(BY, PROVIDER)
        seal(store)
    return verify(store, CALL)


@contextmanager
def unprotected(engine: Engine) -> Iterator[Callable[[str], object]]:
    """Run statements as someone who can disable the triggers."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            for table in ("audit_event", "audit_seal"):
                for what in ("update", "delete"):
                    connection.execute(text(f"DROP TRIGGER {table}_no_{what}"))
        else:
            for table in ("audit_event", "audit_seal"):
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER append_only"))
        yield lambda sql: connection.execute(text(sql))


def test_an_unchanged_log_is_verified(store: Store, catalog: Catalog) -> None:
    before = filled(store, catalog)
    catalog.providers.create(BY, PROVIDER)
    report = verify(store, CALL, before.head)

    assert (report.verified, report.removed, report.unsealed) == (8, 0, 1)
    assert report.problems == []


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE audit_event SET key_id = 'x' WHERE id = 3", "the event at position 3 was changed"),
        ("UPDATE audit_event SET after = '' WHERE id = 3", "the event at position 3 was changed"),
        ("DELETE FROM audit_event WHERE id = 4", "the events at positions 4 to 4 are missing"),
        ("DELETE FROM audit_event WHERE id < 7", "the events at positions 1 to 6 are missing"),
        ("UPDATE audit_event SET digest = 'x' WHERE id = 3", "position 3 was changed"),
        ("UPDATE audit_seal SET content_hash = 'x' WHERE position = 4", "position 4 was changed"),
        ("DELETE FROM audit_seal WHERE position = 4", "seals are missing between"),
        ("DELETE FROM audit_seal WHERE position = 2", "seals are missing between"),
        ("UPDATE audit_seal SET last_id = 9 WHERE position = 8", "position 8 was changed"),
        ("DELETE FROM audit_seal WHERE position = 8", "no seal at the expected position 8"),
    ],
)
def test_a_change_is_reported(
    store: Store, catalog: Catalog, engine: Engine, sql: str, problem: str
) -> None:
    head = filled(store, catalog).head
    with unprotected(engine) as run:
        run(sql)

    assert any(problem in one for one in verify(store, CALL, head).problems)


def test_a_consistent_change_is_reported_too(
    store: Store, catalog: Catalog, engine: Engine
) -> None:
    filled(store, catalog)
    stored = store.read_latest(CALL, lambda tx: tx.audit.events((3, 3), 1))[0].event
    digest = stored._replace(key_id="x").digest()
    with unprotected(engine) as run:
        run(f"UPDATE audit_event SET key_id = 'x', digest = '{digest}' WHERE id = 3")  # noqa: S608

    [problem] = verify(store, CALL).problems
    assert problem == "events of the seal at position 4 were changed"


def test_an_inserted_event_is_reported(store: Store, catalog: Catalog, engine: Engine) -> None:
    filled(store, catalog)
    columns = ", ".join([*Event._fields, "digest"])
    with unprotected(engine) as run:
        run(
            f"INSERT INTO audit_event (id, {columns}) SELECT -1, {columns} FROM audit_event"  # noqa: S608
            " WHERE id = 3"
        )

    assert "1 events are in no seal: they were inserted later" in verify(store, CALL).problems


def test_an_expected_head_must_be_one(store: Store) -> None:
    with pytest.raises(InvalidHead):
        verify(store, CALL, "3:abc")


def test_a_removal_is_recorded_and_keeps_the_chain(
    store: Store, catalog: Catalog, engine: Engine
) -> None:
    head = filled(store, catalog).head
    command = Call(origin=Origin("portal audit prune"))
    log = AuditLog(store)
    # The two newest seals stay.
    times = [seal.create_time for seal in store.read_latest(CALL, lambda tx: tx.audit.seals(0, 9))]
    assert log.prune(command, times[2]) == 4
    assert log.prune(command, times[2] - timedelta(days=1)) == 0
    catalog.providers.create(BY, PROVIDER)
    events = sealed(store)
    report = verify(store, CALL, head)

    assert [event.method for event in events] == [
        *["/a.Service/Method"] * 4,
        "portal audit prune",
        "/a.Service/Method",
    ]
    assert (report.verified, report.removed, report.problems) == (6, 4, [])
    assert [p.place.position for p in log.list(CALL, START, 9).items] == [5, 6, 7, 8, 9, 10]
    assert not log.list(CALL, replace(START, position=2), 9).complete
    assert log.list(CALL, replace(START, position=4), 9).complete
    with engine.connect() as connection, pytest.raises(exc.DBAPIError, match="append-only"):
        connection.execute(text("DELETE FROM audit_event"))


def test_the_etags_of_a_resource_form_a_chain(store: Store, catalog: Catalog) -> None:
    provider = catalog.providers.create(BY, PROVIDER)
    for number in range(5):
        change = Change(replace(PROVIDER, name=str(number)), {"name"})
        catalog.providers.update(BY, provider.id, change)

    assert all(a.etag_after == b.etag_before for a, b in pairwise(sealed(store)))


def test_a_place_outlives_a_restore_and_one_after_the_backup_is_unknown(
    store: Store, catalog: Catalog, engine: Engine, empty_url: str, tmp_path: Path
) -> None:
    log = AuditLog(store)
    places: list[Place] = []
    for _ in range(3):
        if len(places) == 2:
            file = written(engine, tmp_path)
        catalog.providers.create(BY, PROVIDER)
        catalog.providers.create(BY, PROVIDER)
        seal(store)
        places.append(log.begin(CALL, None))
    target = open_engine(parse_url(empty_url.replace("/portal.db", "/restored.db")))
    restored(target, file)
    other = Store(target, VAULT)
    copy = AuditLog(other)

    assert [p.place.position for p in copy.list(CALL, places[0], 9).items] == [3, 4]
    assert [copy.begin(CALL, place) for place in places[:2]] == places[:2]
    with pytest.raises(OutOfRange):
        copy.begin(CALL, places[2])
    for _ in range(3):
        Catalog(other).providers.create(BY, PROVIDER)
    seal(other)
    with pytest.raises(OutOfRange):
        copy.begin(CALL, places[2])
    assert [p.place.position for p in copy.list(CALL, places[1], 9).items] == [5, 6, 7]
    assert verify(other, CALL).problems == []
    other.close()


def test_a_place_whose_next_events_were_removed_has_expired(store: Store, catalog: Catalog) -> None:
    filled(store, catalog)
    log = AuditLog(store)
    [first, *_] = log.list(CALL, START, 9).items
    times = [seal.create_time for seal in store.read_latest(CALL, lambda tx: tx.audit.seals(0, 9))]
    log.prune(BY, times[2])
    with pytest.raises(OutOfRange, match="were removed"):
        log.begin(CALL, first.place)

    assert log.begin(CALL, log.list(CALL, START, 1).items[0].place).position == 5
