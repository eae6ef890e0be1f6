"""How many calls a provider gets at once, and a breaker for one that is down.

A slow provider must not take all threads of the server, and one that is down must not make
each call wait for its deadline.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from portal_server.domain.errors import NotSent, Reason

MAX_RUNNING = 8
"""How many calls to a provider run at once."""
MAX_WAITING = 56
"""How many more calls may wait."""
MAX_FAILURES = 5
"""After this many consecutive failures, calls fail without a request."""
PAUSE_S = 10.0
"""For this long; then one call at a time tests the provider."""
REJECT_AFTER_S = 2.0
"""How long such a call waits before it fails: a caller that retries at once would take CPU
from others. Its thread only waits."""
_MAX_PROVIDERS = 1000


class _Waiter:
    """A call that waits until it may run."""

    __slots__ = ("_woken", "admitted", "probes")

    def __init__(self) -> None:
        self.admitted = self.probes = False
        self._woken = Lock()
        self._woken.acquire()

    def wait(self, seconds: float) -> None:
        self._woken.acquire(timeout=max(seconds, 0))

    def wake(self) -> None:
        self._woken.release()


@dataclass(eq=False, slots=True)
class _Provider:
    running: int = 0
    waiting: deque[_Waiter] = field(default_factory=deque)
    failures: int = 0
    closed_until: float = 0.0
    probing: bool = False

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting

    def down_for(self, now: float) -> float | None:
        """For how many seconds no call may run, because it is down; None: calls may run."""
        if self.failures < MAX_FAILURES:
            return None
        left = self.closed_until - now
        return left if left > 0 or self.probing else None

    def admit(self, now: float) -> bool:
        """Let a call run if the limit allows it; returns whether it does."""
        if self.running >= MAX_RUNNING or self.down_for(now) is not None:
            return False
        self.running += 1
        self.probing = self.failures >= MAX_FAILURES
        return True


class Ticket:
    """A call that runs. It reports whether the provider could be reached."""

    def __init__(self, limits: "Limits", provider: _Provider) -> None:
        self._limits = limits
        self._provider = provider

    def reached(self) -> None:
        """The provider responded."""
        self._limits.record(self._provider, reached=True)

    def failed(self) -> None:
        """The provider could not be reached, or did not respond in time."""
        self._limits.record(self._provider, reached=False)


class Limits:
    """The limits of all providers, by uid. Thread-safe; its state is bounded."""

    def __init__(
        self,
        *,
        pause_s: float = PAUSE_S,
        reject_after_s: float = REJECT_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause_s = pause_s
        self._reject_after_s = reject_after_s
        self._clock = clock
        self._lock = Lock()
        self._providers: OrderedDict[str, _Provider] = OrderedDict()

    @contextmanager
    def admit(self, uid: str, wait_s: float) -> Iterator[Ticket]:
        """Wait until a call to a provider may run, at most `wait_s`.

        Raises:
            NotSent: too many calls wait (PROVIDER_BUSY), or the provider is down
                (PROVIDER_UNREACHABLE).
        """
        provider, probes = self._take_place(uid, wait_s)
        try:
            yield Ticket(self, provider)
        finally:
            with self._lock:
                provider.running -= 1
                provider.probing = provider.probing and not probes
                self._admit_waiting(provider)
                if provider.idle and not provider.failures and uid in self._providers:
                    del self._providers[uid]

    def record(self, provider: _Provider, *, reached: bool) -> None:
        """Count a failure, or reset the count."""
        with self._lock:
            if reached:
                provider.failures = 0
                return
            provider.failures += 1
            if provider.failures >= MAX_FAILURES:
                provider.closed_until = self._clock() + self._pause_s
                while provider.waiting:
                    provider.waiting.popleft().wake()

    def _take_place(self, uid: str, wait_s: float) -> tuple[_Provider, bool]:
        """Wait until the call may run; returns the provider, and whether the call tests it."""
        with self._lock:
            provider = self._enter(uid)
            waiter = None
            if provider.waiting or not provider.admit(self._clock()):
                error = self._rejection(provider)
                if error is None:
                    waiter = _Waiter()
                    provider.waiting.append(waiter)
            else:
                return provider, provider.probing
        if waiter:
            waiter.wait(wait_s)
            with self._lock:
                if waiter.admitted:
                    return provider, waiter.probes
                if waiter in provider.waiting:
                    provider.waiting.remove(waiter)
                    raise _busy()
                error = self._down(provider)
        time.sleep(self._reject_after_s)
        raise error or _busy()

    def _rejection(self, provider: _Provider) -> NotSent | None:
        """Why a call may not wait."""
        if provider.down_for(self._clock()) is not None:
            return self._down(provider)
        return _busy() if len(provider.waiting) >= MAX_WAITING else None

    def _down(self, provider: _Provider) -> NotSent:
        text = (
            f"the provider could not be reached {provider.failures} times in a row;"
            " it is called again in a few seconds"
        )
        left = provider.closed_until - self._clock()
        return NotSent(Reason.PROVIDER_UNREACHABLE, text, retry_after_s=max(left, 1.0))

    def _admit_waiting(self, provider: _Provider) -> None:
        """Let waiting calls run as the limit allows, in the order of arrival."""
        while provider.waiting and provider.admit(self._clock()):
            waiter = provider.waiting.popleft()
            waiter.admitted, waiter.probes = True, provider.probing
            waiter.wake()

    def _enter(self, uid: str) -> _Provider:
        provider = self._providers.get(uid)
        if provider is None:
            provider = self._providers[uid] = _Provider()
        self._providers.move_to_end(uid)
        if len(self._providers) > _MAX_PROVIDERS:
            for other in [key for key, each in self._providers.items() if each.idle]:
                if len(self._providers) <= _MAX_PROVIDERS:
                    break
                if other != uid:
                    del self._providers[other]
        return provider


def _busy() -> NotSent:
    text = f"{MAX_RUNNING} calls to the provider are running, and others wait; retry later"
    return NotSent(Reason.PROVIDER_BUSY, text, retry_after_s=1.0)
