"""How many calls a provider gets at once, and the breaker."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from portal_server.domain.errors import NotSent, Reason
from portal_server.idp.access import Access
from portal_server.idp.limits import MAX_FAILURES, MAX_RUNNING, MAX_WAITING, Limits
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.scripted import Bytes, Scripted, Seen, closed_port, http

METADATA = {"client_name": "web"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> Limits:
    return Limits(clock=clock, reject_after_s=0)


def fail(limits: Limits, uid: str = "one") -> None:
    with limits.admit(uid, 0) as ticket:
        ticket.failed()


def test_a_provider_gets_eight_calls_at_once(limits: Limits) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_RUNNING):
            stack.enter_context(limits.admit("one", 0))
        with pytest.raises(NotSent) as caught, limits.admit("one", 0):
            pass
        assert caught.value.reason is Reason.PROVIDER_BUSY
        with limits.admit("another", 0):
            pass
    with limits.admit("one", 0):
        pass


def test_a_bounded_number_of_calls_waits() -> None:
    limits = Limits(reject_after_s=0)
    entered = threading.Semaphore(0)
    release = threading.Event()

    def call() -> None:
        entered.release()
        with limits.admit("one", 30):
            release.wait(30)

    with ThreadPoolExecutor(MAX_RUNNING + MAX_WAITING) as pool:
        futures = [pool.submit(call) for _ in range(MAX_RUNNING + MAX_WAITING)]
        for _ in futures:
            entered.acquire()
        start = time.monotonic()
        while time.monotonic() - start < 5:
            try:
                with limits.admit("one", 0.01):
                    pass
            except NotSent as error:
                reason = error.reason
            time.sleep(0.01)
            if len(limits._providers["one"].waiting) == MAX_WAITING:  # noqa: SLF001
                break
        with pytest.raises(NotSent) as caught, limits.admit("one", 30):
            pass
        assert time.monotonic() - start < 10
        assert reason is caught.value.reason is Reason.PROVIDER_BUSY
        release.set()
        for future in futures:
            future.result()
    assert not limits._providers  # noqa: SLF001


def test_calls_fail_at_once_after_five_failures(limits: Limits, clock: Clock) -> None:
    for _ in range(MAX_FAILURES):
        fail(limits)
    with pytest.raises(NotSent) as caught, limits.admit("one", 0):
        pass
    assert caught.value.reason is Reason.PROVIDER_UNREACHABLE
    assert caught.value.retry_after_s == 10
    with limits.admit("another", 0):
        pass
    clock.now += 10.1
    with limits.admit("one", 0) as probe:
        with pytest.raises(NotSent), limits.admit("one", 0):
            pass
        probe.reached()
    with limits.admit("one", 0), limits.admit("one", 0):
        pass


def test_a_failed_test_call_blocks_calls_again(limits: Limits, clock: Clock) -> None:
    for _ in range(MAX_FAILURES):
        fail(limits)
    clock.now += 10.1
    fail(limits)
    with pytest.raises(NotSent), limits.admit("one", 0):
        pass
    clock.now += 10.1
    with limits.admit("one", 0):
        pass  # a probe that reports nothing, such as one that failed before it was sent
    with limits.admit("one", 0) as ticket:
        ticket.reached()


def test_a_success_starts_the_count_again(limits: Limits) -> None:
    for _ in range(3):
        for _ in range(MAX_FAILURES - 1):
            fail(limits)
        with limits.admit("one", 0) as ticket:
            ticket.reached()


def test_the_state_is_bounded(limits: Limits) -> None:
    for number in range(3000):
        fail(limits, str(number))
    assert len(limits._providers) <= 1001  # noqa: SLF001


def test_a_provider_that_is_down_is_not_called_for_a_while() -> None:
    registrar = Registrar(allow_private=True)
    url = f"http://127.0.0.1:{closed_port()}"
    access = access_to(f"{url}/", registration_endpoint=f"{url}/register")
    messages = []
    for _ in range(MAX_FAILURES + 1):
        with pytest.raises(NotSent) as caught:
            registrar.register(access, METADATA)
        messages.append(caught.value.message)
    assert "no connection" in messages[MAX_FAILURES - 1]
    assert "5 times in a row" in messages[MAX_FAILURES]


@pytest.fixture
def slow() -> Iterator[tuple[Scripted, Access]]:
    def respond(_: Seen) -> Bytes:
        time.sleep(0.2)
        return http(201, {"client_id": "one"})

    with Scripted({"/register": respond}) as provider:
        access = access_to(provider.well_known, registration_endpoint=f"{provider.url}/register")
        yield provider, access


def test_calls_to_a_slow_provider_wait_for_each_other(
    registrar: Registrar, slow: tuple[Scripted, Access]
) -> None:
    provider, access = slow
    with ThreadPoolExecutor(20) as pool:
        start = time.monotonic()
        clients = list(pool.map(lambda _: registrar.register(access, METADATA), range(20)))
    assert len(clients) == len(provider.requests("POST")) == 20
    assert time.monotonic() - start > 0.55  # three rounds


def test_calls_in_a_block_wait_once(registrar: Registrar, provider: Scripted) -> None:
    provider.responses["/register"] = http(201, {"client_id": "one"})
    access = access_to(provider.well_known)
    limits = registrar._caller._limits  # noqa: SLF001
    with ExitStack() as stack:
        stack.enter_context(registrar.admitted(access))
        for _ in range(MAX_RUNNING - 1):
            stack.enter_context(limits.admit(access.provider.uid, 0))
        assert registrar.register(access, METADATA).client_id == "one"
        with pytest.raises(NotSent), limits.admit(access.provider.uid, 0):
            pass
    assert not limits._providers  # noqa: SLF001
