"""The resources and the words they are made of.

Words are those of the RFCs, and are what the database stores. How a surface
spells them (an enum, `it_token`) is that surface's business.

A resource has three forms: a *draft* is what a caller asks for, unchecked; a
*spec* is a draft that the rules have accepted; the resource itself is a spec
that is stored, with what the server adds.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

# Ids are 32 bits in the messages of both surfaces and in PostgreSQL's columns.
MAX_ID = 2**31 - 1


def _etag(uid: str, update_time: datetime) -> str:
    # Each write of a resource has a later time than the one before.
    text = f"{uid} {update_time.isoformat()}"
    return f'"{blake2b(text.encode(), digest_size=12).hexdigest()}"'


class ProviderType(StrEnum):
    """The software behind a provider."""

    KEYCLOAK = "keycloak"
    GLUU = "gluu"
    OKTA = "okta"
    OTHER = "other"


class ResponseType(StrEnum):
    """RFC 7591, section 2, `response_types`."""

    CODE = "code"
    TOKEN = "token"  # noqa: S105 - the response type, not a secret
    ID_TOKEN = "id_token"  # noqa: S105
    NONE = "none"


class GrantType(StrEnum):
    """RFC 7591, section 2, `grant_types`; `pkce` is the portals' own word."""

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


@dataclass(frozen=True, slots=True)
class Unknown:
    """What a caller gave where no vocabulary has such a word.

    Surfaces pass it on so that the rules refuse it together with everything
    else that is wrong; `text` is what the refusal quotes.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderDraft:
    """A provider as a caller asks for it."""

    name: str = ""
    type: ProviderType | Unknown | None = None
    well_known_uri: str = ""
    tls_insecure_skip_verify: bool = False
    registration_access_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """A provider as the rules accept it. The token is a secret."""

    name: str
    type: ProviderType
    well_known_uri: str
    tls_insecure_skip_verify: bool
    registration_access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(ProviderSpec):
    """A stored provider. Times are UTC."""

    id: int
    uid: str
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """An entity tag of what is stored, quotes included (RFC 9110, section 8.8.3)."""
        return _etag(self.uid, self.update_time)

    def redacted(self) -> "Provider":
        """The same without its secret: what is left of that is whether there is one."""
        return replace(
            self, registration_access_token="set" if self.registration_access_token else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTypeDraft:
    """A client type as a caller asks for it."""

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
    """A stored client type. Times are UTC."""

    id: int
    uid: str
    provider_id: int
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """An entity tag of what is stored, quotes included (RFC 9110, section 8.8.3)."""
        return _etag(self.uid, self.update_time)


class Comparison(StrEnum):
    """How a condition compares (AIP-160)."""

    EQUALS = "="
    DIFFERS = "!="
    HAS = ":"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a list filter; all of a filter's must hold.

    `value` is None for "unset". HAS means "contains": a part of a text, an
    element of a list.
    """

    field: str
    comparison: Comparison
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Which rows of an ordered list: `limit` rows with an id over `after`, less `offset`."""

    limit: int
    after: int = 0
    offset: int = 0
