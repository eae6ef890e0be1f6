"""What can go wrong, without a word of gRPC or SQL.

PortalError
 +- Invalid           the request breaks a rule; says all it breaks
 +- NotFound          no such resource
 +- Precondition      the request is right, the state of things is not
 +- Unauthenticated   no key, or not one of ours
 +- Forbidden         a good key that may not do this
 +- Exhausted         a limit of this server is reached
 +- Aborted           lost against a concurrent call; try again
 +- Unavailable       the storage is away; try again
 +- Abandoned         the caller is gone or its deadline has passed
 +- DeadlineExceeded  the storage was too slow

The text of each is for callers: it never holds a secret, a row or a driver's
words. Servicers and the catalog raise these and nothing else; wire.status
alone knows what each becomes on the wire.
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

    `field` is the model's name of it and `allowed` the model's words: each
    surface spells both its own way. `message` goes on from the field's name.
    """

    field: str
    rule: Rule
    message: str
    allowed: tuple[StrEnum, ...] = ()


class Resource(StrEnum):
    """What a NotFound did not find."""

    PROVIDER = "provider"
    CLIENT_TYPE = "client type"


class OperatorError(Exception):
    """What only the one who runs the portal can mend; the text is one line for them.

    Beside the tree above: no caller ever sees one.
    """


class PortalError(Exception):
    """Any refusal; `reason` is stable and for programs."""

    def __init__(self, reason: str, message: str) -> None:
        """Take the reason, UPPER_SNAKE_CASE (AIP-193), and a text for callers."""
        super().__init__(message)
        self.reason = reason
        self.message = message


class Invalid(PortalError):
    """The request breaks rules: all of them are in `violations`."""

    def __init__(self, *violations: Violation) -> None:
        """Take at least one violation."""
        super().__init__("INVALID_FIELDS", "the request has invalid fields")
        self.violations = violations


class NotFound(PortalError):
    """There is no such resource."""

    def __init__(self, resource: Resource, id_: int) -> None:
        """Take what is not there."""
        reason = resource.upper().replace(" ", "_") + "_NOT_FOUND"
        super().__init__(reason, f"{resource} {id_} not found")
        self.resource = resource
        self.id = id_


class Precondition(PortalError):
    """The state of things does not allow the request."""


class Unauthenticated(PortalError):
    """The call has no valid key.

    One text for every cause: which part of a key was wrong helps only those
    who guess.
    """

    def __init__(self) -> None:
        """Take nothing."""
        super().__init__("KEY_INVALID", "a valid API key is required in the authorization header")


class Forbidden(PortalError):
    """The key is good, its role does not allow the call."""


class Exhausted(PortalError):
    """A limit of the server is reached."""


class Aborted(PortalError):
    """It met a concurrent call, and that one won; the same call may succeed now."""


class Unavailable(PortalError):
    """The storage does not answer; whether a write was done is unknown."""


class Abandoned(PortalError):
    """Nobody waits for the answer any more; nothing was done."""

    def __init__(self) -> None:
        """Take nothing."""
        super().__init__("CALL_ABANDONED", "the caller is gone or its deadline has passed")


class DeadlineExceeded(PortalError):
    """The storage did not answer in time; whether a write was done is unknown."""
