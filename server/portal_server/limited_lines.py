"""Log lines that anyone can cause, with an API key or without one."""

import threading
from time import monotonic

LINES_PER_SECOND = 20
"""How many of them each process logs in a second."""


class LimitedLines:
    """Allows a limited number of lines a second, and counts the others. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second = 0
        self._allowed = 0
        self._unlogged = 0

    def allow(self, lines: int = 1) -> int:
        """How many of these lines may be logged now."""
        second = int(monotonic())
        with self._lock:
            if second != self._second:
                self._second, self._allowed = second, 0
            allowed = min(lines, LINES_PER_SECOND - self._allowed)
            self._allowed += allowed
            self._unlogged += lines - allowed
        return allowed

    def take_unlogged(self) -> int:
        """How many lines were not allowed since the last call of this."""
        with self._lock:
            unlogged, self._unlogged = self._unlogged, 0
        return unlogged
