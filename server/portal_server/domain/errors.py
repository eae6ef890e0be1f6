"""What can go wrong, without gRPC and SQL.

PortalError
 +- Invalid             the request breaks rules; lists all of them
 +- NotFound            the resource does not exist
 +- AlreadyExists       another resource has this uid
 +- Precondition        the request is valid, but the current state does not allow it
 +- Unauthenticated     no API key, or an invalid one
 +- CertificateExpired  the client's certificate has expired
 +- Forbidden           the role of the API key does not allow the call
 +- Exhausted           a limit of this server is reached
 +- OutOfRange          the request begins where there is nothing anymore, or not yet
 +- Aborted             a concurrent call changed the same data; retry
 +- Unavailable         the storage, the issuer or this server is not available; retry
 +- Abandoned           the caller is gone or its deadline has passed
 +- DeadlineExceeded    the storage was too slow
 +- Unimplemented       the provider has no way to do it
 +- ProviderError       a call to an identity provider failed
     +- NotSent         nothing reached the provider
     +- Rejected        the provider rejected the request: nothing was done
     +- OutcomeUnknown  it is unknown whether the provider did it

Callers see the text of each: it never contains a secret, a row or a driver's text.
Servicers and the catalog raise only these errors; only wire.status knows
which status each becomes.
"""

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """Which rule a field breaks. Programs switch on these; never rename one."""

    REQUIRED = "REQUIRED"
    UNKNOWN_VALUE = "UNKNOWN_VALUE"
    TOO_LONG = "TOO_LONG"
    MALFORMED = "MALFORMED"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    ALREADY_USED = "ALREADY_USED"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks one rule.

    `field` is its name in the domain and `allowed` the domain's words: each API
    has its own spelling of both. `message` continues a sentence that begins with the
    field's name.
    """

    field: str
    rule: Rule
    message: str
    allowed: tuple[StrEnum, ...] = ()


class Reason(StrEnum):
    """Why a call failed: the values of `ErrorReason` in errors.proto, which explains each."""

    INVALID_FIELDS = "INVALID_FIELDS"
    KEY_INVALID = "KEY_INVALID"
    ROLE_NOT_ALLOWED = "ROLE_NOT_ALLOWED"
    PROVIDER_NOT_FOUND = "PROVIDER_NOT_FOUND"
    CLIENT_TYPE_NOT_FOUND = "CLIENT_TYPE_NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    CONCURRENT_RETRY = "CONCURRENT_RETRY"
    CONCURRENT_CHANGE = "CONCURRENT_CHANGE"
    OKTA_APP_TYPE_MISSING = "OKTA_APP_TYPE_MISSING"
    IDS_EXHAUSTED = "IDS_EXHAUSTED"
    PROVIDER_TOO_LARGE = "PROVIDER_TOO_LARGE"
    RESPONSE_NOT_READABLE = "RESPONSE_NOT_READABLE"
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    TOO_MANY_WRITES = "TOO_MANY_WRITES"
    TOO_MANY_LARGE_READS = "TOO_MANY_LARGE_READS"
    KEPT_RESPONSES_QUOTA = "KEPT_RESPONSES_QUOTA"
    STORAGE_EXHAUSTED = "STORAGE_EXHAUSTED"
    STORAGE_FULL = "STORAGE_FULL"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    WRITES_STALLED = "WRITES_STALLED"
    STORAGE_TIMEOUT = "STORAGE_TIMEOUT"
    CALL_ABANDONED = "CALL_ABANDONED"
    INTERNAL = "INTERNAL"
    CLIENT_NOT_FOUND = "CLIENT_NOT_FOUND"
    CLIENTS_EXIST = "CLIENTS_EXIST"
    CLIENT_STATE = "CLIENT_STATE"
    CLIENT_TYPE_NOT_REGISTRABLE = "CLIENT_TYPE_NOT_REGISTRABLE"
    PROVIDER_REJECTED = "PROVIDER_REJECTED"
    PROVIDER_CREDENTIAL_REJECTED = "PROVIDER_CREDENTIAL_REJECTED"
    NO_REGISTRATION_ENDPOINT = "NO_REGISTRATION_ENDPOINT"
    PROVIDER_TLS_NOT_TRUSTED = "PROVIDER_TLS_NOT_TRUSTED"
    PROVIDER_ADDRESS_NOT_ALLOWED = "PROVIDER_ADDRESS_NOT_ALLOWED"
    PROVIDER_UNREACHABLE = "PROVIDER_UNREACHABLE"
    PROVIDER_TIMEOUT = "PROVIDER_TIMEOUT"
    PROVIDER_OUTCOME_UNKNOWN = "PROVIDER_OUTCOME_UNKNOWN"
    PROVIDER_BUSY = "PROVIDER_BUSY"
    ROTATION_NOT_SUPPORTED = "ROTATION_NOT_SUPPORTED"
    NO_ENCRYPTION_KEY = "NO_ENCRYPTION_KEY"
    KEY_LIMITED_TO_PROVIDERS = "KEY_LIMITED_TO_PROVIDERS"
    API_KEY_NOT_FOUND = "API_KEY_NOT_FOUND"
    API_KEY_STATE = "API_KEY_STATE"
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    RESUME_TOKEN_EXPIRED = "RESUME_TOKEN_EXPIRED"  # noqa: S105 - a reason
    RESUME_TOKEN_UNKNOWN = "RESUME_TOKEN_UNKNOWN"  # noqa: S105
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    STREAM_NOT_READ = "STREAM_NOT_READ"
    ISSUER_UNAVAILABLE = "ISSUER_UNAVAILABLE"
    SERVER_STOPPING = "SERVER_STOPPING"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"


class Resource(StrEnum):
    """The kinds of resources."""

    PROVIDER = "provider"
    CLIENT_TYPE = "client type"
    CLIENT = "client"
    API_KEY = "API key"


class OperatorError(Exception):
    """An error that only the operator of the portal can fix; the text is one line.

    Not part of the tree above: callers never see it.
    """


class PortalError(Exception):
    """Any error of a call; `reason` is stable, for programs (AIP-193)."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        """The message, also after it was extended."""
        return self.message


class Invalid(PortalError):
    """The request breaks rules: all of them are in `violations`."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__(Reason.INVALID_FIELDS, "the request has invalid fields")
        self.violations = violations


_NOT_FOUND = {
    Resource.PROVIDER: Reason.PROVIDER_NOT_FOUND,
    Resource.CLIENT_TYPE: Reason.CLIENT_TYPE_NOT_FOUND,
    Resource.CLIENT: Reason.CLIENT_NOT_FOUND,
    Resource.API_KEY: Reason.API_KEY_NOT_FOUND,
}


class NotFound(PortalError):
    """There is no resource with this id or uid."""

    def __init__(self, resource: Resource, id_: int | str) -> None:
        super().__init__(_NOT_FOUND[resource], f"{resource} {id_} not found")
        self.resource = resource
        self.id = id_


class AlreadyExists(PortalError):
    """Another resource has this uid."""

    def __init__(self, resource: Resource, uid: str) -> None:
        super().__init__(Reason.ALREADY_EXISTS, f"a {resource} with the uid {uid} already exists")
        self.resource = resource
        self.id = uid


class Precondition(PortalError):
    """The current state does not allow the request."""


class Unauthenticated(PortalError):
    """The call has no valid API key.

    One text for every cause: which part of a key is wrong helps only an attacker.
    """

    def __init__(self) -> None:
        super().__init__(
            Reason.KEY_INVALID, "a valid API key is required in the authorization header"
        )


class CertificateExpired(PortalError):
    """The client's certificate for mutual TLS has expired since its first connection."""

    def __init__(self) -> None:
        super().__init__(
            Reason.CERTIFICATE_EXPIRED,
            "the certificate of the client has expired; use a valid one on a new connection",
        )


class Forbidden(PortalError):
    """The API key is valid, but its role does not allow the call."""


class Exhausted(PortalError):
    """A limit of the server is reached. A retry after this time may succeed."""

    def __init__(self, reason: Reason, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s


class OutOfRange(PortalError):
    """The request begins where there is nothing anymore, or not yet."""


class Aborted(PortalError):
    """A concurrent call changed the same data first; the same call may succeed now."""


class Unavailable(PortalError):
    """What the call needs is not available: the storage, the keys of the issuer, this server.

    If the storage did not respond, whether a write was done is unknown.
    """


class Abandoned(PortalError):
    """The caller no longer waits for the response; nothing was done."""

    def __init__(self) -> None:
        super().__init__(Reason.CALL_ABANDONED, "the caller is gone or its deadline has passed")


class DeadlineExceeded(PortalError):
    """The storage did not respond in time; whether a write was done is unknown."""


class Unimplemented(PortalError):
    """The provider has no way to do what was requested."""


class ProviderError(PortalError):
    """A call to an identity provider failed.

    `http_status`, `error` and `description` are those of the provider (RFC 7591, section
    3.2.2), shortened; 0 and "" if it sent none. `retry_after_s` is how long it asks callers
    to wait.
    """

    def __init__(  # noqa: PLR0913 - the parts of a provider's response
        self,
        reason: Reason,
        message: str,
        *,
        http_status: int = 0,
        error: str = "",
        description: str = "",
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(reason, message)
        self.http_status = http_status
        self.error = error
        self.description = description
        self.retry_after_s = retry_after_s


class NotSent(ProviderError):
    """Nothing reached the provider, so nothing was done there."""


class Rejected(ProviderError):
    """The provider rejected the request, so nothing was done there.

    `detached` is whether it no longer has the client, or no longer accepts its token. The
    same response to the provider's credential does not mean this.
    """

    detached: bool = False


class OutcomeUnknown(ProviderError):
    """It is unknown whether the provider did what was requested.

    `client_id` is that of the client, if the incomplete response had it.
    """

    client_id: str = ""
