"""The call that this thread serves: is it still wanted, may it be a retry."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is done once, however often it is sent (AIP-155).

    Both are hashes: `digest` of who sent it under which id, `fingerprint` of
    what it asks for. `key_id` names the key of who sent it.
    """

    digest: bytes
    fingerprint: bytes
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A call in progress.

    `still_wanted` tells, from any thread, whether its caller is there and its
    deadline ahead. `request` is None for one without an id.
    """

    still_wanted: Callable[[], bool] = lambda: True
    request: Request | None = None


_call: ContextVar[Call] = ContextVar("call", default=Call())  # noqa: B039 - frozen


@contextmanager
def serving(call: Call) -> Iterator[None]:
    """Serve this call."""
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)


def current() -> Call:
    """The call that this thread serves; outside of one, a call that is always wanted."""
    return _call.get()
