"""A read ends when nobody waits for it, and nothing else ends with it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from portal_server.domain.calls import Call
from portal_server.domain.errors import Abandoned, DeadlineExceeded
from portal_server.domain.provider import ProviderDraft, ProviderType, check_provider
from portal_server.storage.sql import transactions, watchdog
from portal_server.storage.store import Store, Transaction
from tests.support.catalog import CALL

SPEC = check_provider(
    ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
)
SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    " SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep({} / 10000000.0)",
}
FOR_EVER, A_WHILE = 3_000_000_000, 6_000_000


def slow(engine: Engine, size: int = FOR_EVER) -> Callable[[Transaction], None]:
    return lambda tx: tx._cursor.execute(SLOW[engine.dialect.name].format(size))  # noqa: SLF001


@pytest.mark.parametrize("how", ["read_latest", "read_snapshot"])
def test_a_read_ends_when_its_caller_is_gone(store: Store, engine: Engine, how: str) -> None:
    gone = threading.Event()
    timer = threading.Timer(0.3, gone.set)
    start = time.monotonic()
    timer.start()
    with pytest.raises(Abandoned):
        getattr(store, how)(Call(lambda: not gone.is_set()), slow(engine))
    took = time.monotonic() - start

    assert 0.3 <= took < 3
    assert store.read_latest(CALL, lambda tx: tx.api_keys.all()) == []


@pytest.mark.parametrize("how", ["read_latest", "read_snapshot"])
def test_a_read_ends_after_the_maximum(
    store: Store, engine: Engine, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "MAX_READ_S", 0.3)
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded) as error:
        getattr(store, how)(CALL, slow(engine))

    assert time.monotonic() - start < 3
    assert error.value.reason == "STORAGE_TIMEOUT"


def test_other_jobs_continue_when_the_caller_of_the_first_is_gone(
    store: Store, engine: Engine
) -> None:
    gone = threading.Event()

    def work(tx: Transaction) -> int:
        gone.set()
        slow(engine, A_WHILE)(tx)
        return tx.providers.add(SPEC, "u", datetime.now(UTC)).id

    id_ = store.write(Call(lambda: not gone.is_set()), work)

    assert store.read_latest(CALL, lambda tx: tx.providers.get(id_))


def test_what_comes_after_on_the_same_connection_is_never_interrupted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "PERIOD_S", 0.0005)
    store = Store(engine)
    id_ = store.write(CALL, lambda tx: tx.providers.add(SPEC, "u", datetime.now(UTC)).id)
    ends = {"wanted": 0, "unwanted": 0, "interrupted": 0}

    def read(number: int) -> None:
        wanted = bool(number % 2)
        try:
            assert store.read_latest(Call(lambda: wanted), lambda tx: tx.providers.get(id_))
            ends["wanted" if wanted else "unwanted"] += 1
        except Abandoned:
            assert not wanted
            ends["interrupted"] += 1

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, range(600)))
    store.close()

    assert ends["wanted"] == 300


def test_the_thread_ends_with_the_store(engine: Engine) -> None:
    store = Store(engine)
    thread = next(t for t in reversed(threading.enumerate()) if t.name == "watchdog")
    store.close()
    thread.join(2)

    assert not thread.is_alive()
