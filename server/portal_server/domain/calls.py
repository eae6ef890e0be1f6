"""A call in progress: who sent it, whether its response is wanted, whether it may be a retry."""

from collections.abc import Callable
from dataclasses import dataclass

from portal_server.domain.keys import SYSTEM, Caller


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
class Origin:
    """Where a call comes from.

    `method` is the path of the RPC (`/package.Service/Method`), or the command that does the
    work. `trace_id` is the ID that finds the call in every log (W3C Trace Context, section
    3.2.2.3: 32 hexadecimal digits), and `address` is the IP address of the client; each is
    empty if it is not known.
    """

    method: str = ""
    trace_id: str = ""
    address: str = ""


UNKNOWN = Origin()


@dataclass(frozen=True, slots=True)
class Call:
    """A call in progress.

    `still_wanted` returns, in any thread, whether the caller is connected and its
    deadline has not passed. `idempotency` is None for a request without an id.
    `validate_only` is whether everything is checked and nothing is written (AIP-163). `caller`
    is who sent it, and `origin` from where. The defaults are for work without a waiting caller.
    """

    still_wanted: Callable[[], bool] = lambda: True
    idempotency: IdempotencyKey | None = None
    validate_only: bool = False
    caller: Caller = SYSTEM
    origin: Origin = UNKNOWN

    def by_itself(self) -> "Call":
        """Work that this call began, and that goes on after the caller has gone."""
        return Call(caller=self.caller, origin=self.origin)
