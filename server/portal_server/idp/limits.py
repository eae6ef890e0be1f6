"""How many calls a provider gets at once, and a breaker for one that is down.

A slow provider must not take all threads of the server, and one that is down must not make
each call wait for its deadline.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock

from portal_server.domain.errors import NotSent, Reason

MAX_RUNNING = 8
"""How many calls to a provider run at once."""
MAX_WAITING = 56
"""How many more wait for that."""
MAX_FAILURES = 5
"""After so many failures in sequence, calls fail at once."""
PAUSE_S = 10.0
"""For so long; then one call at a time tests the provider."""
_MAX_PROVIDERS = 1000


@dataclass(eq=False, slots=True)
class _Provider:
    changed: Condition
    running: int = 0
    waiting: deque[object] = field(default_factory=deque)
    failures: int = 0
    closed_until: float = 0.0
    probing: bool = False

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting


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
    """The limits of all providers, by uid. Safe for threads; its state is bounded."""

    def __init__(
        self, *, pause_s: float = PAUSE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pause_s = pause_s
        self._clock = clock
        self._lock = Lock()
        self._providers: OrderedDict[str, _Provider] = OrderedDict()

    @contextmanager
    def admit(self, uid: str, wait_s: float) -> Iterator[Ticket]:
        """Wait until a call to a provider may run, for `wait_s` at most.

        Raises:
            NotSent: too many calls wait (PROVIDER_BUSY), or the provider is down
                (PROVIDER_UNREACHABLE).
        """
        with self._lock:
            provider = self._enter(uid)
            self._wait(provider, wait_s)
            provider.running += 1
            probe = provider.failures >= MAX_FAILURES
            provider.probing = provider.probing or probe
        try:
            yield Ticket(self, provider)
        finally:
            with self._lock:
                provider.running -= 1
                if probe:
                    provider.probing = False
                provider.changed.notify_all()
                if provider.idle and not provider.failures and uid in self._providers:
                    del self._providers[uid]

    def record(self, provider: _Provider, *, reached: bool) -> None:
        """Count a failure, or start counting again."""
        with self._lock:
            if reached:
                provider.failures = 0
                return
            provider.failures += 1
            if provider.failures >= MAX_FAILURES:
                provider.closed_until = self._clock() + self._pause_s
                provider.changed.notify_all()

    def _enter(self, uid: str) -> _Provider:
        provider = self._providers.get(uid)
        if provider is None:
            provider = self._providers[uid] = _Provider(Condition(self._lock))
        self._providers.move_to_end(uid)
        if len(self._providers) > _MAX_PROVIDERS:
            for other in [key for key, each in self._providers.items() if each.idle]:
                if len(self._providers) <= _MAX_PROVIDERS:
                    break
                if other != uid:
                    del self._providers[other]
        return provider

    def _wait(self, provider: _Provider, wait_s: float) -> None:
        """Wait for a free place, in the order of arrival."""
        if provider.running >= MAX_RUNNING and len(provider.waiting) >= MAX_WAITING:
            raise _busy()
        end = self._clock() + wait_s
        me = object()
        provider.waiting.append(me)
        try:
            while True:
                self._check_open(provider)
                if provider.running < MAX_RUNNING and provider.waiting[0] is me:
                    return
                left = end - self._clock()
                if left <= 0:
                    raise _busy()
                provider.changed.wait(left)
        finally:
            provider.waiting.remove(me)
            provider.changed.notify_all()

    def _check_open(self, provider: _Provider) -> None:
        if provider.failures < MAX_FAILURES:
            return
        left = provider.closed_until - self._clock()
        if left > 0 or provider.probing:
            text = (
                f"the provider could not be reached {provider.failures} times in sequence;"
                " it is called again in a few seconds"
            )
            raise NotSent(Reason.PROVIDER_UNREACHABLE, text, retry_after_s=max(left, 1.0))


def _busy() -> NotSent:
    text = f"{MAX_RUNNING} calls to the provider are running, and others wait; retry later"
    return NotSent(Reason.PROVIDER_BUSY, text, retry_after_s=1.0)
