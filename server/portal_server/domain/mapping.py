"""The tables that convert client types to metadata of RFC 7591.

docs/findings.md is generated from them. `registration` applies them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from portal_server.domain.client_type import (
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.provider import ProviderType

PUBLIC: Final = "none"
"""The authentication method of a client without a secret (RFC 7591, section 2)."""

BASIC: Final = TokenEndpointAuthMethod.CLIENT_SECRET_BASIC.value
_POST: Final = TokenEndpointAuthMethod.CLIENT_SECRET_POST.value
_CODE, _TOKEN, _ID_TOKEN = ResponseType.CODE, ResponseType.TOKEN, ResponseType.ID_TOKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRow:
    """What a grant type of a client type becomes.

    It needs one of `response_types`; a grant that has some sends users to a redirect URI.
    """

    sent: str
    response_types: tuple[ResponseType, ...] = ()
    issues_refresh_tokens: bool = False
    reference: str


GRANTS: Mapping[GrantType, GrantRow] = {
    GrantType.AUTHORIZATION_CODE: GrantRow(
        sent="authorization_code",
        response_types=(_CODE,),
        issues_refresh_tokens=True,
        reference="RFC 6749, section 4.1",
    ),
    # Not a grant type of RFC 7591: some providers register it, but then nothing works.
    GrantType.PKCE: GrantRow(
        sent="authorization_code",
        response_types=(_CODE,),
        issues_refresh_tokens=True,
        reference="RFC 7636, section 4",
    ),
    GrantType.CLIENT_CREDENTIALS: GrantRow(
        sent="client_credentials",
        reference="RFC 6749, section 4.4",
    ),
    # The full name: some providers drop the short one.
    GrantType.DEVICE_CODE: GrantRow(
        sent="urn:ietf:params:oauth:grant-type:device_code",
        issues_refresh_tokens=True,
        reference="RFC 8628, section 3.4",
    ),
    GrantType.REFRESH_TOKEN: GrantRow(
        sent="refresh_token",
        reference="RFC 6749, section 6",
    ),
    GrantType.PASSWORD: GrantRow(
        sent="password",
        issues_refresh_tokens=True,
        reference="RFC 6749, section 4.3",
    ),
    GrantType.IMPLICIT: GrantRow(
        sent="implicit",
        response_types=(_TOKEN, _ID_TOKEN),
        reference="RFC 6749, section 4.2",
    ),
}
"""Each grant type of client types; see `GrantRow`."""

RESPONSE_TYPES: Mapping[str, str] = {
    "code": "RFC 6749, section 4.1.1",
    "token": "RFC 6749, section 4.2.1",
    "id_token": "OpenID Connect Core 1.0, section 3.2",
    "id_token token": "OpenID Connect Core 1.0, section 3.2",
    "code id_token": "OpenID Connect Core 1.0, section 3.3",
    "code token": "OpenID Connect Core 1.0, section 3.3",
    "code id_token token": "OpenID Connect Core 1.0, section 3.3",
}
"""Each response type that is sent if the client has all of its words, and its reference.

A client has `code` because of `authorization_code`, and `token` and `id_token` because of
`implicit` if its client type has them.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow:
    """What a type of provider gets and does.

    `refresh_scope` is sent if the client has refresh tokens but no scope, and the provider
    supports it. `not_returned` is metadata that it need not return.
    """

    application_type: bool = True
    combined_response_types: bool = True
    scope: bool = True
    not_in_scope: tuple[str, ...] = ()
    refresh_scope: tuple[str, ...] = ()
    not_returned: tuple[str, ...] = ()


PROVIDERS: Mapping[ProviderType, ProviderRow] = {
    # It drops application_type, and rejects openid as an unknown client scope.
    ProviderType.KEYCLOAK: ProviderRow(application_type=False, not_in_scope=("openid",)),
    ProviderType.GLUU: ProviderRow(not_returned=("application_type",)),
    ProviderType.OKTA: ProviderRow(combined_response_types=False, scope=False),
    ProviderType.OTHER: ProviderRow(
        refresh_scope=("openid", "offline_access"),
        not_returned=("application_type",),
    ),
}
"""Each type of provider; see `ProviderRow`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OktaRow:
    """What an app type of Okta can have; it rejects the rest, and what is missing.

    The first method replaces one that the app type cannot have.
    """

    required_grants: tuple[str, ...] = ()
    optional_grants: tuple[str, ...] = ()
    required_response_types: tuple[ResponseType, ...] = ()
    optional_response_types: tuple[ResponseType, ...] = ()
    methods: tuple[str, ...]


OKTA: Mapping[OktaAppType, OktaRow] = {
    OktaAppType.WEB: OktaRow(
        required_grants=("authorization_code",),
        optional_grants=("implicit", "refresh_token", "client_credentials"),
        required_response_types=(_CODE,),
        optional_response_types=(_TOKEN, _ID_TOKEN),
        methods=(BASIC, _POST),
    ),
    OktaAppType.NATIVE: OktaRow(
        required_grants=("authorization_code",),
        optional_grants=("implicit", "password", "refresh_token"),
        required_response_types=(_CODE,),
        optional_response_types=(_TOKEN, _ID_TOKEN),
        methods=(PUBLIC, BASIC, _POST),
    ),
    OktaAppType.BROWSER: OktaRow(
        optional_grants=("authorization_code", "implicit"),
        optional_response_types=(_CODE, _TOKEN, _ID_TOKEN),
        methods=(PUBLIC,),
    ),
    OktaAppType.SERVICE: OktaRow(
        required_grants=("client_credentials",),
        required_response_types=(_TOKEN,),
        methods=(BASIC, _POST),
    ),
}
"""Each app type of Okta; see `OktaRow`."""


def word_sets(response_types: Iterable[str]) -> frozenset[frozenset[str]]:
    """Response types as sets of words, whose order has no meaning (RFC 6749, section 3.1.1)."""
    return frozenset(frozenset(each.split()) for each in response_types)
