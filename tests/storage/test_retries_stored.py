"""Kept answers: forgotten in time, a few at a time, and never in the way."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from portal_server.catalog import Catalog
from portal_server.domain.calls import Call, Request, serving
from portal_server.domain.errors import Unavailable
from portal_server.domain.model import ProviderDraft, ProviderType
from portal_server.retries import Forgetting, Retries
from portal_server.storage.store import Store, Transaction

DRAFT = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")


def create(store: Store, number: int, keep: timedelta = timedelta(days=1)) -> int:
    digest = sha256(str(number).encode()).digest()
    with serving(Call(request=Request(digest, b"f"))):
        return Catalog(store, Retries(store, keep)).create_provider(DRAFT).id


def kept(store: Store) -> int:
    def work(tx: Transaction) -> int:
        tx._cursor.execute("SELECT count(*) FROM answer")  # noqa: SLF001
        return int(tx._cursor.fetchone()[0])  # noqa: SLF001

    return store.read(work)


def test_only_expired_answers_are_forgotten_a_batch_at_a_time(store: Store) -> None:
    for number in range(130):
        create(store, number)
    nothing = Retries(store, timedelta(days=1))
    everything = Retries(store, timedelta(0))

    assert not nothing.forget_expired()
    assert kept(store) == 130
    assert everything.forget_expired()
    assert kept(store) == 30
    assert not everything.forget_expired()
    assert kept(store) == 0


def test_an_answer_that_expired_is_replaced_by_the_new_one(store: Store) -> None:
    first = create(store, 1)
    second = create(store, 1, keep=timedelta(0))

    assert second != first
    assert create(store, 1) == second
    assert kept(store) == 1


def test_old_answers_are_found_behind_one_that_was_renewed(store: Store) -> None:
    for number in range(3):
        create(store, number)
    old = datetime.now(UTC)
    renewed = create(store, 0, keep=timedelta(0))
    retries = Retries(store, datetime.now(UTC) - old)
    retries.forget_expired()

    assert kept(store) == 1
    assert create(store, 0) == renewed


def test_forgetting_goes_on_after_a_failure(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    retries = Retries(store, timedelta(seconds=0.01))
    create(store, 1)
    forget, failures = retries.forget_expired, iter([Unavailable("AWAY", "away")])

    def fails_once() -> bool:
        for failure in failures:
            raise failure
        return forget()

    monkeypatch.setattr(retries, "forget_expired", fails_once)
    forgetting = Forgetting(retries)
    forgetting.start()
    deadline = datetime.now(UTC) + timedelta(seconds=5)
    while kept(store):
        assert datetime.now(UTC) < deadline
    forgetting.stop()
