"""Commits writes that wait at the same time together.

Making a commit durable costs the same for one write as for twenty. So a thread
with work that finds nobody committing becomes the leader: it runs all the work
that waits, piece by piece in one transaction, commits once, and only then lets
everybody have their answer. Work that comes meanwhile waits for the next
leader, which is the first of those who wait.

One piece never fails another. A piece that is refused before it has written
anything leaves no trace. One that fails after that, or in the database, breaks
the transaction: it is rolled back, and the others run again without that piece.
What a transaction has put off until its end (`flush`) is nobody's in particular:
when that fails, each piece runs again alone. Only a database that is away, and
a commit that fails, fail them all: whether a commit that failed was done nobody
knows, so nothing runs again.

Nothing waits without an end. While a transaction does not get to its end, new
work is rejected at once, and when it fails, what waits behind it fails with it:
else each piece in turn would wait as long as the one before it. After a write
that was not confirmed one piece at a time tries again, and nothing waits for it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from portal_server.domain import calls
from portal_server.domain.errors import (
    Abandoned,
    Aborted,
    Exhausted,
    PortalError,
    Resource,
    Unavailable,
)
from portal_server.storage.sql.failures import stalled
from portal_server.storage.sql.transactions import COMMIT_TIMEOUT_S, STALLED_S

Result = TypeVar("Result")

Adds = Sequence[Resource | None]
"""What each piece of work will make one of, if it does."""

MAX_WAITING = 1024
MAX_GROUP = 64
MAX_TRIES = 3
# Work that has waited so long does not run again when its group fails: each try may
# wait for a lock that another process holds.
RETRY_WITHIN_S = 6.0


class _Job:
    """A piece of work, who waits for it, and what came of it."""

    __slots__ = (
        "_tries",
        "_wanted",
        "_woken",
        "_work",
        "adds",
        "error",
        "leads",
        "result",
        "since",
    )

    def __init__(self, work: Callable[[Any], Any], adds: Resource | None) -> None:
        self._work = work
        self.adds = adds
        self.since = time.monotonic()
        self._wanted = calls.current().still_wanted
        self._tries = 0
        self.result: Any = None
        self.error: BaseException | None = None
        self.leads = False
        self._woken = threading.Lock()
        self._woken.acquire()

    def wait(self) -> None:
        self._woken.acquire()

    def wake(self) -> None:
        self._woken.release()

    def run(self, transaction: Any) -> None:
        """Do it. Raises what breaks the transaction; a refusal that left no trace does not."""
        before = transaction.written
        self.error = None
        self._tries += 1
        try:
            if not self._wanted():
                raise Abandoned
            self.result = self._work(transaction)
        except PortalError as error:
            if transaction.written != before:
                raise
            self.error = error

    def may_run_again(self) -> bool:
        """Whether what failed it is gone when it is tried again: it lost against another."""
        return isinstance(self.error, Aborted) and self._tries < MAX_TRIES


class Stalls(Protocol):
    """Whether transactions get to their end; see Transactions."""

    @property
    def stall(self) -> float:
        """For how long one has tried to begin or to commit, in seconds; 0.0: none."""

    @property
    def in_doubt(self) -> bool:
        """Whether the last one ended unconfirmed a short time ago."""

    @property
    def paused(self) -> bool:
        """Whether none may try at present."""


class _Never:
    stall = 0.0
    in_doubt = paused = False


class GroupCommit:
    """Runs work in transactions that it shares with other work."""

    def __init__(
        self,
        transaction: Callable[[Adds], AbstractContextManager[Any]],
        stalls: "Stalls | None" = None,
    ) -> None:
        """Take what begins a transaction, and commits it when it ends without an error.

        It is told what each piece of work will add.
        """
        self._transaction = transaction
        self._stalls = stalls or _Never()
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._led = False

    def run(self, work: Callable[[Any], Result], adds: Resource | None = None) -> Result:
        """Run this work; when it returns, what it wrote is durable.

        Raises:
            Exhausted: too much work waits.
            Unavailable: nothing gets committed at present.
            Abandoned: nobody waits for the answer any more; nothing was done.
            PortalError: what the work raises, or a failure of the storage.
        """
        job = _Job(work, adds)
        with self._lock:
            if self._stalls.paused:
                raise stalled()
            if not self._led:
                self._led = job.leads = True
            elif len(self._waiting) >= MAX_WAITING:
                raise Exhausted("TOO_MANY_WRITES", "too many writes wait; try again later")
            elif self._stalls.stall > STALLED_S or self._stalls.in_doubt:
                raise stalled()
            else:
                self._waiting.append(job)
        if not job.leads:
            job.wait()
        if job.leads:
            self._lead(job)
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]

    def _lead(self, leader: _Job) -> None:
        """Commit the leader's work with that of those who wait, and pass the lead on."""
        with self._lock:
            others = min(len(self._waiting), MAX_GROUP - 1)
            group = [leader, *(self._waiting.popleft() for _ in range(others))]
        began = time.monotonic()
        self._commit(group)
        failed = any(isinstance(job.error, Unavailable) for job in group)
        if failed and time.monotonic() - began > STALLED_S:
            self._fail_waiting()
        with self._lock:
            heir = self._waiting.popleft() if self._waiting else None
            self._led = heir is not None
        if heir:
            heir.leads = True
            heir.wake()
        for job in group[1:]:
            job.wake()

    def end_stall(self) -> None:
        """Fail what waits behind a transaction that should have ended by now."""
        if self._waiting and self._stalls.stall > COMMIT_TIMEOUT_S:
            self._fail_waiting()

    def _fail_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            job.error = stalled()
            job.wake()

    def _commit(self, group: Sequence[_Job]) -> None:
        while group:
            culprits = self._try_to_commit(group)
            if len(culprits) > 1:
                for job in culprits:
                    self._commit(_in_time([job]))
                return
            if not culprits:
                return
            group = _in_time([job for job in group if job not in culprits or job.may_run_again()])

    def _try_to_commit(self, group: Sequence[_Job]) -> Sequence[_Job]:
        """Commit them all or, without a trace, none: then those of which one broke it.

        Empty: they are committed, or what failed is nobody's fault.
        """
        suspects: Sequence[_Job] = []
        try:
            with self._transaction([job.adds for job in group]) as transaction:
                for job in group:
                    suspects = [job]
                    job.run(transaction)
                suspects = group
                transaction.flush()
                suspects = []
        except BaseException as error:  # noqa: BLE001 - each waiting thread gets it
            if isinstance(error, (Unavailable, Exhausted)):
                suspects = []
            for job in suspects or group:
                job.error = error
        return suspects


def _in_time(jobs: Sequence[_Job]) -> Sequence[_Job]:
    """Those that may run again; the others fail."""
    late = time.monotonic() - RETRY_WITHIN_S
    for job in jobs:
        if job.since < late:
            job.error = stalled()
    return [job for job in jobs if job.since >= late]
