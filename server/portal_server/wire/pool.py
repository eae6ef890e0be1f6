"""Threads that run calls, and the queues in which calls wait for one.

A thread can run several calls side by side (`portal_server.side_by_side`). A call waits a moment
for a thread that runs already, because another one of the same interpreter would only slow it down.

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
from portal_server.side_by_side import Calls

log = logging.getLogger(__name__)

# A key counts as alone if no other key has called for this long.
_ALONE_S = 1.0
# While several keys call, a thread pauses before the next waiting calls. Without the pause, a key
# with many callers keeps the interpreter and Envoy's thread busy all the time, and the p99 of
# another key grows 4 to 6 times instead of 2 to 2.5 times. The pauses of two threads overlap with
# the other thread's call.
_PAUSE_S = 1e-4
# A shorter wait is not counted.
_NOTED_WAIT_S = 0.001


@dataclass(slots=True, eq=False)
class Job:
    """A call to run, and the function that cancels it in gRPC."""

    run: Callable[[], object]
    cancel: Callable[[], object]
    since: float = 0.0
    """When it began to wait, or to run."""
    queue: "Queue | None" = None


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


@dataclass(frozen=True, slots=True)
class Threads:
    """The threads of a pool. They start when they are needed.

    There are at most `number`, and each runs at most `side_by_side` calls at the same time. A call
    waits up to `patience_s` for one that runs already; then another one is woken.
    """

    number: int
    side_by_side: int = 1
    patience_s: float = 0.0


class _Thread:
    """A thread of a pool: its first job after it was idle, and the jobs that have just ended."""

    __slots__ = ("awake", "ended", "job")

    def __init__(self) -> None:
        self.awake = threading.Lock()
        self.awake.acquire()
        self.job: Job | None = None
        self.ended: list[Job] = []


class Pool:
    """Threads that run the calls of several queues in turn.

    At most `max_waiting` calls wait. Pools that share their threads fairly between the same API
    keys have the same `sharing`.
    """

    def __init__(
        self, name: str, threads: Threads, max_waiting: int, sharing: Sharing | None = None
    ) -> None:
        self._threads = threads
        self._sharing = sharing or Sharing()
        self.rejected = 0
        """How many calls were rejected."""
        self.offered = 0
        """How many calls there have been."""
        self.name = name
        self.size = threads.number
        self._wait_seconds = QUEUE_WAIT.labels(name)
        self._max_waiting = max_waiting
        self._waiting = 0
        self._lock = threading.Lock()
        self._started = 0
        self._idle: list[_Thread] = []
        self._running: set[Job] = set()
        # Queues with a call that may run, in the order of their turns.
        self._turns: deque[Queue] = deque()
        # When a thread last took a call or was woken to do so.
        self._taken = 0.0
        self._stopped = False

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._waiting

    @property
    def running(self) -> int:
        """How many threads run calls."""
        with self._lock:
            return self._started - len(self._idle)

    @property
    def in_flight(self) -> int:
        """How many calls run or wait."""
        with self._lock:
            return self._waiting + len(self._running)

    def offer(self, queue: Queue, job: Job) -> bool:
        """Run a job of this queue when its turn comes; False if it may not even wait."""
        with self._lock:
            self.offered += 1
            self._sharing.note(queue.owner)
            if not self._has_room(queue):
                self.rejected += 1
                return False
            job.queue, job.since = queue, monotonic()
            queue.waiting.append(job)
            self._waiting += 1
            self._give_turn(queue)
            thread = self._thread_to_wake(job.since)
        if thread:
            thread.awake.release()
        return True

    def wake(self) -> None:
        """Wake a thread if the others are busy; to be called from time to time."""
        with self._lock:
            thread = self._thread_to_wake(monotonic())
        if thread:
            thread.awake.release()

    def cancel(self, seconds: float = 0) -> None:
        """Cancel the calls that have run for at least this long."""
        latest = monotonic() - seconds
        with self._lock:
            jobs = [job for job in self._running if job.since <= latest]
        for job in jobs:
            job.cancel()

    def stop(self) -> None:
        """End the threads; each ends after its calls."""
        with self._lock:
            self._stopped = True
            idle, self._idle = self._idle, []
        for thread in idle:
            thread.awake.release()

    def _has_room(self, queue: Queue) -> bool:
        """Whether another call may run or wait."""
        can_run = self.size * self._threads.side_by_side
        calls = len(self._running) + self._waiting
        calls_of_queue = queue.active + len(queue.waiting)
        return (
            calls < can_run + self._max_waiting
            and calls_of_queue < min(can_run, self._limit(queue)) + queue.max_waiting
        )

    def _limit(self, queue: Queue) -> int:
        return queue.running_alone if self._sharing.alone else queue.running

    def _give_turn(self, queue: Queue) -> None:
        if not queue.has_turn and queue.waiting and queue.active < self._limit(queue):
            queue.has_turn = True
            self._turns.append(queue)

    def _thread_to_wake(self, now: float) -> _Thread | None:
        """An idle or a new thread, if a call may run and no other thread will take it soon.

        The call is its first job: if it took one itself, another thread might take it first, and
        it would be woken for nothing.
        """
        some_run = len(self._idle) < self._started
        if some_run and now - self._taken < self._threads.patience_s:
            return None
        if not (self._idle or (self._started < self.size and not self._stopped)):
            return None
        job = self._take_turn()
        if job is None:
            return None
        thread = self._idle.pop() if self._idle else self._start_thread()
        thread.job = job
        return thread

    def _start_thread(self) -> _Thread:
        thread = _Thread()
        self._started += 1
        name = f"{self.name}-{self._started}"
        threading.Thread(target=self._work, args=(thread,), name=name, daemon=True).start()
        return thread

    def _work(self, thread: _Thread) -> None:
        calls = Calls()
        alone = self._threads.side_by_side == 1
        while not self._stopped:
            thread.awake.acquire()
            job, thread.job = thread.job, None
            while job or calls:
                if not job:
                    calls.go_on()
                elif alone:
                    self._run(thread, job)
                else:
                    calls.begin(self._run, thread, job)
                job = self._next(calls, thread)
                if job and not calls and not self._sharing.alone:
                    sleep(_PAUSE_S)

    def _run(self, thread: _Thread, job: Job) -> None:
        try:
            job.run()
        except Exception:
            log.exception("a call ended with an unhandled error")
        thread.ended.append(job)

    def _next(self, calls: Calls, thread: _Thread) -> Job | None:
        """The next job for a thread that runs these calls; without any, the thread is idle."""
        other = None
        with self._lock:
            for ended in thread.ended:
                self._end(ended)
            thread.ended.clear()
            job = self._take_turn() if len(calls) < self._threads.side_by_side else None
            if job:
                # When a key is alone again, more of its calls may run than have ended.
                other = self._thread_to_wake(self._taken)
            elif not calls:
                self._idle.append(thread)
        if other:
            other.awake.release()
        return job

    def _end(self, job: Job) -> None:
        self._running.remove(job)
        if job.queue:
            job.queue.active -= 1
            self._give_turn(job.queue)

    def _take_turn(self) -> Job | None:
        while self._turns:
            queue = self._turns.popleft()
            queue.has_turn = False
            if queue.active >= self._limit(queue):  # it is no longer alone
                continue
            queue.active += 1
            self._waiting -= 1
            job = queue.waiting.popleft()
            self._taken = monotonic()
            waited, job.since = self._taken - job.since, self._taken
            if waited >= _NOTED_WAIT_S:
                self._wait_seconds.observe(waited)
            self._running.add(job)
            self._give_turn(queue)
            return job
        return None
