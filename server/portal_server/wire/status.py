"""Which status a domain error becomes (AIP-193)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status

from portal_server.domain import errors
from portal_server.domain.errors import (
    AlreadyExists,
    Invalid,
    NotFound,
    PortalError,
    Precondition,
    Reason,
    Resource,
    Violation,
)
from portal_server.wire.requests import RequestId, of_field

ERROR_DOMAIN = "oauth-portal"

# All violations are in the details; the message has the first few, and not more
# of them than leaves the trailers under the 8 KiB that gRPC clients take.
_IN_MESSAGE = 3
_MAX_MESSAGE = 300

_CODES: dict[type[PortalError], "Code.ValueType"] = {
    errors.Invalid: Code.INVALID_ARGUMENT,
    errors.NotFound: Code.NOT_FOUND,
    errors.AlreadyExists: Code.ALREADY_EXISTS,
    errors.Precondition: Code.FAILED_PRECONDITION,
    errors.Unauthenticated: Code.UNAUTHENTICATED,
    errors.Forbidden: Code.PERMISSION_DENIED,
    errors.Exhausted: Code.RESOURCE_EXHAUSTED,
    errors.Aborted: Code.ABORTED,
    errors.Unavailable: Code.UNAVAILABLE,
    errors.Abandoned: Code.CANCELLED,
    errors.DeadlineExceeded: Code.DEADLINE_EXCEEDED,
}

# What is over soon, so that the same call may succeed: the status says when to try again.
_RETRIABLE = (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE)
RETRY_SECONDS = 1

_RESOURCE_TYPES = {
    Resource.PROVIDER: "portal.oauth.v1.Provider",
    Resource.CLIENT_TYPE: "portal.oauth.v1.ClientType",
}


@dataclass(frozen=True, slots=True)
class Surface:
    """How one service spells the model's fields and words, and where it has a request's id.

    A field that is not in `fields` is spelled as it is.
    """

    fields: Mapping[str, str]
    spell: Callable[[StrEnum], str]
    request_id: RequestId = of_field

    def violation(self, violation: Violation) -> BadRequest.FieldViolation:
        """A violation in this surface's spelling."""
        description = violation.message
        if violation.allowed:
            description += "; allowed: " + ", ".join(map(self.spell, violation.allowed))
        return BadRequest.FieldViolation(
            field=self.fields.get(violation.field, violation.field),
            description=description,
            reason=violation.rule,
        )


def to_status(error: PortalError, surface: Surface) -> Status:
    """The status of an error."""
    details: list[Message] = [ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN)]
    message = error.message
    if isinstance(error, Invalid):
        violations = [surface.violation(v) for v in error.violations]
        details.append(BadRequest(field_violations=violations))
        message = "; ".join(f"{v.field}: {v.description}" for v in violations[:_IN_MESSAGE])
        if len(violations) > _IN_MESSAGE:
            message += f"; and {len(violations) - _IN_MESSAGE} more"
        if len(message) > _MAX_MESSAGE:
            message = message[:_MAX_MESSAGE] + "…"
    if isinstance(error, (NotFound, AlreadyExists)):
        details.append(
            ResourceInfo(
                resource_type=_RESOURCE_TYPES[error.resource],
                resource_name=str(error.id),
                description=message,
            )
        )
    if isinstance(error, Precondition):
        broken = PreconditionFailure.Violation(type=error.reason, description=message)
        details.append(PreconditionFailure(violations=[broken]))
    return _status(_CODES[type(error)], message, details)


def internal(number: str) -> Status:
    """The status of a bug: nothing but a number, under which the log has the rest."""
    info = ErrorInfo(reason=Reason.INTERNAL, domain=ERROR_DOMAIN, metadata={"error": number})
    return _status(Code.INTERNAL, f"internal error {number}", [info])


def _status(code: "Code.ValueType", message: str, details: list[Message]) -> Status:
    if code in _RETRIABLE:
        details = [*details, RetryInfo(retry_delay=Duration(seconds=RETRY_SECONDS))]
    packed = []
    for detail in details:
        any_ = Any()
        any_.Pack(detail)
        packed.append(any_)
    return Status(code=code, message=message, details=packed)
