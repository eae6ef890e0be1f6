"""A call in progress: whether its response is still wanted, and whether it may be a retry."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Identifies a request that is executed once, no matter how often it is sent (AIP-155).

    `digest` is a hash of the caller and the request's id, `fingerprint` one of the
    request. `key_id` is the id of the caller's API key.
    """

    digest: bytes
    fingerprint: bytes
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A call in progress.

    `still_wanted` returns, in any thread, whether the caller is connected and its
    deadline has not passed. `idempotency` is None for a request without an id.
    `validate_only` is whether everything is checked and nothing is written (AIP-163). The
    defaults are for work without a waiting caller.
    """

    still_wanted: Callable[[], bool] = lambda: True
    idempotency: IdempotencyKey | None = None
    validate_only: bool = False
