"""The errors that callers get when the database fails, from real failures."""

import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import LiteralString

import psycopg
import pytest
from sqlalchemy import Engine

from portal_server.catalog.updates import Change
from portal_server.domain.errors import (
    Aborted,
    DeadlineExceeded,
    Exhausted,
    PortalError,
    Unavailable,
)
from portal_server.domain.keys import Role
from portal_server.domain.lists import PageRange
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.storage.sql import engine as engine_module
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.sql.migrations import migrate
from portal_server.storage.sql.schema import require_known
from portal_server.storage.store import Store, Transaction
from tests.support.catalog import CALL, VAULT, Catalog
from tests.support.keys import Keys
from tests.support.postgres import Postgres, running_postgres

SECRET = "s3cret-w0rd"  # noqa: S105
PROVIDER = ProviderDraft(
    name="p",
    type=ProviderType.OKTA,
    well_known_uri="https://idp.test/x",
    registration_access_token=SECRET,
)
ALL = {"name", "type", "well_known_uri", "tls_insecure_skip_verify", "registration_access_token"}
DRIVERS_WORDS = re.compile(
    r"psycopg|sqlite|sqlalchemy|sql|select|update|insert|provider|connection to|server closed"
    r"|refused|127\.0\.0\.1|port|timeout|canceling|statement|lock|queuepool|errno",
    re.IGNORECASE,
)


def assert_reports(error: PortalError, reason: str) -> None:
    assert error.reason == reason
    assert len(str(error)) > 10
    assert not DRIVERS_WORDS.search(str(error))
    assert error.__cause__ is None, "the driver's exception may show a row"


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


@pytest.fixture
def mortal(own_postgres: Postgres) -> Iterator[Engine]:
    """A migrated engine on a PostgreSQL that a test may stop."""
    engine = open_engine(parse_url(own_postgres.url()))
    migrate(engine)
    yield engine
    engine.dispose()


@contextmanager
def stopped(cluster: Postgres, mode: str) -> Iterator[None]:
    cluster.stop(mode)
    try:
        yield
    finally:
        cluster.start()


def until_it_works(catalog: Catalog, id_: int) -> float:
    start = monotonic()
    while monotonic() - start < 10:
        try:
            catalog.providers.get(CALL, id_)
        except Unavailable:
            sleep(0.05)
        else:
            break
    return monotonic() - start


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_database_that_is_away_is_unavailable_and_works_again_when_it_is_back(
    own_postgres: Postgres, mortal: Engine, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = Store(mortal, VAULT)
    catalog, keyring = Catalog(store), Keys(store)
    created = catalog.providers.create(CALL, PROVIDER)
    key = keyring.create(Role.ADMIN, "a note")
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: catalog.providers.get(CALL, created.id),
        "list": lambda: catalog.providers.list(CALL, (), PageRange(limit=5)),
        "write": lambda: catalog.providers.update(CALL, created.id, Change(PROVIDER, ALL)),
        "authenticate": lambda: keyring.authenticate(CALL, [key]),
        "require_known": lambda: require_known(mortal),
        "migrate": lambda: migrate(mortal),
    }

    with stopped(own_postgres, mode):
        for name, call in calls.items():
            with pytest.raises(Unavailable) as error:
                call()
            assert_reports(error.value, "STORAGE_UNAVAILABLE")
            assert name
    seconds = until_it_works(catalog, created.id)

    assert seconds < 3
    assert catalog.providers.get(CALL, created.id) == created
    assert catalog.providers.update(CALL, created.id, Change(PROVIDER, ALL)).uid == created.uid
    assert keyring.authenticate(CALL, [key]).role == "admin"
    assert len(caplog.records) >= len(calls)
    assert SECRET not in caplog.text
    assert key not in caplog.text


def test_the_first_call_after_an_unnoticed_restart_works(
    own_postgres: Postgres, mortal: Engine
) -> None:
    catalog = Catalog(Store(mortal, VAULT))
    created = catalog.providers.create(CALL, PROVIDER)
    with stopped(own_postgres, "fast"):
        pass

    assert catalog.providers.get(CALL, created.id) == created


def test_a_database_that_goes_away_under_a_write_leaves_nothing_of_it(
    own_postgres: Postgres, mortal: Engine
) -> None:
    store = Store(mortal, VAULT)
    catalog = Catalog(store)
    before = catalog.providers.create(CALL, PROVIDER)

    with ExitStack() as stack:

        def work(tx: Transaction) -> None:
            tx.providers.remove(before.id)
            stack.enter_context(stopped(own_postgres, "immediate"))
            tx.providers.get(before.id)

        with pytest.raises(Unavailable) as error:
            store.write(CALL, work)
        assert_reports(error.value, "STORAGE_UNAVAILABLE")

    assert until_it_works(catalog, before.id) < 3
    assert catalog.providers.get(CALL, before.id) == before


@contextmanager
def held(cluster: Postgres, statement: LiteralString) -> Iterator[None]:
    """Another process that has done this and does not commit."""
    with psycopg.connect(cluster.url().replace("+psycopg", "")) as connection:
        connection.execute(statement)
        yield
        connection.rollback()


REASONS: dict[type[PortalError], str] = {DeadlineExceeded: "STORAGE_TIMEOUT"}


@pytest.mark.parametrize(
    ("constant", "error"),
    [
        pytest.param("LOCK_TIMEOUT_S", DeadlineExceeded, id="lock timeout"),
        pytest.param("STATEMENT_TIMEOUT_S", DeadlineExceeded, id="statement timeout"),
    ],
)
def test_the_wait_for_a_locked_row_has_a_timeout(
    own_postgres: Postgres,
    mortal: Engine,
    monkeypatch: pytest.MonkeyPatch,
    constant: str,
    error: type[PortalError],
) -> None:
    created = Catalog(Store(mortal, VAULT)).providers.create(CALL, PROVIDER)
    monkeypatch.setattr(engine_module, constant, 0.3)
    hasty = open_engine(mortal.url)
    catalog = Catalog(Store(hasty, VAULT))

    start = monotonic()
    with held(own_postgres, "UPDATE provider SET name = 'other'"), pytest.raises(error) as raised:
        catalog.providers.update(CALL, created.id, Change(PROVIDER, ALL))
    waited = monotonic() - start
    after = catalog.providers.get(CALL, created.id)
    written = catalog.providers.update(CALL, created.id, Change(PROVIDER, ALL))
    hasty.dispose()

    assert_reports(raised.value, REASONS[error])
    assert 0.25 < waited < 3
    assert after == created
    assert written.update_time > created.update_time


def test_a_secret_in_a_statement_that_fails_is_not_logged(
    own_postgres: Postgres,
    mortal: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(engine_module, "LOCK_TIMEOUT_S", 0.1)
    hasty = open_engine(mortal.url)

    with (
        held(own_postgres, "LOCK TABLE provider IN EXCLUSIVE MODE"),
        pytest.raises(DeadlineExceeded),
    ):
        Catalog(Store(hasty, VAULT)).providers.create(CALL, PROVIDER)
    hasty.dispose()

    assert "storage: DeadlineExceeded: " in caplog.text
    assert SECRET not in caplog.text


def create_many(catalog: Catalog, draft: ProviderDraft) -> None:
    for _ in range(20):
        catalog.providers.create(CALL, draft)


def test_a_disk_that_is_full_is_unavailable_and_leaves_what_was_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine(parse_url(f"sqlite:///{tmp_path}/x.db"))
    migrate(engine)
    catalog = Catalog(Store(engine, VAULT))
    before = catalog.providers.create(CALL, PROVIDER)
    big = replace(PROVIDER, registration_access_token=SECRET * 300)
    with engine.connect() as connection:  # the one that the pool gives again
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    with pytest.raises(Unavailable) as error:
        create_many(catalog, big)
    kept = catalog.providers.get(CALL, before.id)
    engine.dispose()

    assert_reports(error.value, "STORAGE_FULL")
    assert kept == before
    assert "storage: Unavailable: " in caplog.text
    assert SECRET not in caplog.text


def test_the_timeouts_of_a_server_are_shorter_for_a_lock_than_for_a_statement(
    mortal: Engine,
) -> None:
    with mortal.connect() as connection:
        shown = {
            name: connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("lock_timeout", "statement_timeout", "TimeZone")
        }

    assert shown == {"lock_timeout": "5s", "statement_timeout": "9s", "TimeZone": "UTC"}


def test_two_writes_that_wait_for_each_other_both_end(own_postgres: Postgres) -> None:
    engines = [open_engine(parse_url(own_postgres.url())) for _ in range(2)]
    migrate(engines[0])
    catalog = Catalog(Store(engines[0], VAULT))
    ids = [catalog.providers.create(CALL, PROVIDER).id for _ in range(2)]

    def lock_both(engine: Engine, order: list[int]) -> str:
        def work(tx: Transaction) -> str:
            tx.providers.get(order[0], "exclusive")
            sleep(0.3)
            tx.providers.get(order[1], "exclusive")
            return "done"

        try:
            return Store(engine, VAULT).write(CALL, work)
        except Aborted as error:
            return error.reason

    start = monotonic()
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lock_both, engines, [ids, ids[::-1]]))
    took = monotonic() - start
    for engine in engines:
        engine.dispose()

    assert "done" in ends
    assert set(ends) <= {"done", "CONCURRENT_CHANGE"}
    assert took < 5


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_pool_without_a_free_connection_is_exhausted_until_one_is_given_back(
    kind: str, tmp_path: Path, own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "POOL_TIMEOUT_S", 0.2)
    url = f"sqlite:///{tmp_path}/x.db" if kind == "sqlite" else own_postgres.url()
    engine = open_engine(parse_url(url))
    migrate(engine)
    catalog = Catalog(Store(engine, VAULT))

    with ExitStack() as stack:
        most = engine_module.POOL_SIZE
        held = [stack.enter_context(engine.connect()) for _ in range(most)]
        with pytest.raises(Exhausted) as of_read:
            catalog.providers.get(CALL, 1)
        with pytest.raises(Exhausted) as of_write:
            catalog.providers.create(CALL, PROVIDER)
        held[0].close()
        created = catalog.providers.create(CALL, PROVIDER)
    engine.dispose()

    assert_reports(of_read.value, "STORAGE_EXHAUSTED")
    assert_reports(of_write.value, "STORAGE_EXHAUSTED")
    assert created.id


def test_a_database_file_that_is_damaged_is_unavailable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "x.db"
    file.write_bytes(b"this is not a database " * 500)
    engine = open_engine(parse_url(f"sqlite:///{file}"))

    with pytest.raises(Unavailable) as error:
        require_known(engine)
    assert_reports(error.value, "STORAGE_UNAVAILABLE")
    assert "not a database" in caplog.text
    engine.dispose()
