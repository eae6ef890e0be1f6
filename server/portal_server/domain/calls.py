"""Whether anybody still waits for the answer of the call that this thread serves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_wanted: ContextVar[Callable[[], bool]] = ContextVar("wanted", default=lambda: True)


@contextmanager
def wanted_while(wanted: Callable[[], bool]) -> Iterator[None]:
    """Serve a call that is wanted while this says so: its caller is there, its deadline ahead."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def still_wanted() -> Callable[[], bool]:
    """What tells, from any thread, whether this thread's call is still wanted."""
    return _wanted.get()
