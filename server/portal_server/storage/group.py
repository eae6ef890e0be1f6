"""Commits writes that wait at the same time together.

Making a commit durable costs the same for one write as for twenty. So a thread
with work that finds nobody committing becomes the leader: it runs all the work
that waits, piece by piece in one transaction, commits once, and only then lets
everybody have their answer. Work that comes meanwhile waits for the next
leader, which is the first of those who wait.

One piece never fails another. A piece that is refused before it has written
anything leaves no trace. Where one fails after that, or the database does, the
transaction is rolled back and each piece runs again, alone. Only a commit that
fails fails them all: nobody knows whether it was done, so nothing runs again.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from portal_server.domain.calls import still_wanted
from portal_server.domain.errors import (
    Abandoned,
    Aborted,
    Exhausted,
    PortalError,
    Unavailable,
)

Result = TypeVar("Result")

MAX_WAITING = 1024
MAX_GROUP = 64
MAX_TRIES = 3


class _Job:
    """A piece of work, who waits for it, and what came of it."""

    __slots__ = ("_woken", "error", "leads", "result", "wanted", "work")

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.work = work
        self.wanted = still_wanted()
        self.result: Any = None
        self.error: BaseException | None = None
        self.leads = False
        self._woken = threading.Lock()
        self._woken.acquire()

    def wait(self) -> None:
        self._woken.acquire()

    def wake(self) -> None:
        self._woken.release()


class GroupCommit:
    """Runs work in transactions that it shares with other work."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[Any]]) -> None:
        """Take what begins a transaction, and commits it when it ends without an error."""
        self._transaction = transaction
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._led = False

    def run(self, work: Callable[[Any], Result]) -> Result:
        """Run this work; when it returns, what it wrote is durable.

        Raises:
            Exhausted: too much work waits.
            Abandoned: nobody waits for the answer any more; nothing was done.
            PortalError: what the work raises, or a failure of the storage.
        """
        job = _Job(work)
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                raise Exhausted("TOO_MANY_WRITES", "too many writes wait; try again later")
            self._waiting.append(job)
            job.leads, self._led = not self._led, True
        if not job.leads:
            job.wait()
        if job.leads:
            self._lead()
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]

    def _lead(self) -> None:
        """Commit those who wait, the leader first among them, and pass the lead on."""
        with self._lock:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]
        self._commit(group)
        with self._lock:
            heir = self._waiting[0] if self._waiting else None
            self._led = heir is not None
        if heir:
            heir.leads = True
            heir.wake()
        for job in group[1:]:
            job.wake()

    def _commit(self, group: Sequence[_Job], tries: int = MAX_TRIES) -> None:
        committing = False
        try:
            with self._transaction() as transaction:
                for job in group:
                    _run(job, transaction)
                committing = True
        except BaseException as error:  # noqa: BLE001 - each waiting thread gets it
            hopeless = committing or isinstance(error, (Unavailable, Exhausted))
            if not hopeless and len(group) > 1:
                for job in group:
                    self._commit([job])
            elif not hopeless and isinstance(error, Aborted) and tries > 1:
                self._commit(group, tries - 1)
            else:
                for job in group:
                    job.error = error


def _run(job: _Job, transaction: Any) -> None:
    before = transaction.written
    job.error = None
    try:
        if not job.wanted():
            raise Abandoned
        job.result = job.work(transaction)
    except PortalError as error:
        if transaction.written != before:
            raise
        job.error = error
