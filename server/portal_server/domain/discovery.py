"""The discovery document of a provider, and the checks of a provider."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The metadata of an authorization server (RFC 8414, section 2; OpenID Connect Discovery).

    An endpoint is "" and a list None if the document does not have it. Lists are hints:
    servers accept what they do not list.
    """

    issuer: str = ""
    registration_endpoint: str = ""
    token_endpoint: str = ""
    device_authorization_endpoint: str = ""
    grant_types_supported: tuple[str, ...] | None = None
    response_types_supported: tuple[str, ...] | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] | None = None
    scopes_supported: tuple[str, ...] | None = None
    code_challenge_methods_supported: tuple[str, ...] | None = None


class CheckOutcome(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """One check of a provider; `text` is what was found, and what to do."""

    name: str
    outcome: CheckOutcome
    text: str


class FindingSeverity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a registration that is wrong or surprising.

    `field` is a name in the domain; each API has its own spelling. `reference` is the
    source of the rule.
    """

    severity: FindingSeverity
    field: str
    text: str
    reference: str
