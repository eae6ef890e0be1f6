"""The numbers of a database that the metrics have, on both databases."""

import os
from datetime import UTC, datetime

from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.statistics import Statistics
from portal_server.storage.store import Store
from tests.support.catalog import CALL, VAULT
from tests.support.databases import MIGRATED
from tests.support.postgres import Postgres


def statistics(store: Store) -> Statistics:
    return store.statistics(CALL, datetime.now(UTC))


def test_an_empty_database_has_a_size_and_no_rows(store: Store) -> None:
    found = statistics(store)

    assert found.size > 10_000
    assert (found.clients, found.keys, found.kept_responses, found.kept_bytes) == ({}, {}, 0, 0)


def test_what_a_replication_slot_keeps_is_counted(postgres: Postgres) -> None:
    name = f"slot_{os.getpid()}"
    engine = open_engine(parse_url(postgres.new_database(name, MIGRATED)))
    store = Store(engine, VAULT)
    postgres.execute(f"SELECT pg_create_physical_replication_slot('{name}', true)")
    try:
        before = statistics(store).retained_wal
        postgres.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000))")
        after = statistics(store).retained_wal
    finally:
        postgres.execute(f"SELECT pg_drop_replication_slot('{name}')")
        engine.dispose()

    assert after - before >= 100_000
