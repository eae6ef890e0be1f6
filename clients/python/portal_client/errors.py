"""The exceptions of the client: one for each gRPC status that callers distinguish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from portal.oauth.v1.errors_pb2 import (
    ERROR_REASON_UNSPECIFIED,
    FIELD_ERROR_REASON_UNSPECIFIED,
    ErrorReason,
    FieldErrorReason,
)

__all__ = [
    "Aborted",
    "AlreadyExists",
    "DeadlineExceeded",
    "FailedPrecondition",
    "InvalidArgument",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "PortalError",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Violation",
]

_DETAILS: Final = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one field of a request (`google.rpc.BadRequest.FieldViolation`).

    Attributes:
        field: the path of the field in the request, such as `client_type.name`.
        description: a text for people.
        reason_name: the reason as the server sent it, such as `REQUIRED`; "" if it sent none.
    """

    field: str
    description: str
    reason_name: str = ""

    @property
    def reason(self) -> FieldErrorReason.ValueType:
        """The reason; unspecified if there is none or a newer server sent it."""
        try:
            return FieldErrorReason.Value(f"FIELD_ERROR_REASON_{self.reason_name}")
        except ValueError:
            return FIELD_ERROR_REASON_UNSPECIFIED

    def __str__(self) -> str:
        """The field and its description."""
        return f"{self.field}: {self.description}"


class PortalError(Exception):
    """A call that failed.

    Attributes:
        code: the gRPC status.
        reason_name: the reason as the server sent it (`ErrorInfo.reason`, AIP-193), such as
            `ETAG_MISMATCH`; "" if it sent none.
        message: the error message of the server.
        violations: the invalid fields; empty unless the status is INVALID_ARGUMENT.
        metadata: more about the reason (`ErrorInfo.metadata`). For an error of an identity
            provider: its `http_status`, `error` and `error_description`, if it sent them.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason_name: str = "",
        violations: Sequence[Violation] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("; ".join(map(str, violations)) or message)
        self.code = code
        self.message = message
        self.reason_name = reason_name
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})

    @property
    def reason(self) -> ErrorReason.ValueType:
        """The reason; unspecified if there is none or a newer server sent it."""
        try:
            return ErrorReason.Value(f"ERROR_REASON_{self.reason_name}")
        except ValueError:
            return ERROR_REASON_UNSPECIFIED


class InvalidArgument(PortalError):
    """Fields of the request are missing or invalid; see `violations`."""


class NotFound(PortalError):
    """The provider does not exist, or it has no such client type or client."""


class AlreadyExists(PortalError):
    """A resource with this uid exists."""


class Unauthenticated(PortalError):
    """The API key is missing, unknown or revoked."""


class PermissionDenied(PortalError):
    """The role of the API key does not allow the call."""


class FailedPrecondition(PortalError):
    """The state of a resource does not allow the call, or its provider rejected the request.

    A rejection has the reason ERROR_REASON_PROVIDER_REJECTED, and the message is the provider's.
    """


class Aborted(PortalError):
    """A concurrent change; with the reason ERROR_REASON_ETAG_MISMATCH, the resource has changed."""


class OutOfRange(PortalError):
    """The changes after the resume token are not available: list the resources again."""


class ResourceExhausted(PortalError):
    """The server or the provider is overloaded, and retries did not succeed in time."""


class DeadlineExceeded(PortalError):
    """No response in time. The request may have been completed: get the resource."""


class Unavailable(PortalError):
    """The server or the provider cannot be reached, and retries did not succeed in time."""


class Unimplemented(PortalError):
    """The provider has no way to do this, or the server does not have the method."""


_ERRORS: Final[dict[grpc.StatusCode, type[PortalError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRange,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
}


def from_rpc(error: Any) -> PortalError:
    """The exception for an error of grpc or grpc.aio."""
    violations: list[Violation] = []
    reason_name, more = "", dict[str, str]()
    for detail in _status(error).details:
        bad, info = BadRequest(), ErrorInfo()
        if detail.Unpack(bad):
            violations += (
                Violation(v.field, v.description, v.reason) for v in bad.field_violations
            )
        elif detail.Unpack(info):
            reason_name, more = info.reason, dict(info.metadata)
    kind = _ERRORS.get(error.code(), PortalError)
    message = error.details() or error.code().name
    return kind(error.code(), message, reason_name, violations, more)


def _status(error: Any) -> Status:
    metadata = dict(error.trailing_metadata() or ())
    return Status.FromString(metadata.get(_DETAILS, b""))
