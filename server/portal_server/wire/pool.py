"""Threads that run calls, and the queues in which calls wait for one.

A pool has a queue for each API key. Keys are served round-robin: a key with a thousand
waiting calls delays another key's call only by the calls that run. A queue limits how
many of its calls run and how many wait; a pool limits how many wait in total.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep

from portal_server.metrics import QUEUE_WAIT

log = logging.getLogger(__name__)

# A key counts as alone if no other key has called for this long.
_ALONE_S = 1.0
# While several keys call, a thread pauses before the next waiting call. Without the pause, a key
# with many callers keeps the interpreter and Envoy's thread busy all the time, and the p99 of
# another key grows 4 to 6 times instead of 2 to 2.5 times. The pauses of two threads overlap with
# the other thread's call.
_PAUSE_S = 1e-4


@dataclass(slots=True)
class Job:
    """A call to run, and the function that cancels it in gRPC."""

    run: Callable[[], object]
    cancel: Callable[[], object]
    since: float = 0.0
    """When it began to wait."""


@dataclass(slots=True, eq=False, kw_only=True)
class Queue:
    """The calls of one key in one pool.

    At most `running` run at the same time, `running_alone` while no other key
    calls, and at most `max_waiting` wait.
    """

    owner: object
    running: int
    running_alone: int
    max_waiting: int
    waiting: deque[Job] = field(default_factory=deque)
    active: int = 0
    has_turn: bool = False


class Sharing:
    """Whether only one key calls."""

    def __init__(self) -> None:
        self._last: object = None
        self._until = 0.0

    def note(self, owner: object) -> None:
        """A call of this key."""
        if owner is not self._last:
            if self._last is not None:
                self._until = monotonic() + _ALONE_S
            self._last = owner

    @property
    def alone(self) -> bool:
        """Whether no two keys have called recently."""
        return monotonic() >= self._until


class _Thread:
    """A thread of the pool: the job that it runs, and since when."""

    __slots__ = ("awake", "job", "queue", "since")

    def __init__(self) -> None:
        self.awake = threading.Lock()
        self.awake.acquire()
        self.queue: Queue | None = None
        self.job: Job | None = None
        self.since = 0.0

    def take(self, queue: Queue, job: Job) -> None:
        self.queue, self.job, self.since = queue, job, monotonic()


class Pool:
    """Threads that run the calls of several queues in turn. They start when they are needed.

    At most `threads` calls run and `max_waiting` calls wait. Pools that share their
    threads fairly between the same API keys have the same `sharing`.
    """

    def __init__(
        self, name: str, threads: int, max_waiting: int, sharing: Sharing | None = None
    ) -> None:
        self._sharing = sharing or Sharing()
        self.rejected = 0
        """How many calls were rejected."""
        self.offered = 0
        """How many calls there have been."""
        self.name = name
        self.size = threads
        self._wait_seconds = QUEUE_WAIT.labels(name)
        self._max_waiting = max_waiting
        self._waiting = 0
        self._lock = threading.Lock()
        self._threads: list[_Thread] = []
        self._idle: list[_Thread] = []
        # Queues with a call that may run, in the order of their turns.
        self._turns: deque[Queue] = deque()
        self._stopped = False

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._waiting

    @property
    def running(self) -> int:
        """How many threads run a call."""
        with self._lock:
            return len(self._threads) - len(self._idle)

    @property
    def in_flight(self) -> int:
        """How many calls run or wait."""
        with self._lock:
            return self._waiting + len(self._threads) - len(self._idle)

    def offer(self, queue: Queue, job: Job) -> bool:
        """Run a job of this queue when its turn comes; False if it may not even wait."""
        with self._lock:
            self.offered += 1
            self._sharing.note(queue.owner)
            thread = self._free_thread() if queue.active < self._limit(queue) else None
            if thread is None:
                full = self._waiting >= self._max_waiting
                if full or len(queue.waiting) >= queue.max_waiting:
                    self.rejected += 1
                    return False
                job.since = monotonic()
                queue.waiting.append(job)
                self._waiting += 1
                self._give_turn(queue)
                return True
            queue.active += 1
            if queue.waiting:  # the key is alone again, and may run more
                job.since = monotonic()
                queue.waiting.append(job)
                job = queue.waiting.popleft()
                self._wait_seconds.observe(monotonic() - job.since)
            thread.take(queue, job)
        thread.awake.release()
        return True

    def cancel(self, seconds: float = 0) -> None:
        """Cancel the calls that have run for at least this long."""
        latest = monotonic() - seconds
        with self._lock:
            jobs = [thread.job for thread in self._threads if thread.since <= latest]
        for job in jobs:
            if job:
                job.cancel()

    def stop(self) -> None:
        """End the threads; each ends after its call."""
        with self._lock:
            self._stopped = True
            idle, self._idle = self._idle, []
        for thread in idle:
            thread.awake.release()

    def _limit(self, queue: Queue) -> int:
        return queue.running_alone if self._sharing.alone else queue.running

    def _give_turn(self, queue: Queue) -> None:
        if not queue.has_turn and queue.waiting and queue.active < self._limit(queue):
            queue.has_turn = True
            self._turns.append(queue)

    def _free_thread(self) -> _Thread | None:
        """A thread without a job. There is none while a queue waits for its turn."""
        if self._idle:
            return self._idle.pop()
        if len(self._threads) == self.size or self._stopped:
            return None
        thread = _Thread()
        self._threads.append(thread)
        name = f"{self.name}-{len(self._threads)}"
        threading.Thread(target=self._work, args=(thread,), name=name, daemon=True).start()
        return thread

    def _work(self, thread: _Thread) -> None:
        while True:
            thread.awake.acquire()
            job = thread.job
            while job:
                try:
                    job.run()
                except Exception:
                    log.exception("a call ended with an unhandled error")
                # Not thread.job: once idle, the thread may get a job and be woken at any time, and
                # each wake must match one acquire.
                job = self._end(thread)
                if job and not self._sharing.alone:
                    sleep(_PAUSE_S)
            if self._stopped:
                return

    def _end(self, thread: _Thread) -> Job | None:
        """Note that a thread's job is done, and start what may run now; returns its next job."""
        with self._lock:
            queue = thread.queue
            if queue:
                queue.active -= 1
                self._give_turn(queue)
            thread.queue = thread.job = None
            if not self._take_turn(thread):
                self._idle.append(thread)
                return None
            job = thread.job
            # When a key is alone again, more of its calls may run than have ended.
            others = []
            while self._turns and (other := self._free_thread()):
                self._take_turn(other)
                others.append(other)
        for other in others:
            other.awake.release()
        return job

    def _take_turn(self, thread: _Thread) -> bool:
        while self._turns:
            queue = self._turns.popleft()
            queue.has_turn = False
            if queue.active >= self._limit(queue):  # it is no longer alone
                continue
            queue.active += 1
            self._waiting -= 1
            job = queue.waiting.popleft()
            self._wait_seconds.observe(monotonic() - job.since)
            thread.take(queue, job)
            self._give_turn(queue)
            return True
        return False
