"""Periodic work of a server: log rejections, cancel calls that take too long, free resources."""

import ctypes
import logging
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Protocol

from portal_server.wire.interceptors.log import report_rejections
from portal_server.wire.pool import Pool

log = logging.getLogger("portal.upkeep")

MAX_THREAD_S = 30.0
"""How long a call may hold a thread. A call takes at most 10 s, or longer if its caller does not
read the response; a reflection stream holds its thread until it ends."""
_LOG_PERIOD_S = 1.0
_TRIM_PERIOD_S = 10.0


class _Rejecting(Protocol):
    @property
    def rejected(self) -> int:
        """Number of rejected calls."""


class Upkeep:
    """The periodic work. `others` also reject calls; `tasks` are called with every look."""

    def __init__(
        self,
        pools: Iterable[Pool],
        others: Iterable[_Rejecting],
        tasks: Iterable[Callable[[], object]],
    ) -> None:
        self._pools = tuple(pools)
        self._rejecting: tuple[_Rejecting, ...] = (*self._pools, *others)
        self._rejected = 0
        self._logged = self._trimmed = monotonic()
        self._trim = _trimmer()
        self._tasks = tuple(tasks)

    def look(self) -> None:
        """Do the work that is due."""
        now = monotonic()
        for pool in self._pools:
            pool.cancel(MAX_THREAD_S)
        if now - self._logged >= _LOG_PERIOD_S:
            self._logged = now
            self._log_rejected()
            report_rejections()
        if now - self._trimmed >= _TRIM_PERIOD_S:
            self._trimmed = now
            self._trim()
        for task in self._tasks:
            task()

    def _log_rejected(self) -> None:
        rejected = sum(one.rejected for one in self._rejecting)
        if rejected > self._rejected:
            count = rejected - self._rejected
            log.warning("rejected %d calls: too many queued or open calls", count)
        self._rejected = rejected


def _trimmer() -> Callable[[], object]:
    """The function that returns free memory to the system; glibc would keep it."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return lambda: None
    return lambda: trim(0)
