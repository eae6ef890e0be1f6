"""The limit of a key: a token bucket."""

import pytest

from portal_server.domain.keys import Caller, Role
from portal_server.wire import rates as module
from portal_server.wire.rates import Limit, Rates


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module, "monotonic", lambda: self.now)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def limit_of(rates: Rates, rate: int | None = None, burst: int | None = None) -> Limit:
    limit = Limit()
    caller = Caller("k", Role.VIEWER, requests_per_second=rate, burst=burst)
    rates.apply(caller, limit)
    return limit


def taken(limit: Limit) -> int:
    """How many requests pass now, at most 1000."""
    return next((number for number in range(1000) if limit.take()), 1000)


def test_without_a_limit_all_requests_pass() -> None:
    assert taken(limit_of(Rates())) == 1000


def test_a_burst_passes_and_then_the_rate(clock: Clock) -> None:
    limit = limit_of(Rates(), rate=10, burst=4)
    at_once = taken(limit)
    passed = []
    for _ in range(50):
        clock.now += 0.1001
        passed.append(taken(limit))

    assert at_once == 4
    assert passed == [1] * 50
    clock.now += 60
    assert taken(limit) == 4


def test_a_rejected_request_says_when_the_next_one_passes(clock: Clock) -> None:
    limit = limit_of(Rates(), rate=2, burst=1)
    limit.take()

    assert limit.take() == pytest.approx(0.5)
    clock.now += 0.3
    assert limit.take() == pytest.approx(0.2)
    clock.now += 0.2001
    assert limit.take() == 0.0


def test_rejected_requests_are_not_counted(clock: Clock) -> None:
    limit = limit_of(Rates(), rate=2, burst=1)
    limit.take()
    for _ in range(1000):
        limit.take()
    clock.now += 0.5001

    assert limit.take() == 0.0


def test_the_burst_is_as_many_as_in_a_second_by_default() -> None:
    assert taken(limit_of(Rates(), rate=7)) == 7
    assert taken(limit_of(Rates(requests_per_second=9))) == 9
    assert taken(limit_of(Rates(requests_per_second=9, burst=3))) == 3


def test_a_key_has_its_own_limit_before_that_of_the_settings() -> None:
    assert taken(limit_of(Rates(requests_per_second=5), rate=20)) == 20
    assert taken(limit_of(Rates(requests_per_second=50), rate=2)) == 2


def test_each_server_allows_its_share(clock: Clock) -> None:
    limit = limit_of(Rates(servers=4), rate=40, burst=20)
    at_once = taken(limit)
    clock.now += 1.0001

    assert at_once == 5
    assert taken(limit) == 5
    assert taken(limit_of(Rates(servers=4), rate=1)) == 1


def test_a_new_limit_holds_at_once() -> None:
    limit = limit_of(Rates(), rate=1, burst=1)
    limit.take()
    assert limit.take()
    Rates().apply(Caller("k", Role.VIEWER), limit)

    assert taken(limit) == 1000


def test_a_wider_limit_does_not_wait_for_the_old_one(clock: Clock) -> None:
    limit = limit_of(Rates(), rate=1, burst=100)
    taken(limit)
    Rates(requests_per_second=1000, burst=10).apply(Caller("k", Role.VIEWER), limit)
    clock.now += 0.0101

    assert taken(limit) == 10
