"""Group commit: concurrent writes are committed together.

A durable commit costs the same for one write as for twenty. So if no commit is in
progress, a thread with a job becomes the leader: it runs all waiting jobs, one after
the other in one transaction, and commits once. Only then do their threads continue.
Jobs that arrive during the commit wait for the next leader, which is the first of them.

One job never fails another. A job that raises an error before it has written
anything leaves no trace. A job that fails later, or in the database, breaks the
transaction: it is rolled back, and the other jobs run again without that job. If the
deferred inserts of a transaction (`flush`) fail, it is not known which job caused it,
so each job runs again alone. Only an unavailable database and a failed commit fail all
jobs: it is unknown whether a failed commit was done, so nothing runs again.

Every wait ends. While a transaction is stalled, new jobs are rejected at once. If it
fails, the jobs that wait for it fail too: otherwise each would wait as long as the
previous one. After a write that was not confirmed, one job at a time tries again, and
no other job waits for it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from portal_server.domain.calls import Call
from portal_server.domain.errors import (
    Abandoned,
    Aborted,
    Exhausted,
    PortalError,
    Reason,
    Resource,
    Unavailable,
)
from portal_server.metrics import COMMIT_SECONDS, GROUP_SIZE
from portal_server.storage.inserts import Adds
from portal_server.storage.sql.dialects import COMMIT_TIMEOUT_S
from portal_server.storage.sql.failures import stalled
from portal_server.storage.sql.transactions import STALLED_S

Result = TypeVar("Result")

MAX_WAITING = 1024
MAX_GROUP = 64
MAX_TRIES = 3
# A job that has waited this long does not run again when its group fails: each attempt may
# wait for a lock that another process holds.
RETRY_WITHIN_S = 6.0


class _Job:
    """Work for a transaction, the thread that waits for it, and its result."""

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

    def __init__(self, call: Call, work: Callable[[Any], Any], adds: Resource | None) -> None:
        self._work = work
        self.adds = adds
        self.since = time.monotonic()
        self._wanted = call.still_wanted
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
        """Do the work. Raises errors that break the transaction, and stores those that do not."""
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
        """Whether it lost to a concurrent transaction, and may succeed when it runs again."""
        return isinstance(self.error, Aborted) and self._tries < MAX_TRIES


class Stalls(Protocol):
    """Whether transactions are stalled: see `Transactions`."""

    @property
    def stall(self) -> float:
        """How long a transaction has tried to begin or to commit, in seconds; 0.0: none."""

    @property
    def in_doubt(self) -> bool:
        """Whether the last write, a short time ago, was not confirmed."""

    @property
    def paused(self) -> bool:
        """Whether no transaction may begin now."""


class _Never:
    stall = 0.0
    in_doubt = paused = False


class GroupCommit:
    """Runs jobs in transactions that they share.

    `transaction` begins a transaction, given what each job adds, and commits it when the
    block ends without an error.
    """

    def __init__(
        self,
        transaction: Callable[[Adds], AbstractContextManager[Any]],
        stalls: "Stalls | None" = None,
    ) -> None:
        self._transaction = transaction
        self._stalls = stalls or _Never()
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._led = False

    def run(
        self, call: Call, work: Callable[[Any], Result], adds: Resource | None = None
    ) -> Result:
        """Run this work; when it returns, what it wrote is durable.

        Raises:
            Exhausted: too many jobs wait.
            Unavailable: nothing is committed now.
            Abandoned: the caller no longer waits for the response; nothing was done.
            PortalError: what the work raises, or a failure of the storage.
        """
        job = _Job(call, work, adds)
        with self._lock:
            if self._stalls.paused:
                raise stalled()
            if not self._led:
                self._led = job.leads = True
            elif len(self._waiting) >= MAX_WAITING:
                raise Exhausted(Reason.TOO_MANY_WRITES, "too many writes wait; retry later")
            elif self._stalls.stall > STALLED_S or self._stalls.in_doubt:
                raise stalled()
            else:
                self._waiting.append(job)
        if not job.leads:
            job.wait()
        if job.leads:
            self._lead(job)
        if job.error is not None:
            try:
                raise job.error
            finally:
                # The traceback refers to this frame, and this frame to the job. That cycle
                # would keep the call alive until the next garbage collection.
                job.error = None
        return job.result  # type: ignore[no-any-return]

    def _lead(self, leader: _Job) -> None:
        """Commit the leader's job with the waiting jobs, and choose the next leader."""
        with self._lock:
            others = min(len(self._waiting), MAX_GROUP - 1)
            group = [leader, *(self._waiting.popleft() for _ in range(others))]
        began = time.monotonic()
        self._commit(group)
        GROUP_SIZE.observe(len(group))
        COMMIT_SECONDS.observe(time.monotonic() - began)
        failed = any(isinstance(job.error, Unavailable) for job in group)
        if failed and time.monotonic() - began > STALLED_S:
            self._fail_waiting()
        with self._lock:
            next_leader = self._waiting.popleft() if self._waiting else None
            self._led = next_leader is not None
        if next_leader:
            next_leader.leads = True
            next_leader.wake()
        for job in group[1:]:
            job.wake()

    def end_stall(self) -> None:
        """Fail the jobs that wait for a stalled transaction."""
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
            failed = self._try_to_commit(group)
            if len(failed) > 1:
                for job in failed:
                    self._commit(_in_time([job]))
                return
            if not failed:
                return
            group = _in_time([job for job in group if job not in failed or job.may_run_again()])

    def _try_to_commit(self, group: Sequence[_Job]) -> Sequence[_Job]:
        """Commit all jobs or none; returns the candidates, one of which has failed.

        An error occurs       candidates     jobs that get the error
        in a job              that job       that job
        in flush              all jobs       all jobs
        in begin or commit    none           all jobs
        Unavailable and Exhausted are errors of the storage, so there are no candidates.
        """
        candidates: Sequence[_Job] = []
        try:
            with self._transaction([job.adds for job in group]) as transaction:
                for job in group:
                    candidates = [job]
                    job.run(transaction)
                candidates = group
                transaction.flush()
                candidates = []
        except BaseException as error:  # noqa: BLE001 - each waiting thread gets it
            if isinstance(error, (Unavailable, Exhausted)):
                candidates = []
            for job in candidates or group:
                job.error = error
        return candidates


def _in_time(jobs: Sequence[_Job]) -> Sequence[_Job]:
    """The jobs that may run again; the others fail."""
    late = time.monotonic() - RETRY_WITHIN_S
    for job in jobs:
        if job.since < late:
            job.error = stalled()
    return [job for job in jobs if job.since >= late]
