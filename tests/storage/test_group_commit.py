"""Writes that wait at the same time share a commit, and nothing else."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from portal_server.domain.calls import Call
from portal_server.domain.errors import (
    Abandoned,
    Aborted,
    Exhausted,
    PortalError,
    Precondition,
    Reason,
    Unavailable,
)
from portal_server.storage import group_commit
from portal_server.storage.group_commit import GroupCommit
from portal_server.storage.inserts import Adds
from tests.support.catalog import CALL


class Ledger:
    """A database of one list, whose commits a test may hold up or break."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        self.commits = 0
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.break_commit: Exception | None = None
        self.break_begin: Exception | None = None
        self.break_flush: Exception | None = None

    @contextmanager
    def transaction(self, _adds: Adds) -> Iterator["LedgerTransaction"]:
        if self.break_begin:
            raise self.break_begin
        transaction = LedgerTransaction(self.break_flush)
        yield transaction
        self.begun.set()
        self.go.wait(5)
        if self.break_commit:
            raise self.break_commit
        self.committed += transaction.added
        self.commits += 1


class LedgerTransaction:
    def __init__(self, break_flush: Exception | None = None) -> None:
        self.added: list[str] = []
        self.written = 0
        self.break_flush = break_flush

    def flush(self) -> None:
        if self.break_flush and len(self.added) > 1:
            raise self.break_flush

    def add(self, text: str) -> str:
        self.added.append(text)
        self.written += 1
        return text


Work = Callable[[LedgerTransaction], str]


def adds(text: str) -> Work:
    return lambda transaction: transaction.add(text)


def together(ledger: Ledger, *works: Work) -> list[object]:
    """Run works that all wait while one commit before them takes its time."""
    commit = GroupCommit(ledger.transaction)

    def run(work: Work) -> object:
        try:
            return commit.run(CALL, work)
        except Exception as error:  # noqa: BLE001
            return error

    ledger.go.clear()
    with ThreadPoolExecutor(len(works) + 1) as pool:
        first = pool.submit(run, adds("first"))
        assert ledger.begun.wait(5)
        waiting = [pool.submit(run, work) for work in works]
        while len(commit._waiting) < len(works):  # noqa: SLF001
            pass
        ledger.go.set()
        first.result(5)
        return [future.result(5) for future in waiting]


def test_writes_that_wait_are_committed_together() -> None:
    ledger = Ledger()
    results = together(ledger, *(adds(str(n)) for n in range(8)))

    assert results == [str(n) for n in range(8)]
    assert sorted(ledger.committed) == ["0", "1", "2", "3", "4", "5", "6", "7", "first"]
    assert ledger.commits == 2


def test_a_rejected_write_does_not_fail_the_others() -> None:
    def rejected(_transaction: LedgerTransaction) -> str:
        raise Precondition(Reason.OKTA_APP_TYPE_MISSING, "no")

    ledger = Ledger()
    a, no, b = together(ledger, adds("a"), rejected, adds("b"))

    assert (a, b) == ("a", "b")
    assert isinstance(no, Precondition)
    assert ledger.committed == ["first", "a", "b"]
    assert ledger.commits == 2


@pytest.mark.parametrize(
    "error", [RuntimeError("bug"), Precondition(Reason.OKTA_APP_TYPE_MISSING, "late")], ids=repr
)
def test_a_write_that_fails_halfway_leaves_nothing_and_fails_no_other_write(
    error: Exception,
) -> None:
    def half_done(transaction: LedgerTransaction) -> str:
        transaction.add("half")
        raise error

    ledger = Ledger()
    a, failed, b = together(ledger, adds("a"), half_done, adds("b"))

    assert (a, b) == ("a", "b")
    assert failed is error
    assert ledger.committed == ["first", "a", "b"]


@pytest.mark.parametrize(
    "error", [RuntimeError("bug"), Aborted(Reason.CONCURRENT_CHANGE, "lost")], ids=repr
)
def test_when_deferred_inserts_fail_each_write_runs_alone(error: Exception) -> None:
    ledger = Ledger()
    ledger.break_flush = error

    assert together(ledger, adds("a"), adds("b"), adds("c")) == ["a", "b", "c"]
    assert ledger.committed == ["first", "a", "b", "c"]
    assert ledger.commits == 4


@pytest.mark.parametrize(("losses", "done"), [(1, True), (2, True), (3, False)])
def test_a_write_that_lost_to_another_runs_again_at_most_three_times(
    losses: int, *, done: bool
) -> None:
    lost = 0

    def unlucky(transaction: LedgerTransaction) -> str:
        nonlocal lost
        transaction.add("unlucky")
        if lost < losses:
            lost += 1
            raise Aborted(Reason.CONCURRENT_CHANGE, "lost")
        return "done"

    ledger = Ledger()
    a, result = together(ledger, adds("a"), unlucky)

    assert a == "a"
    assert (result == "done") is done
    assert isinstance(result, Aborted) is not done
    assert ledger.committed.count("unlucky") == done


def test_a_commit_that_fails_fails_all_and_runs_nothing_again() -> None:
    runs = []

    def work(transaction: LedgerTransaction) -> str:
        runs.append("x")
        return transaction.add("x")

    ledger = Ledger()
    ledger.break_commit = Aborted(Reason.CONCURRENT_CHANGE, "outcome unknown")
    results = together(ledger, work, work)

    assert [type(result) for result in results] == [Aborted, Aborted]
    assert len(runs) == 2
    assert ledger.committed == []


def test_a_database_that_is_away_fails_all_at_once() -> None:
    ledger = Ledger()
    ledger.break_begin = Unavailable(Reason.STORAGE_UNAVAILABLE, "away")
    commit = GroupCommit(ledger.transaction)
    for _ in range(2):
        with pytest.raises(Unavailable):
            commit.run(CALL, adds("x"))
    ledger.break_begin = None

    assert commit.run(CALL, adds("y")) == "y"


def test_a_write_whose_caller_is_gone_is_not_begun() -> None:
    ledger = Ledger()
    commit = GroupCommit(ledger.transaction)
    with pytest.raises(Abandoned):
        commit.run(Call(lambda: False), adds("x"))

    assert ledger.committed == []
    assert commit.run(CALL, adds("y")) == "y"


def test_too_many_writes_are_rejected_immediately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING", 2)
    ledger = Ledger()
    commit = GroupCommit(ledger.transaction)
    ledger.go.clear()
    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(commit.run, CALL, adds("a"))
        assert ledger.begun.wait(5)
        waiting = [pool.submit(commit.run, CALL, adds(text)) for text in "bc"]
        while len(commit._waiting) < 2:  # noqa: SLF001
            pass
        with pytest.raises(Exhausted) as error:
            commit.run(CALL, adds("d"))
        ledger.go.set()
        results = [future.result(5) for future in (leader, *waiting)]

    assert error.value.reason == "TOO_MANY_WRITES"
    assert results == ["a", "b", "c"]


def test_many_threads_lose_nothing_and_get_their_own_results() -> None:
    ledger = Ledger()
    commit = GroupCommit(ledger.transaction)

    def run(n: int) -> object:
        try:
            return commit.run(CALL, adds(str(n)) if n % 7 else _reject)
        except PortalError:
            return None

    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(run, range(2000)))

    assert results == [str(n) if n % 7 else None for n in range(2000)]
    assert sorted(ledger.committed, key=int) == [r for r in results if r is not None]


def _reject(_transaction: LedgerTransaction) -> str:
    raise Precondition(Reason.OKTA_APP_TYPE_MISSING, "no")
