"""Client types: what kinds of clients can be registered at a provider."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from portal_server.domain import fields
from portal_server.domain.discovery import Finding
from portal_server.domain.errors import Invalid, Precondition, Reason, Rule, Violation
from portal_server.domain.fields import Field, Text, Unknown, Word, Words
from portal_server.domain.identity import etag_of
from portal_server.domain.provider import ProviderType


class ResponseType(StrEnum):
    """RFC 7591, section 2, `response_types`."""

    CODE = "code"
    TOKEN = "token"  # noqa: S105 - the response type, not a secret
    ID_TOKEN = "id_token"  # noqa: S105
    NONE = "none"


class GrantType(StrEnum):
    """RFC 7591, section 2, `grant_types`; `pkce` is a value of portals only."""

    AUTHORIZATION_CODE = "authorization_code"
    PKCE = "pkce"
    CLIENT_CREDENTIALS = "client_credentials"
    DEVICE_CODE = "device_code"
    REFRESH_TOKEN = "refresh_token"  # noqa: S105
    PASSWORD = "password"  # noqa: S105
    IMPLICIT = "implicit"


class TokenEndpointAuthMethod(StrEnum):
    """RFC 7591, section 2, `token_endpoint_auth_method`."""

    CLIENT_SECRET_BASIC = "client_secret_basic"  # noqa: S105
    CLIENT_SECRET_POST = "client_secret_post"  # noqa: S105


class OktaAppType(StrEnum):
    """The `application_type` of Okta's client registration."""

    WEB = "web"
    NATIVE = "native"
    BROWSER = "browser"
    SERVICE = "service"


CLIENT_TYPE: Mapping[str, Field] = {
    "name": Text(max_length=255, required=True, filterable=True),
    "description": Text(max_length=4096),
    "response_types": Words(vocabulary=ResponseType, required=True),
    "grant_types": Words(vocabulary=GrantType, required=True),
    "token_endpoint_auth_method": Word(vocabulary=TokenEndpointAuthMethod),
    "okta_app_type": Word(vocabulary=OktaAppType),
}
"""The fields that a caller can write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTypeDraft:
    """A client type as a caller requests it."""

    name: str = ""
    description: str = ""
    response_types: tuple[ResponseType | Unknown, ...] = ()
    grant_types: tuple[GrantType | Unknown, ...] = ()
    token_endpoint_auth_method: TokenEndpointAuthMethod | Unknown | None = None
    okta_app_type: OktaAppType | Unknown | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTypeSpec:
    """A client type as the rules accept it."""

    name: str
    description: str
    response_types: tuple[ResponseType, ...]
    grant_types: tuple[GrantType, ...]
    token_endpoint_auth_method: TokenEndpointAuthMethod | None
    okta_app_type: OktaAppType | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientType(ClientTypeSpec):
    """A stored client type. Times are UTC.

    `findings` are set only after a create or an update, and are not stored.
    """

    id: int
    uid: str
    provider_id: int
    create_time: datetime
    update_time: datetime
    findings: tuple[Finding, ...] = field(default=(), compare=False)

    @property
    def etag(self) -> str:
        """The entity tag of what is stored, quotes included (RFC 9110, section 8.8.3)."""
        return etag_of(self.uid, self.update_time)

    def redacted(self) -> "ClientType":
        """The same: a client type has no secrets."""
        return self


def check_client_type(
    draft: ClientTypeDraft, provider_type: ProviderType | None, others: Iterable[Violation] = ()
) -> ClientTypeSpec:
    """Accept a client type of a provider of this type; None if the provider is not known.

    `others` are violations of the same request that are already known.

    Raises:
        Invalid: with all violations.
    """
    violations = list(others)
    accepted = fields.check(draft, CLIENT_TYPE, violations)
    if provider_type is ProviderType.OKTA and draft.okta_app_type is None:
        message = "is required, because the provider's type is Okta"
        violations.append(Violation("okta_app_type", Rule.REQUIRED, message, tuple(OktaAppType)))
    if violations:
        raise Invalid(*violations)
    return ClientTypeSpec(**accepted)


def check_becomes_okta(without_app_type: Sequence[int]) -> None:
    """Accept that a provider gets the type Okta, given its client types without an app type.

    Raises:
        Precondition: there are some; the text names the first few.
    """
    if without_app_type:
        ids = ", ".join(map(str, without_app_type))
        message = f"the provider cannot become Okta while client types lack an Okta app type: {ids}"
        raise Precondition(Reason.OKTA_APP_TYPE_MISSING, message)
