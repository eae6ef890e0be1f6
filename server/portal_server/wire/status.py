"""Which status a domain error becomes (AIP-193)."""

import math
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
    Exhausted,
    Invalid,
    NotFound,
    PortalError,
    Precondition,
    ProviderError,
    Reason,
    Resource,
    Violation,
)
from portal_server.wire.requests import RequestId, of_field

ERROR_DOMAIN = "oauth-portal"

# All violations are in the details; the message has the first few, so that
# the trailers stay under the 8 KiB that gRPC clients accept.
_IN_MESSAGE = 3
_MAX_MESSAGE = 300
_MAX_ERROR = 100

_CODES: dict[type[PortalError], "Code.ValueType"] = {
    errors.Invalid: Code.INVALID_ARGUMENT,
    errors.NotFound: Code.NOT_FOUND,
    errors.AlreadyExists: Code.ALREADY_EXISTS,
    errors.Precondition: Code.FAILED_PRECONDITION,
    errors.Unauthenticated: Code.UNAUTHENTICATED,
    errors.CertificateExpired: Code.UNAUTHENTICATED,
    errors.Forbidden: Code.PERMISSION_DENIED,
    errors.Exhausted: Code.RESOURCE_EXHAUSTED,
    errors.OutOfRange: Code.OUT_OF_RANGE,
    errors.Aborted: Code.ABORTED,
    errors.Unavailable: Code.UNAVAILABLE,
    errors.Abandoned: Code.CANCELLED,
    errors.DeadlineExceeded: Code.DEADLINE_EXCEEDED,
    errors.Unimplemented: Code.UNIMPLEMENTED,
    errors.ProviderError: Code.UNAVAILABLE,
    errors.NotSent: Code.UNAVAILABLE,
    errors.Rejected: Code.FAILED_PRECONDITION,
    errors.OutcomeUnknown: Code.UNAVAILABLE,
}
# The reason decides these, because the classes say only what happened at the provider.
_CODES_BY_REASON: dict[Reason, "Code.ValueType"] = {
    Reason.NO_REGISTRATION_ENDPOINT: Code.FAILED_PRECONDITION,
    Reason.PROVIDER_TLS_NOT_TRUSTED: Code.FAILED_PRECONDITION,
    Reason.PROVIDER_ADDRESS_NOT_ALLOWED: Code.FAILED_PRECONDITION,
    Reason.PROVIDER_CREDENTIAL_REJECTED: Code.FAILED_PRECONDITION,
    Reason.PROVIDER_BUSY: Code.RESOURCE_EXHAUSTED,
    Reason.PROVIDER_TIMEOUT: Code.DEADLINE_EXCEEDED,
}

# Errors after which a retry may succeed soon: the status says when to retry.
_RETRIABLE = (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE)
RETRY_SECONDS = 1

_RESOURCE_TYPES = {
    Resource.PROVIDER: "portal.oauth.v1.Provider",
    Resource.CLIENT_TYPE: "portal.oauth.v1.ClientType",
    Resource.CLIENT: "portal.oauth.v1.Client",
    Resource.API_KEY: "portal.oauth.v1.ApiKey",
}


@dataclass(frozen=True, slots=True)
class Surface:
    """How one service spells the domain's fields and words, and where it has a request's id.

    A field that is not in `fields` is spelled as it is.
    """

    fields: Mapping[str, str]
    spell: Callable[[StrEnum], str]
    request_id: RequestId = of_field

    def violation(self, violation: Violation) -> BadRequest.FieldViolation:
        """A violation in the spelling of this API."""
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
    info = ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN)
    details: list[Message] = [info]
    message = error.message
    retry_s = RETRY_SECONDS
    if isinstance(error, (Exhausted, ProviderError)):
        retry_s = max(retry_s, math.ceil(error.retry_after_s))
    if isinstance(error, ProviderError):
        info.metadata.update(_of_provider(error))
        if error.reason is Reason.PROVIDER_REJECTED:
            message = error.description or error.error or message
        message = _shortened(message)
    if isinstance(error, Invalid):
        violations = [surface.violation(v) for v in error.violations]
        details.append(BadRequest(field_violations=violations))
        message = "; ".join(f"{v.field}: {v.description}" for v in violations[:_IN_MESSAGE])
        if len(violations) > _IN_MESSAGE:
            message += f"; and {len(violations) - _IN_MESSAGE} more"
        message = _shortened(message)
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
    code = _CODES_BY_REASON.get(error.reason, _CODES[type(error)])
    return _status(code, message, details, retry_s)


def internal(trace_id: str) -> Status:
    """The status of a bug: only the trace ID, with which the log has the details."""
    info = ErrorInfo(reason=Reason.INTERNAL, domain=ERROR_DOMAIN)
    return _status(Code.INTERNAL, f"internal error {trace_id}", [info])


def _of_provider(error: ProviderError) -> dict[str, str]:
    """What the provider itself reported (RFC 7591, section 3.2.2)."""
    found = {
        "http_status": str(error.http_status or ""),
        "error": _shortened(error.error, _MAX_ERROR),
        "error_description": _shortened(error.description),
    }
    return {name: value for name, value in found.items() if value}


def _shortened(text: str, length: int = _MAX_MESSAGE) -> str:
    return text if len(text) <= length else text[:length] + "…"


def _status(
    code: "Code.ValueType",
    message: str,
    details: list[Message],
    retry_s: int = RETRY_SECONDS,
) -> Status:
    if code in _RETRIABLE:
        details = [*details, RetryInfo(retry_delay=Duration(seconds=retry_s))]
    packed = []
    for detail in details:
        any_ = Any()
        any_.Pack(detail)
        packed.append(any_)
    return Status(code=code, message=message, details=packed)
