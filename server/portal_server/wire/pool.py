"""The threads that serve calls, and an end to how many calls wait for one."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Result = TypeVar("Result")
P = ParamSpec("P")


class CallPool(ThreadPoolExecutor):
    """A pool of threads that knows how much waits for them."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        """Take how many calls are served at the same time, and how many may wait."""
        super().__init__(threads, "call")
        self._max_waiting = max_waiting
        self._waiting = 0
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether no further call may wait."""
        return self._waiting >= self._max_waiting

    def submit(
        self, fn: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[Result]:
        """Have a thread serve a call."""

        def begin() -> Result:
            with self._lock:
                self._waiting -= 1
            return fn(*args, **kwargs)

        with self._lock:
            self._waiting += 1
        return super().submit(begin)
