"""Threads and queues: whose turn it is, and how much runs and waits."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from portal_server.wire.pool import Job, Pool, Queue


def queue(owner: object, running: int = 4, alone: int = 4, waiting: int = 1000) -> Queue:
    return Queue(owner=owner, running=running, running_alone=alone, max_waiting=waiting)


def job(run: Callable[[], object], cancel: Callable[[], object] = lambda: None) -> Job:
    return Job(run, cancel)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@contextmanager
def pool(threads: int, max_waiting: int = 10_000) -> Iterator[Pool]:
    made = Pool("test", threads, max_waiting)
    yield made
    made.stop()


class Held:
    """Jobs that last until they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.active = 0
        self.most = 0
        self._lock = threading.Lock()

    def run(self) -> None:
        with self._lock:
            self.active += 1
            self.most = max(self.most, self.active)
        self.let_go.wait(10)
        with self._lock:
            self.active -= 1


def test_keys_are_served_round_robin_however_many_calls_of_one_wait() -> None:
    held, order = Held(), list[str]()
    with pool(1) as threads:
        many, one = queue("many"), queue("one")
        threads.offer(many, job(held.run))
        for _ in range(100):
            threads.offer(many, job(lambda: order.append("many")))
        for _ in range(3):
            threads.offer(one, job(lambda: order.append("one")))
        held.let_go.set()
        until(lambda: len(order) == 103)

    assert order[:6].count("one") == 3


def test_a_key_runs_no_more_calls_than_it_may_and_others_have_the_rest() -> None:
    held, ran = Held(), threading.Event()
    with pool(8) as threads:
        mine = queue("mine")
        for _ in range(50):
            assert threads.offer(mine, job(held.run))
        until(lambda: held.active == 4)
        threads.offer(queue("other"), job(ran.set))
        assert ran.wait(2)
        held.let_go.set()
        until(lambda: threads.in_flight == 0)

    assert held.most == 4


def test_a_key_alone_runs_more_and_again_when_it_is_alone_again() -> None:
    held = Held()
    with pool(8) as threads:
        mine, other = queue("mine", running=2, alone=6), queue("other")
        for _ in range(30):
            threads.offer(mine, job(held.run))
        until(lambda: held.active == 6)
        threads.offer(other, job(lambda: None))
        held.let_go.set()
        until(lambda: threads.in_flight == 0)
        shared = Held()
        for _ in range(30):
            threads.offer(mine, job(shared.run))
        until(lambda: shared.active == 2)
        time.sleep(1.1)
        assert shared.active == 2
        threads.offer(mine, job(lambda: None))
        until(lambda: shared.active > 2)
        shared.let_go.set()
        until(lambda: threads.in_flight == 0)

    assert held.most == 6


def test_past_the_bound_of_the_key_or_of_the_pool_no_call_may_wait() -> None:
    held = Held()
    with pool(1, max_waiting=5) as threads:
        one, two = queue("one", waiting=3), queue("two", waiting=3)
        threads.offer(one, job(held.run))
        until(lambda: held.active == 1)
        first = [threads.offer(one, job(lambda: None)) for _ in range(5)]
        second = [threads.offer(two, job(lambda: None)) for _ in range(5)]
        rejected = threads.rejected
        held.let_go.set()
        until(lambda: threads.in_flight == 0)

    assert first == [True] * 3 + [False] * 2
    assert second == [True] * 2 + [False] * 3
    assert rejected == 5


def test_calls_that_hold_a_thread_too_long_are_cancelled() -> None:
    held, cancelled = Held(), list[str]()
    with pool(2) as threads:
        threads.offer(queue("x"), job(held.run, lambda: cancelled.append("old")))
        time.sleep(0.3)
        threads.offer(queue("y"), job(held.run, lambda: cancelled.append("new")))
        threads.cancel(0.2)
        held.let_go.set()

    assert cancelled == ["old"]


def test_a_job_that_fails_leaves_its_thread_working() -> None:
    ran = threading.Event()

    def fail() -> None:
        raise ValueError

    with pool(1) as threads:
        threads.offer(queue("x"), job(fail))
        threads.offer(queue("x"), job(ran.set))
        assert ran.wait(2)
