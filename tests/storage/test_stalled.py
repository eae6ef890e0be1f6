"""While no write is confirmed, each ends in time, and reads go on."""

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from portal_server.catalog.updates import Change
from portal_server.domain.calls import Call
from portal_server.domain.errors import Abandoned, PortalError, Unavailable
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.sql.migrations import migrate
from portal_server.storage.sql.transactions import RETRY_PAUSE_S
from portal_server.storage.store import Store
from tests.support.catalog import CALL, Catalog
from tests.support.postgres import Postgres, running_postgres

PROVIDER = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
REASONS = {"OUTCOME_UNKNOWN", "WRITES_STALLED"}


@dataclass
class End:
    """How a call ended: with an error or None, after so many seconds."""

    error: PortalError | None
    took: float


def end_of(call: Callable[[], object]) -> End:
    start = time.monotonic()
    try:
        call()
    except PortalError as error:
        return End(error, time.monotonic() - start)
    return End(None, time.monotonic() - start)


@contextmanager
def writing(catalog: Catalog, writes: int) -> Iterator[list[Future[End]]]:
    """This many concurrent writes; at the end all have ended."""
    with ThreadPoolExecutor(writes) as pool:
        yield [
            pool.submit(end_of, lambda: catalog.providers.create(CALL, PROVIDER))
            for _ in range(writes)
        ]


def slowest_read(catalog: Catalog, id_: int, seconds: float) -> float:
    slowest, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        end = end_of(lambda: catalog.providers.get(CALL, id_))
        assert end.error is None
        slowest = max(slowest, end.took)
        time.sleep(0.02)
    return slowest


def assert_unknown(ends: list[End], within: float) -> None:
    assert all(isinstance(end.error, Unavailable) for end in ends)
    assert {end.error.reason for end in ends if end.error} <= REASONS
    assert all("outcome is unknown" in str(end.error) for end in ends)
    assert max(end.took for end in ends) < within


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


@pytest.fixture
def store(own_postgres: Postgres) -> Iterator[Store]:
    engine = open_engine(parse_url(own_postgres.url()), 40)
    migrate(engine)
    store = Store(engine)
    yield store
    store.close()


def execute(cluster: Postgres, *statements: LiteralString) -> list[tuple[int]]:
    dsn = cluster.url().replace("+psycopg", "")
    with psycopg.connect(dsn, autocommit=True) as connection:
        *others, last = statements
        for statement in others:
            connection.execute(statement)
        return connection.execute(last).fetchall()


@contextmanager
def without_standby(cluster: Postgres) -> Iterator[None]:
    """Commits wait for a standby that is not there."""
    reload: LiteralString = "SELECT 1 FROM pg_reload_conf()"
    execute(cluster, "ALTER SYSTEM SET synchronous_standby_names = 'nosuch'", reload)
    try:
        yield
    finally:
        execute(cluster, "ALTER SYSTEM RESET synchronous_standby_names", reload)


def test_writes_end_when_a_commit_waits_for_a_standby_that_is_gone(
    own_postgres: Postgres, store: Store
) -> None:
    catalog = Catalog(store)
    id_ = catalog.providers.create(CALL, PROVIDER).id
    with without_standby(own_postgres):
        time.sleep(0.3)
        with writing(catalog, 40) as writes:
            slowest = slowest_read(catalog, id_, 3)
            age = store.commit_age()
            late = end_of(lambda: catalog.providers.create(CALL, PROVIDER))
        ends = [write.result() for write in writes]
        kept_in_mind = store.commit_age()
        time.sleep(0.5)
        waiting: LiteralString = (
            "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        [(backends,)] = execute(own_postgres, waiting)
    time.sleep(RETRY_PAUSE_S)

    assert_unknown(ends, within=10)
    assert_unknown([late], within=0.5)
    assert late.error
    assert late.error.reason == "WRITES_STALLED"
    assert age > 2
    assert kept_in_mind > 5
    assert slowest < 1
    assert backends == 0
    assert catalog.providers.create(CALL, PROVIDER).id > id_
    assert store.commit_age() == 0


def test_writes_and_reads_end_when_postgresql_hangs(own_postgres: Postgres, store: Store) -> None:
    catalog = Catalog(store)
    id_ = catalog.providers.create(CALL, PROVIDER).id
    with ThreadPoolExecutor(8) as pool:  # connections that are there
        list(pool.map(lambda _: catalog.providers.get(CALL, id_), range(40)))

    def read() -> End:
        until = time.monotonic() + 1
        call = Call(lambda: time.monotonic() < until)
        return end_of(lambda: catalog.providers.get(call, id_))

    with own_postgres.hanging(), writing(catalog, 20) as writes:
        of_read = read()
        ends = [write.result() for write in writes]

    assert all(isinstance(end.error, Unavailable) for end in ends)
    assert max(end.took for end in ends) < 11
    assert isinstance(of_read.error, Abandoned | Unavailable)
    assert of_read.took < 4
    deadline = time.monotonic() + 5
    while end_of(lambda: catalog.providers.get(CALL, id_)).error:
        assert time.monotonic() < deadline
    assert catalog.providers.create(CALL, PROVIDER).id > id_


def test_writes_end_when_another_process_holds_the_lock_of_sqlite(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    engine = open_engine(parse_url(f"sqlite:///{file}"), 40)
    migrate(engine)
    store = Store(engine)
    catalog = Catalog(store)
    id_ = catalog.providers.create(CALL, PROVIDER).id
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with writing(catalog, 20) as writes:
            slowest = slowest_read(catalog, id_, 3)
            late = end_of(lambda: catalog.providers.create(CALL, PROVIDER))
        ends = [write.result() for write in writes]
        other.execute("ROLLBACK")
    time.sleep(RETRY_PAUSE_S)
    created = catalog.providers.create(CALL, PROVIDER)
    store.close()

    assert_unknown(ends, within=7)
    assert_unknown([late], within=0.5)
    assert Counter(type(end.error) for end in ends) == {Unavailable: 20}
    assert slowest < 1
    assert created.id == id_ + 1


def test_writes_to_rows_that_another_process_holds_do_not_wait_one_after_the_other(
    own_postgres: Postgres, store: Store
) -> None:
    catalog = Catalog(store)
    ids = [catalog.providers.create(CALL, PROVIDER).id for _ in range(20)]
    change = Change(PROVIDER, {"name"})
    dsn = own_postgres.url().replace("+psycopg", "")
    with psycopg.connect(dsn) as other, ThreadPoolExecutor(20) as pool:
        other.execute("UPDATE provider SET name = 'other'")
        ends = list(
            pool.map(lambda id_: end_of(lambda: catalog.providers.update(CALL, id_, change)), ids)
        )
        other.rollback()

    assert {end.error.reason for end in ends if end.error} <= {"STORAGE_TIMEOUT", *REASONS}
    assert all(end.error for end in ends)
    assert max(end.took for end in ends) < 12
    assert catalog.providers.update(CALL, ids[0], change).id == ids[0]
