"""What holds on SQLite only."""

import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from threading import Timer
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Engine

from portal_server.catalog.updates import Change
from portal_server.domain.errors import Unavailable
from portal_server.domain.lists import PageRange
from portal_server.domain.provider import ProviderDraft, ProviderType, check_provider
from portal_server.storage.sql import engine as engine_module
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.sql.migrations import migrate
from portal_server.storage.store import Store, Transaction
from tests.support.catalog import CALL, Catalog

PROVIDER = ProviderDraft(name="p", type=ProviderType.OKTA, well_known_uri="https://idp.test/x")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "portal.db"


@pytest.fixture
def sqlite(file: Path) -> Iterator[Engine]:
    engine = open_engine(parse_url(f"sqlite:///{file}"))
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        pytest.param("journal_mode", "wal", id="a write-ahead log"),
        pytest.param("synchronous", 2, id="each commit is on the disk"),
        pytest.param("foreign_keys", 1, id="foreign keys are on"),
        pytest.param("busy_timeout", 5000, id="a lock is waited for"),
    ],
)
def test_each_connection_of_the_pool_has_the_promised_settings(
    sqlite: Engine, pragma: str, value: object
) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(sqlite.connect()) for _ in range(engine_module.POOL_SIZE)]
        drivers = {id(connection.connection.dbapi_connection) for connection in held}
        values = {c.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() for c in held}

    assert len(drivers) == len(held)
    assert values == {value}


def test_the_folder_is_created_for_its_owner_only(sqlite: Engine, file: Path) -> None:
    assert Path(sqlite.url.database or "") == file
    assert file.exists()
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
def test_new_files_in_a_shared_folder_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    engine = open_engine(parse_url(f"sqlite:///{tmp_path}/portal.db"))
    migrate(engine)
    Catalog(Store(engine)).providers.create(CALL, PROVIDER)
    found = modes(tmp_path)
    engine.dispose()

    assert found == {"portal.db": 0o600, "portal.db-wal": 0o600, "portal.db-shm": 0o600}


@pytest.mark.usefixtures("usual_umask")
def test_files_that_others_can_read_are_made_private(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "portal.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE another (id INTEGER)")
        before = modes(tmp_path)
        engine = open_engine(parse_url(f"sqlite:///{file}"))
        after = modes(tmp_path)
        engine.dispose()

    assert len(before) == 3
    assert set(before.values()) == {0o644}
    assert set(after.values()) == {0o600}
    assert caplog.text.count("its mode is 0600 now") == 3


def test_a_file_of_another_owner_that_others_can_read_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "portal.db"
    file.touch()
    file.chmod(0o640)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)

    with pytest.raises(PermissionError, match=r"others can read it.*mode to 0600.*portal\.db"):
        open_engine(parse_url(f"sqlite:///{file}"))
    assert modes(tmp_path) == {"portal.db": 0o640}


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    open_engine(parse_url(f"sqlite:///{tmp_path}/portal.db")).dispose()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_write_lock_that_is_held_too_long_ends_the_write_and_lets_reads_pass(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "LOCK_TIMEOUT_S", 0.3)
    engine = open_engine(parse_url(f"sqlite:///{file}"))
    migrate(engine)
    catalog = Catalog(Store(engine))

    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        start = monotonic()
        with pytest.raises(Unavailable) as error:
            catalog.providers.create(CALL, PROVIDER)
        waited = monotonic() - start
        seen = catalog.providers.list(CALL, (), PageRange(limit=5)).items
    created = catalog.providers.create(CALL, PROVIDER)

    assert 0.2 < waited < 2
    assert seen == []
    assert error.value.reason == "OUTCOME_UNKNOWN"
    assert "outcome is unknown" in str(error.value)
    assert not re.search("sqlite|database|locked", str(error.value), re.IGNORECASE)
    assert catalog.providers.get(CALL, created.id) == created
    engine.dispose()


def test_a_new_file_that_another_process_writes_at_the_same_moment_is_waited_for(
    tmp_path: Path,
) -> None:
    file = tmp_path / "portal.db"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE another (id INTEGER)")
        release = Timer(0.3, other.execute, ["COMMIT"])
        release.start()
        engine = open_engine(parse_url(f"sqlite:///{file}"))
        try:
            migrate(engine)
            with engine.connect() as connection:
                mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        finally:
            release.join()
            engine.dispose()

    assert mode == "wal"


def test_what_a_write_has_read_is_not_changed_by_another_process_before_it_is_done(
    sqlite: Engine,
) -> None:
    other = open_engine(sqlite.url)
    store, catalog, elsewhere = (
        Store(sqlite),
        Catalog(Store(sqlite)),
        Catalog(Store(other)),
    )
    id_ = catalog.providers.create(CALL, PROVIDER).id

    def work(tx: Transaction) -> bool:
        found = tx.providers.get(id_)
        change = Change(replace(PROVIDER, name="b"), {"name"})
        rival = pool.submit(elsewhere.providers.update, CALL, id_, change)
        wait([rival], 0.3)
        rivals.append(rival)
        assert found
        tx.providers.update(found, check_provider(replace(PROVIDER, name="a")), found.update_time)
        return rival.done()

    rivals: list[Future[Any]] = []
    with ThreadPoolExecutor(1) as pool:
        rival_was_faster = store.write(CALL, work)
        names = [rivals[0].result().name, catalog.providers.get(CALL, id_).name]
    other.dispose()

    assert not rival_was_faster
    assert names == ["b", "b"]


def test_closing_the_store_merges_the_write_ahead_log(sqlite: Engine, file: Path) -> None:
    store = Store(sqlite)
    created = Catalog(store).providers.create(CALL, PROVIDER)
    log = file.with_name("portal.db-wal")
    before = log.stat().st_size
    store.close()

    assert before > 0
    assert [path.name for path in file.parent.iterdir()] == ["portal.db"]
    assert Catalog(Store(sqlite)).providers.get(CALL, created.id) == created


def test_what_is_committed_is_there_for_another_process_before_the_store_is_closed(
    sqlite: Engine, file: Path
) -> None:
    created = Catalog(Store(sqlite)).providers.create(CALL, PROVIDER)
    other = open_engine(parse_url(f"sqlite:///{file}"))

    assert Catalog(Store(other)).providers.get(CALL, created.id) == created
    other.dispose()
