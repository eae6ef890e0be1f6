"""Calls that share a thread: while one waits for the others, the thread begins the next.

Each call runs in a greenlet. Waking another thread for each call costs a switch of threads and
of the interpreter's lock, several times as much as a switch of greenlets.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet


class Calls:
    """The calls of one thread that have begun and not ended. Only that thread uses it."""

    def __init__(self) -> None:
        self._paused: deque[greenlet] = deque()

    def __len__(self) -> int:
        """How many calls are paused."""
        return len(self._paused)

    def begin(self, run: Callable[..., object], *arguments: Any) -> None:
        """Run a call until it pauses or ends."""
        self._go_on(greenlet(run), *arguments)

    def go_on(self) -> None:
        """Run each paused call until it pauses again or ends."""
        for _ in range(len(self._paused)):
            self._go_on(self._paused.popleft())

    def _go_on(self, call: greenlet, *arguments: Any) -> None:
        call.switch(*arguments)
        if call:  # it has not ended
            self._paused.append(call)


def pause() -> None:
    """Let the other calls of this thread begin; returns at once if the thread runs no calls."""
    begun_by = getcurrent().parent
    if begun_by is not None:
        begun_by.switch()
