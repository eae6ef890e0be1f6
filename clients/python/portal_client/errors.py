"""What a call is refused with: one exception for each status that callers tell apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

_DETAILS: Final = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one field (`google.rpc.BadRequest`)."""

    field: str
    description: str

    def __str__(self) -> str:
        """The field and what is wrong with it."""
        return f"{self.field}: {self.description}"


class PortalError(Exception):
    """A call that was not answered with a result.

    Attributes:
        code: the gRPC status.
        reason: a word for programs, such as `ETAG_MISMATCH` (AIP-193); "" when there is none.
        message: a sentence for people.
        violations: what is wrong with which field; empty unless fields are.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        violations: Sequence[Violation] = (),
    ) -> None:
        """Take what the server said."""
        super().__init__("; ".join(map(str, violations)) or message)
        self.code = code
        self.message = message
        self.reason = reason
        self.violations = tuple(violations)


class InvalidArgument(PortalError):
    """Fields are missing or not acceptable: see `violations`."""


class NotFound(PortalError):
    """There is no such provider, or it has no such client type."""


class Unauthenticated(PortalError):
    """No key, or not a good one."""


class PermissionDenied(PortalError):
    """The key's role does not allow the call."""


class FailedPrecondition(PortalError):
    """The state of something else forbids it; the message says of what."""


class Aborted(PortalError):
    """Somebody else was first; with the reason `ETAG_MISMATCH`, the resource has changed."""


class ResourceExhausted(PortalError):
    """The server has more to do than it takes."""


class DeadlineExceeded(PortalError):
    """No answer in time; what was asked may be done all the same."""


class Unavailable(PortalError):
    """The server cannot be reached, also not by trying again for a while."""


_ERRORS: Final[dict[grpc.StatusCode, type[PortalError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
}


def from_rpc(error: Any) -> PortalError:
    """The exception for what a call of grpc or grpc.aio failed with."""
    violations: list[Violation] = []
    reason = ""
    for detail in _status(error).details:
        bad, info = BadRequest(), ErrorInfo()
        if detail.Unpack(bad):
            violations += (Violation(v.field, v.description) for v in bad.field_violations)
        elif detail.Unpack(info):
            reason = info.reason
    kind = _ERRORS.get(error.code(), PortalError)
    return kind(error.code(), error.details() or error.code().name, reason, violations)


def _status(error: Any) -> Status:
    metadata = dict(error.trailing_metadata() or ())
    return Status.FromString(metadata.get(_DETAILS, b""))
