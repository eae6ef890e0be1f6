"""How many requests a second an API key may send.

The servers of one `portal up` do not count together: each allows its share, because Envoy
spreads the requests of a key over them.
"""

from dataclasses import dataclass
from time import monotonic

from portal_server.domain.keys import Caller

# More than the error of the sums of times, and less than any interval.
_ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of the settings, for keys without their own; None: no limit.

    `servers` is how many share a limit.
    """

    requests_per_second: int | None = None
    burst: int | None = None
    servers: int = 1

    def apply(self, caller: Caller, limit: "Limit") -> None:
        """Set the limit of a caller."""
        rate = caller.requests_per_second or self.requests_per_second
        if rate is None:
            limit.set(0.0, 0.0)
            return
        burst = caller.burst or self.burst or rate
        interval = self.servers / rate
        limit.set(interval, interval * (max(1.0, burst / self.servers) - 1))


class Limit:
    """A token bucket, as the time at which it is full again.

    It has no lock: the event thread of grpcio is its only user. A second one, for the direct
    port, might let a few more requests pass.
    """

    __slots__ = ("_full_at", "_interval", "_tolerance")

    def __init__(self) -> None:
        self._interval = 0.0
        self._tolerance = 0.0
        self._full_at = 0.0

    def set(self, interval_s: float, tolerance_s: float) -> None:
        """Allow a request in each interval, and that many seconds of them at once; 0: all."""
        if (interval_s, tolerance_s) == (self._interval, self._tolerance):
            return
        self._interval = interval_s
        self._tolerance = tolerance_s
        # Not empty for longer than the new limit would leave it.
        self._full_at = min(self._full_at, monotonic() + tolerance_s)

    def take(self) -> float:
        """Count a request; returns 0.0, or how many seconds too early it is."""
        if not self._interval:
            return 0.0
        now = monotonic()
        ahead = max(0.0, self._full_at - now)
        if ahead > self._tolerance + _ROUNDING_S:
            return ahead - self._tolerance
        self._full_at = now + ahead + self._interval
        return 0.0
