"""What the two clients share to watch changes: when a stream that ended is opened again."""

from collections.abc import Iterator
from typing import Any, Final

import grpc

from portal.oauth.v1.watch_pb2 import Change, WatchRequest
from portal_client.errors import PortalError, from_rpc

STREAM_S: Final = 900.0
"""How long a stream lasts at most; Envoy ends it earlier."""
_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
# They would recur.
_FINAL: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.NOT_FOUND,
    }
)


class Resumption:
    """The request for the next stream, and the pause before it."""

    def __init__(self, request: WatchRequest, retries_s: float) -> None:
        self.request = request
        self._retries_s = retries_s
        self._waited_s = 0.0
        self._pause_s = _PAUSE_S

    def changes(self, response: Any) -> Iterator[Change]:
        """The changes of a response, after which a next stream continues."""
        self._waited_s, self._pause_s = 0.0, _PAUSE_S
        yield from response.changes
        self.request.resume_token = response.resume_token

    def check(self, error: Any) -> None:
        """Accept an error after which a next stream may succeed.

        Raises:
            PortalError: it would fail as well, or has failed for too long.
        """
        converted: PortalError = from_rpc(error)
        if converted.code in _FINAL or self._waited_s >= self._retries_s:
            raise converted

    def pause(self) -> float:
        """How long to wait before the next stream, in seconds."""
        pause = self._pause_s
        self._waited_s += pause
        self._pause_s = min(2 * pause, _LONGEST_PAUSE_S)
        return pause


def request_of(
    kinds: Any,
    provider_id: int,
    filter: str,  # noqa: A002 - AIP-160
    resume_token: str,
) -> WatchRequest:
    """The request of Watch."""
    return WatchRequest(
        kinds=kinds, provider_id=provider_id, filter=filter, resume_token=resume_token
    )
