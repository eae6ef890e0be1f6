"""What can be wrong or surprising about a registration: one table.

docs/findings.md is generated from it. Some rows also say what a type of provider does
with such a client type; this was observed on running servers.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from portal_server.domain.discovery import Finding, FindingSeverity
from portal_server.domain.mapping import GRANTS
from portal_server.domain.provider import ProviderType

_INFO, _WARNING, _ERROR = FindingSeverity
_GLUU, _KEYCLOAK = ProviderType.GLUU, ProviderType.KEYCLOAK
_OKTA, _OTHER = ProviderType.OKTA, ProviderType.OTHER
_OKTA_API: Final = "Okta, Dynamic Client Registration API"
_ISSUERS: Final = [f"`{grant}`" for grant, row in GRANTS.items() if row.issues_refresh_tokens]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One finding.

    `text` is the finding; `{names}` stands for values of the client type, the client or the
    provider. `does` is what a type of provider does, and `advice` what to do.
    """

    severity: FindingSeverity
    field: str
    text: str
    does: Mapping[ProviderType, str] = dataclasses.field(default_factory=dict)
    advice: str
    reference: str


FINDINGS: Mapping[str, Row] = {
    # Response types follow from grants.
    "code_added": Row(
        severity=_WARNING,
        field="response_types",
        text="code is sent, although the client type does not have it: {grants} needs it.",
        does={
            _KEYCLOAK: "Keycloak does not read it from the grant type.",
            _OTHER: "Without it, some providers leave the client without a grant.",
        },
        advice="Add the response type `code` to the client type.",
        reference="RFC 7591, section 2.1",
    ),
    "code_without_grant": Row(
        severity=_WARNING,
        field="response_types",
        text="code is not sent, because no grant of the client type needs it.",
        does={
            _KEYCLOAK: "Keycloak would grant authorization_code.",
            _GLUU: "Gluu would grant authorization_code and refresh_token.",
            _OTHER: "Some providers would grant authorization_code; at others it has no effect.",
        },
        advice="Grant `authorization_code`, or remove the response type `code`.",
        reference="RFC 7591, section 2.1",
    ),
    "token_without_implicit": Row(
        severity=_WARNING,
        field="response_types",
        text="{words} is not sent, because the client type does not grant implicit.",
        does={
            _KEYCLOAK: "Keycloak would turn on the implicit flow.",
            _GLUU: "Gluu would grant implicit.",
            _OTHER: "Some providers would grant implicit; others reject the registration.",
        },
        advice="Remove the response type; `code` also returns tokens, at the token endpoint.",
        reference="RFC 7591, section 2.1",
    ),
    "none_with_others": Row(
        severity=_WARNING,
        field="response_types",
        text="none is not sent: together with {words} it has no meaning.",
        does={_KEYCLOAK: "Keycloak would turn on the code flow."},
        advice="Remove the response type `none`.",
        reference="OAuth 2.0 Multiple Response Type Encoding Practices, section 4",
    ),
    # Grants that cannot be used.
    "implicit_without_response": Row(
        severity=_WARNING,
        field="grant_types",
        text="implicit is not sent, because the client type has neither token nor id_token.",
        does={
            _KEYCLOAK: "Keycloak would not grant it.",
            _GLUU: "Gluu would add the response type token.",
            _OTHER: "Providers do not grant it, or it has no effect.",
        },
        advice="Remove the grant type `implicit`.",
        reference="RFC 7591, section 2.1",
    ),
    "refresh_without_grant": Row(
        severity=_WARNING,
        field="grant_types",
        text="refresh_token is not sent, because no grant of the client issues refresh tokens.",
        advice=f"Remove it, or grant {', '.join(_ISSUERS[:-1])} or {_ISSUERS[-1]}.",
        reference="RFC 6749, sections 4.2.2 and 4.4.3",
    ),
    "nothing_left": Row(
        severity=_ERROR,
        field="grant_types",
        text="No grant type is left that a client could use.",
        advice="Grant what clients of this type need, such as `authorization_code` with `code`.",
        reference="RFC 7591, section 2.1",
    ),
    # Grants that are not secure, or not what they seem.
    "password": Row(
        severity=_WARNING,
        field="grant_types",
        text="The password grant must not be used.",
        does={
            _KEYCLOAK: "Keycloak grants it (direct access grants).",
            _GLUU: "Gluu rejects the registration unless its configuration allows it.",
            _OKTA: "Okta grants it.",
            _OTHER: "Many providers do not have it and reject the registration.",
        },
        advice="Grant `pkce` instead, or `client_credentials` where no user is involved.",
        reference="RFC 9700, section 2.4",
    ),
    "implicit": Row(
        severity=_WARNING,
        field="grant_types",
        text="The implicit grant should not be used: tokens are in URLs.",
        does={_OTHER: "Many providers reject the response type token."},
        advice="Grant `pkce` instead, with the response type `code`.",
        reference="RFC 9700, section 2.1.2",
    ),
    "pkce_public": Row(
        severity=_WARNING,
        field="grant_types",
        text="pkce is sent as authorization_code, and the client is public: it has no secret.",
        does={
            _KEYCLOAK: "Keycloak does not require PKCE of it.",
            _GLUU: "Gluu requires PKCE of it only if its configuration does.",
            _OKTA: "Okta requires PKCE of it.",
            _OTHER: "Some providers do not require PKCE of it.",
        },
        advice="Require PKCE at the provider; at Keycloak, by a client policy.",
        reference="RFC 9700, section 2.1.1",
    ),
    "pkce_confidential": Row(
        severity=_INFO,
        field="grant_types",
        text="pkce is sent as authorization_code, and the client has a secret.",
        advice="Use PKCE in addition to the secret; it is not a grant type of RFC 7591.",
        reference="RFC 9700, section 2.1.1",
    ),
    # The authentication method.
    "secret_for_client_credentials": Row(
        severity=_WARNING,
        field="token_endpoint_auth_method",
        text="{method} is sent, so the client has a secret, although pkce without a method means"
        " a public client: client_credentials needs a secret.",
        does={
            _KEYCLOAK: "Keycloak issues no token for client_credentials to a public client.",
            _OTHER: "Some providers would issue tokens to anyone who knows the client_id.",
        },
        advice="Set the method, or use a separate client type for `client_credentials`.",
        reference="RFC 6749, section 4.4",
    ),
    "method_secret": Row(
        severity=_INFO,
        field="token_endpoint_auth_method",
        text="{method} is sent, because the client type has no method.",
        advice="Set the method.",
        reference="RFC 7591, section 2",
    ),
    "method_none": Row(
        severity=_INFO,
        field="token_endpoint_auth_method",
        text="none is sent, because the client type has no method: the client is public.",
        advice="Set the method for clients that can keep a secret.",
        reference="RFC 6749, section 2.1",
    ),
    # What one type of provider does.
    "keycloak_implicit": Row(
        severity=_WARNING,
        field="response_types",
        text="Keycloak has one switch for token, id_token and their combinations: the client gets"
        " all of them.",
        advice="Grant `pkce` instead of `implicit`.",
        reference="RFC 7591, section 3.2.1",
    ),
    "gluu_code": Row(
        severity=_WARNING,
        field="response_types",
        text="Gluu may add code, authorization_code and refresh_token, because the client has no"
        " response type.",
        advice="Turn off `grantTypesAndResponseTypesAutofixEnabled` at Gluu.",
        reference="RFC 7591, section 3.2.1",
    ),
    "gluu_token": Row(
        severity=_WARNING,
        field="response_types",
        text="Gluu may add token, because implicit is granted.",
        advice="Turn off `grantTypesAndResponseTypesAutofixEnabled` at Gluu.",
        reference="RFC 7591, section 3.2.1",
    ),
    "gluu_refresh": Row(
        severity=_INFO,
        field="grant_types",
        text="Gluu may add refresh_token, because the client has the response type code.",
        advice="Nothing.",
        reference="RFC 7591, section 3.2.1",
    ),
    "okta_app_type_missing": Row(
        severity=_ERROR,
        field="okta_app_type",
        text="Okta needs an app type.",
        advice="Set `okta_app_type`.",
        reference=_OKTA_API,
    ),
    "okta_grant_missing": Row(
        severity=_ERROR,
        field="grant_types",
        text="Okta's {app_type} apps always have {grants}, which the client type does not grant.",
        advice="Grant it, or use the app type `service` for `client_credentials` alone.",
        reference=_OKTA_API,
    ),
    "okta_grant": Row(
        severity=_WARNING,
        field="grant_types",
        text="{grants} is not sent: Okta's {app_type} apps cannot have it.",
        advice="Use the app type that can have it, or remove the grant type.",
        reference=_OKTA_API,
    ),
    "okta_response": Row(
        severity=_WARNING,
        field="response_types",
        text="{words} is not sent: Okta's {app_type} apps cannot have it.",
        advice="Remove the response type.",
        reference=_OKTA_API,
    ),
    "okta_method": Row(
        severity=_WARNING,
        field="token_endpoint_auth_method",
        text="{method} is sent: Okta's {app_type} apps cannot have {wanted}.",
        advice="Set a method that the app type can have, or use another app type.",
        reference=_OKTA_API,
    ),
    "okta_app_type_unused": Row(
        severity=_INFO,
        field="okta_app_type",
        text="The app type has no effect: the provider is not Okta.",
        advice="Nothing.",
        reference=_OKTA_API,
    ),
    # What the provider's discovery document has.
    "no_discovery": Row(
        severity=_INFO,
        field="grant_types",
        text="Whether the provider has these grant types is not known without its discovery"
        " document.",
        advice="Check the provider.",
        reference="RFC 8414, section 2",
    ),
    "no_device_endpoint": Row(
        severity=_WARNING,
        field="grant_types",
        text="The provider has no device_authorization_endpoint, so device_code cannot work.",
        advice="Turn on the device flow at the provider, or remove the grant type.",
        reference="RFC 8628, section 4",
    ),
    "grant_not_listed": Row(
        severity=_WARNING,
        field="grant_types",
        text="The provider does not list {grants} as supported.",
        advice="Turn it on at the provider, or remove the grant type.",
        reference="RFC 8414, section 2",
    ),
    "response_not_listed": Row(
        severity=_WARNING,
        field="response_types",
        text="The provider does not list {words} as supported.",
        advice="Turn it on at the provider, or remove the response type.",
        reference="RFC 8414, section 2",
    ),
    "method_not_listed": Row(
        severity=_WARNING,
        field="token_endpoint_auth_method",
        text="The provider does not list {method} as supported.",
        advice="Set a method that the provider lists.",
        reference="RFC 8414, section 2",
    ),
    "pkce_not_listed": Row(
        severity=_WARNING,
        field="grant_types",
        text="The provider does not list the PKCE method S256 as supported.",
        advice="Turn on PKCE at the provider.",
        reference="RFC 9700, section 2.1.1",
    ),
    "scope_not_listed": Row(
        severity=_WARNING,
        field="scope",
        text="The provider does not list {words} as supported.",
        does={
            _KEYCLOAK: "Keycloak rejects names that are not client scopes of its realm.",
            _OTHER: "Some providers reject the registration.",
        },
        advice="Add the scope at the provider, or remove it.",
        reference="RFC 8414, section 2",
    ),
    # What depends on the client.
    "redirect_uri_missing": Row(
        severity=_ERROR,
        field="redirect_uris",
        text="A redirect URI is required: the client has {grants}.",
        advice="Give at least one redirect URI.",
        reference="RFC 6749, section 3.1.2.2",
    ),
    "redirect_uri_not_used": Row(
        severity=_ERROR,
        field="redirect_uris",
        text="Redirect URIs are not allowed: no grant of the client uses them.",
        advice="Remove the redirect URIs, or use a client type with `authorization_code`.",
        reference="RFC 7591, section 2",
    ),
    "name_cut": Row(
        severity=_WARNING,
        field="name",
        text="The name is too long: its first characters are sent, followed by a mark.",
        advice="Give a shorter name.",
        reference="RFC 7591, section 2",
    ),
    "openid_not_sent": Row(
        severity=_INFO,
        field="scope",
        text="openid is not sent: Keycloak has no client scope of this name and would reject it."
        " Clients can request it anyway.",
        advice="Nothing.",
        reference="OpenID Connect Core 1.0, section 3.1.2.1",
    ),
    "scope_not_sent": Row(
        severity=_WARNING,
        field="scope",
        text="The scope is not sent: Okta's clients do not have one.",
        advice="Restrict scopes by access policies of Okta's authorization server.",
        reference=_OKTA_API,
    ),
    "scope_for_refresh": Row(
        severity=_INFO,
        field="scope",
        text='"{words}" is sent, because the client type grants refresh_token and the client has'
        " no scope.",
        advice="Give the scope that the client needs.",
        reference="OpenID Connect Core 1.0, section 11",
    ),
    "offline_access_missing": Row(
        severity=_INFO,
        field="scope",
        text="Without offline_access in the scope, many providers issue no refresh tokens.",
        advice="Add `offline_access` to the scope.",
        reference="OpenID Connect Core 1.0, section 11",
    ),
}
"""Every finding, by a name that only the code uses."""


def finding(name: str, provider_type: ProviderType, **names: object) -> Finding:
    """The finding of a row of the table, for this type of provider."""
    row = FINDINGS[name]
    text = row.text.format_map(names)
    does = row.does.get(provider_type)
    return Finding(row.severity, row.field, f"{text} {does}" if does else text, row.reference)
