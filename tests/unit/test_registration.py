"""From a client type to the metadata that is sent, and the findings about it."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal_server.domain.client import CLIENT, ClientSpec, client_name
from portal_server.domain.client_type import (
    CLIENT_TYPE,
    ClientTypeSpec,
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.discovery import Discovery, Finding, FindingSeverity
from portal_server.domain.errors import Rule, Violation
from portal_server.domain.findings import FINDINGS
from portal_server.domain.mapping import GRANTS, OKTA, RESPONSE_TYPES
from portal_server.domain.provider import ProviderType
from portal_server.domain.registration import Plan, plan, redirect_uri_violations
from portal_server.domain.registration_shape import findings_of
from tools.findings_docs.__main__ import PAGE, current

UID = "0193b1a6-8a54-7f3e-9c1d-2b7a4e5f6a7b"
WEB_URI = "https://app.example.com/callback"
BASIC, POST = "client_secret_basic", "client_secret_post"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
ERROR, WARNING, INFO = FindingSeverity.ERROR, FindingSeverity.WARNING, FindingSeverity.INFO
KEYCLOAK, GLUU = ProviderType.KEYCLOAK, ProviderType.GLUU
OKTA_TYPE, OTHER = ProviderType.OKTA, ProviderType.OTHER
NOT_OKTA = [KEYCLOAK, GLUU, OTHER]
CLIENT_SPEC = ClientSpec(name="My app", redirect_uris=(WEB_URI,), scope="", labels={})

DISCOVERED = Discovery(
    issuer="https://idp.test",
    device_authorization_endpoint="https://idp.test/device",
    grant_types_supported=tuple(row.sent for row in GRANTS.values()),
    response_types_supported=tuple(RESPONSE_TYPES),
    token_endpoint_auth_methods_supported=(BASIC, POST),
    scopes_supported=("openid", "offline_access", "profile"),
    code_challenge_methods_supported=("plain", "S256"),
)
"""A discovery document with all that client types can have."""


def spec(
    responses: str, grants: str, method: str = "", app_type: str = "", **others: Any
) -> ClientTypeSpec:
    """A client type from the words of its lists."""
    values: dict[str, Any] = {
        "name": "c",
        "description": "",
        "response_types": tuple(map(ResponseType, responses.split())),
        "grant_types": tuple(map(GrantType, grants.split())),
        "token_endpoint_auth_method": TokenEndpointAuthMethod(method) if method else None,
        "okta_app_type": OktaAppType(app_type) if app_type else None,
    }
    return ClientTypeSpec(**values | others)


SEED = spec("code token", "authorization_code refresh_token password", BASIC)


def planned(
    client_type: ClientTypeSpec,
    provider_type: ProviderType = KEYCLOAK,
    discovery: Discovery | None = DISCOVERED,
    **client: Any,
) -> Plan:
    """The plan for a client with a redirect URI where one is needed."""
    if redirect_uri_violations(client_type, provider_type, (WEB_URI,)):
        client = {"redirect_uris": ()} | client
    return plan(client_type, provider_type, replace(CLIENT_SPEC, **client), UID, discovery)


def shape(metadata: Any) -> tuple[str, str, str]:
    """The grants, the response types and the method of metadata."""
    grants = " ".join(grant.replace(DEVICE, "device") for grant in metadata["grant_types"])
    return grants, ", ".join(metadata["response_types"]), metadata["token_endpoint_auth_method"]


def of(findings: Iterable[Finding], severity: FindingSeverity) -> list[str]:
    return [found.text for found in findings if found.severity is severity]


def names(findings: Iterable[Finding]) -> set[str]:
    """The rows of the table that findings are of."""
    return {
        max((name for name in FINDINGS if _is_of(name, found)), key=lambda name: len(_fixed(name)))
        for found in findings
    }


def _is_of(name: str, found: Finding) -> bool:
    row = FINDINGS[name]
    same = (row.severity, row.field, row.reference) == (
        found.severity,
        found.field,
        found.reference,
    )
    return same and _fixed(name) in found.text


def _fixed(name: str) -> str:
    """The longest part of a row's text without names."""
    return max(re.split(r"\{[a-z_]+\}", FINDINGS[name].text), key=len)


# Client types that were registered with what is sent for them at running servers of
# Keycloak, Hydra and, except for password and token, oidc-provider.
REGISTERED = [
    # response types, grant types, method -> grants, response types, method
    ("code", "authorization_code", BASIC, ("authorization_code", "code", BASIC)),
    (
        "code",
        "authorization_code refresh_token",
        "",
        ("authorization_code refresh_token", "code", BASIC),
    ),
    ("code", "pkce refresh_token", "", ("authorization_code refresh_token", "code", "none")),
    ("code", "pkce", POST, ("authorization_code", "code", POST)),
    ("none", "client_credentials", POST, ("client_credentials", "", POST)),
    ("none", "client_credentials", "", ("client_credentials", "", BASIC)),
    ("none", "device_code refresh_token", "", ("device refresh_token", "", "none")),
    ("none", "password refresh_token", BASIC, ("password refresh_token", "", BASIC)),
    ("token", "implicit", "", ("implicit", "token", "none")),
    ("id_token", "implicit", "", ("implicit", "id_token", "none")),
    ("token id_token", "implicit", "", ("implicit", "token, id_token, id_token token", "none")),
    (
        "code id_token",
        "authorization_code implicit",
        BASIC,
        ("authorization_code implicit", "code, id_token, code id_token", BASIC),
    ),
    (
        "code token",
        "authorization_code refresh_token password",
        BASIC,
        ("authorization_code refresh_token password", "code", BASIC),
    ),
    (
        "code",
        "authorization_code client_credentials",
        "",
        ("authorization_code client_credentials", "code", BASIC),
    ),
    # What does not fit, and is corrected.
    ("code", "client_credentials", BASIC, ("client_credentials", "", BASIC)),
    ("token", "client_credentials", BASIC, ("client_credentials", "", BASIC)),
    ("none", "authorization_code", BASIC, ("authorization_code", "code", BASIC)),
    ("token", "authorization_code", BASIC, ("authorization_code", "code", BASIC)),
    ("code", "authorization_code implicit", BASIC, ("authorization_code", "code", BASIC)),
    (
        "code",
        "pkce client_credentials",
        "",
        ("authorization_code client_credentials", "code", BASIC),
    ),
    ("code", "authorization_code pkce", "", ("authorization_code", "code", "none")),
    ("id_token", "device_code", "", ("device", "", "none")),
    ("none code", "authorization_code", "", ("authorization_code", "code", BASIC)),
    ("none", "client_credentials refresh_token", "", ("client_credentials", "", BASIC)),
    ("token", "implicit refresh_token", "", ("implicit", "token", "none")),
]


@pytest.mark.parametrize("provider_type", NOT_OKTA)
@pytest.mark.parametrize(("responses", "grants", "method", "sent"), REGISTERED)
def test_a_client_type_becomes_metadata_that_can_be_registered(
    responses: str,
    grants: str,
    method: str,
    sent: tuple[str, str, str],
    provider_type: ProviderType,
) -> None:
    made = planned(spec(responses, grants, method), provider_type)

    assert shape(made.metadata) == sent
    assert of(made.findings, ERROR) == []


def test_the_metadata_is_exactly_what_is_sent() -> None:
    made = planned(SEED, scope="openid profile")

    assert made.metadata == {
        "client_name": "My app [2b7a4e5f6a7b]",
        "redirect_uris": [WEB_URI],
        "grant_types": ["authorization_code", "refresh_token", "password"],
        "response_types": ["code"],
        "token_endpoint_auth_method": BASIC,
        "scope": "profile",
    }
    assert list(made.metadata) == [
        "client_name",
        "redirect_uris",
        "grant_types",
        "response_types",
        "token_endpoint_auth_method",
        "scope",
    ]


def test_the_name_at_the_provider_has_the_mark_of_the_client() -> None:
    assert planned(SEED).metadata["client_name"] == client_name("My app", UID)


def test_the_seed_has_a_warning_about_each_thing_that_is_not_as_it_says() -> None:
    findings = findings_of(SEED, KEYCLOAK)

    assert findings == (
        Finding(
            WARNING,
            "response_types",
            "token is not sent, because the client type does not grant implicit."
            " Keycloak would turn on the implicit flow.",
            "RFC 7591, section 2.1",
        ),
        Finding(
            WARNING,
            "grant_types",
            "The password grant must not be used. Keycloak grants it (direct access grants).",
            "RFC 9700, section 2.4",
        ),
    )


@pytest.mark.parametrize("provider_type", ProviderType)
def test_the_seed_can_be_registered_at_each_kind_of_provider(provider_type: ProviderType) -> None:
    made = planned(replace(SEED, okta_app_type=OktaAppType.WEB), provider_type)

    assert of(made.findings, ERROR) == []
    assert made.metadata["response_types"] == ["code"]
    assert "implicit" not in made.metadata["grant_types"]


@pytest.mark.parametrize("provider_type", [KEYCLOAK, OTHER])
def test_a_plain_client_type_has_no_findings(provider_type: ProviderType) -> None:
    client_type = spec("code", "authorization_code refresh_token", BASIC)

    assert findings_of(client_type, provider_type) == ()
    assert planned(client_type, provider_type, scope="offline_access").findings == ()


# What a client type has: the rows of the table that are reported.
FOUND = [
    ("none", "authorization_code", BASIC, {"code_added"}),
    ("id_token", "authorization_code", BASIC, {"code_added", "token_without_implicit"}),
    ("code", "client_credentials", BASIC, {"code_without_grant"}),
    ("code token", "authorization_code", BASIC, {"token_without_implicit"}),
    ("none code", "authorization_code", BASIC, {"none_with_others"}),
    ("code", "authorization_code implicit", BASIC, {"implicit_without_response"}),
    ("none", "implicit", BASIC, {"implicit_without_response", "nothing_left"}),
    (
        "none",
        "implicit refresh_token",
        BASIC,
        {"implicit_without_response", "refresh_without_grant", "nothing_left"},
    ),
    ("none", "refresh_token", BASIC, {"refresh_without_grant", "nothing_left"}),
    (
        "code",
        "refresh_token",
        BASIC,
        {"code_without_grant", "refresh_without_grant", "nothing_left"},
    ),
    ("none", "client_credentials refresh_token", BASIC, {"refresh_without_grant"}),
    ("none", "password", BASIC, {"password"}),
    ("token id_token", "implicit", BASIC, {"implicit"}),
    ("code", "pkce", "", {"pkce_public"}),
    ("code", "pkce", BASIC, {"pkce_confidential"}),
    (
        "code",
        "pkce client_credentials",
        "",
        {"pkce_confidential", "secret_for_client_credentials"},
    ),
    ("code", "authorization_code", "", {"method_secret"}),
    ("none", "device_code", "", {"method_none"}),
    ("none", "client_credentials", BASIC, set()),
]


@pytest.mark.parametrize(("responses", "grants", "method", "expected"), FOUND)
def test_what_does_not_fit_is_reported(
    responses: str, grants: str, method: str, expected: set[str]
) -> None:
    found = names(findings_of(spec(responses, grants, method), OTHER))

    assert found == expected


@pytest.mark.parametrize(
    ("grants", "responses"),
    [
        ("refresh_token", "none"),
        ("refresh_token", "code"),
        ("implicit", "none"),
        ("implicit refresh_token", "code"),
    ],
)
@pytest.mark.parametrize("provider_type", NOT_OKTA)
def test_a_client_type_that_no_client_could_use_is_an_error(
    grants: str, responses: str, provider_type: ProviderType
) -> None:
    made = planned(spec(responses, grants), provider_type)

    assert of(made.findings, ERROR) == ["No grant type is left that a client could use."]
    assert made.metadata["grant_types"] == []
    assert made.metadata["response_types"] == []


@pytest.mark.parametrize(
    ("responses", "grants", "expected"),
    [
        ("token", "implicit", {"keycloak_implicit"}),
        ("id_token", "implicit", {"keycloak_implicit"}),
        ("id_token token", "implicit", set()),
        ("code id_token", "authorization_code implicit", {"keycloak_implicit"}),
        ("code", "authorization_code", set()),
    ],
)
def test_keycloak_turns_on_the_implicit_flow_as_a_whole(
    responses: str, grants: str, expected: set[str]
) -> None:
    found = names(findings_of(spec(responses, grants, BASIC), KEYCLOAK))

    assert found - {"implicit"} == expected


@pytest.mark.parametrize(
    ("responses", "grants", "expected"),
    [
        ("none", "client_credentials", {"gluu_code"}),
        ("none", "device_code", {"gluu_code"}),
        ("id_token", "implicit", {"gluu_token", "implicit"}),
        ("token", "implicit", {"implicit"}),
        ("code", "authorization_code", {"gluu_refresh"}),
        ("code", "authorization_code refresh_token", set()),
    ],
)
def test_gluu_adds_to_what_it_gets(responses: str, grants: str, expected: set[str]) -> None:
    assert names(findings_of(spec(responses, grants, BASIC), GLUU)) == expected


@pytest.mark.parametrize("provider_type", NOT_OKTA)
def test_an_app_type_of_okta_has_no_effect_elsewhere(provider_type: ProviderType) -> None:
    client_type = spec("code", "authorization_code refresh_token", BASIC)
    with_app_type = replace(client_type, okta_app_type=OktaAppType.NATIVE)

    assert planned(with_app_type, provider_type).metadata == (
        planned(client_type, provider_type).metadata
    )
    assert names(findings_of(with_app_type, provider_type)) == {"okta_app_type_unused"}


# Okta: response types, grant types, method, app type -> grants, response types, method;
# the rows that are reported.
AT_OKTA = [
    (
        ("code", "authorization_code refresh_token", BASIC, "web"),
        ("authorization_code refresh_token", "code", BASIC),
        set(),
    ),
    (
        ("code", "authorization_code client_credentials", POST, "web"),
        ("authorization_code client_credentials", "code", POST),
        set(),
    ),
    (
        ("code id_token token", "authorization_code implicit", BASIC, "web"),
        ("authorization_code implicit", "code, token, id_token", BASIC),
        {"implicit"},
    ),
    (
        ("code", "pkce refresh_token", "", "native"),
        ("authorization_code refresh_token", "code", "none"),
        {"pkce_public"},
    ),
    (
        ("code", "pkce", "", "browser"),
        ("authorization_code", "code", "none"),
        {"pkce_public"},
    ),
    (
        ("code", "authorization_code", BASIC, "browser"),
        ("authorization_code", "code", "none"),
        {"okta_method"},
    ),
    (
        ("code", "pkce", "", "web"),
        ("authorization_code", "code", BASIC),
        {"okta_method", "pkce_confidential"},
    ),
    (
        ("token", "implicit", "", "browser"),
        ("implicit", "token", "none"),
        {"implicit", "method_none"},
    ),
    (
        ("none", "client_credentials", BASIC, "service"),
        ("client_credentials", "token", BASIC),
        set(),
    ),
    (
        ("token", "client_credentials", "", "service"),
        ("client_credentials", "token", BASIC),
        {"token_without_implicit", "method_secret"},
    ),
    (
        ("code", "authorization_code client_credentials", BASIC, "service"),
        ("client_credentials", "token", BASIC),
        {"okta_grant", "okta_response"},
    ),
    (
        ("code", "authorization_code password refresh_token", BASIC, "native"),
        ("authorization_code password refresh_token", "code", BASIC),
        {"password"},
    ),
    (
        ("code", "authorization_code device_code", BASIC, "web"),
        ("authorization_code", "code", BASIC),
        {"okta_grant"},
    ),
    (
        ("code", "pkce refresh_token", "", "browser"),
        ("authorization_code", "code", "none"),
        {"okta_grant", "pkce_public"},
    ),
    (
        ("code", "pkce client_credentials", "", "native"),
        ("authorization_code", "code", "none"),
        {"okta_grant", "pkce_public"},
    ),
]


@pytest.mark.parametrize(("client_type", "sent", "expected"), AT_OKTA)
def test_okta_gets_what_the_app_type_can_have(
    client_type: tuple[str, str, str, str], sent: tuple[str, str, str], expected: set[str]
) -> None:
    made = planned(spec(*client_type), OKTA_TYPE)

    assert shape(made.metadata) == sent
    assert made.metadata["application_type"] == client_type[3]
    assert names(made.findings) == expected
    assert of(made.findings, ERROR) == []


@pytest.mark.parametrize(
    ("client_type", "error"),
    [
        (
            ("none", "client_credentials", BASIC, "web"),
            "Okta's web apps always have authorization_code, which the client type does not grant.",
        ),
        (
            ("token", "implicit", "", "web"),
            "Okta's web apps always have authorization_code, which the client type does not grant.",
        ),
        (
            ("none", "password", "", "native"),
            (
                "Okta's native apps always have authorization_code, which the client type does not"
                " grant."
            ),
        ),
        (
            ("code", "authorization_code", "", "service"),
            (
                "Okta's service apps always have client_credentials, which the client type does not"
                " grant."
            ),
        ),
        (
            ("none", "client_credentials", "", "browser"),
            "No grant type is left that a client could use.",
        ),
        (("code", "authorization_code", "", ""), "Okta needs an app type."),
    ],
)
def test_what_okta_would_reject_is_an_error_and_nothing_is_added_for_it(
    client_type: tuple[str, str, str, str], error: str
) -> None:
    granted = spec(*client_type)
    made = planned(granted, OKTA_TYPE)

    assert of(made.findings, ERROR) == [error]
    assert set(made.metadata["grant_types"]) <= {GRANTS[each].sent for each in granted.grant_types}


@pytest.mark.parametrize(
    ("redirect_uris", "expected"),
    [
        ((WEB_URI,), "web"),
        (("https://localhost/callback",), "web"),
        (("http://localhost:3000/callback",), "native"),
        (("http://127.0.0.1/callback",), "native"),
        (("HTTP://[::1]/callback",), "native"),
        (("com.example.app:/callback",), "native"),
        ((WEB_URI, "com.example.app:/callback"), "native"),
    ],
)
@pytest.mark.parametrize("provider_type", [GLUU, OTHER])
def test_a_client_is_native_by_its_redirect_uris(
    redirect_uris: tuple[str, ...], expected: str, provider_type: ProviderType
) -> None:
    made = planned(spec("code", "pkce"), provider_type, redirect_uris=redirect_uris)

    assert made.metadata["application_type"] == expected
    assert made.metadata["redirect_uris"] == list(redirect_uris)


@pytest.mark.parametrize(
    ("grants", "expected"),
    [("device_code refresh_token", "native"), ("client_credentials", "web"), ("password", "web")],
)
def test_a_client_without_redirect_uris_is_native_if_it_is_for_devices(
    grants: str, expected: str
) -> None:
    assert planned(spec("none", grants), OTHER).metadata["application_type"] == expected


def test_keycloak_gets_no_application_type() -> None:
    made = planned(spec("code", "pkce"), redirect_uris=("com.example.app:/callback",))

    assert "application_type" not in made.metadata


REFRESHING = spec("code", "authorization_code refresh_token", BASIC)
PLAIN = spec("code", "authorization_code", BASIC)


@pytest.mark.parametrize(
    ("provider_type", "client_type", "given", "sent", "expected"),
    [
        (KEYCLOAK, REFRESHING, "", None, set()),
        (KEYCLOAK, REFRESHING, "openid", None, {"openid_not_sent"}),
        (KEYCLOAK, REFRESHING, "profile openid", "profile", {"openid_not_sent"}),
        (KEYCLOAK, REFRESHING, "mail", "mail", {"scope_not_listed"}),
        (GLUU, REFRESHING, "", None, set()),
        (GLUU, REFRESHING, "openid profile", "openid profile", set()),
        (OKTA_TYPE, REFRESHING, "", None, set()),
        (OKTA_TYPE, REFRESHING, "openid", None, {"scope_not_sent"}),
        (OTHER, PLAIN, "", None, set()),
        (OTHER, PLAIN, "openid", "openid", set()),
        (OTHER, REFRESHING, "", "openid offline_access", {"scope_for_refresh"}),
        (OTHER, REFRESHING, "openid", "openid", {"offline_access_missing"}),
        (OTHER, REFRESHING, "offline_access", "offline_access", set()),
        (OTHER, PLAIN, "openid mail", "openid mail", {"scope_not_listed"}),
    ],
)
def test_the_scope_is_what_this_kind_of_provider_accepts(
    provider_type: ProviderType,
    client_type: ClientTypeSpec,
    given: str,
    sent: str | None,
    expected: set[str],
) -> None:
    at_okta = replace(client_type, okta_app_type=OktaAppType.WEB)
    made = planned(
        at_okta if provider_type is OKTA_TYPE else client_type, provider_type, scope=given
    )

    assert made.metadata.get("scope") == sent
    assert {name for name in names(made.findings) if FINDINGS[name].field == "scope"} == expected


@pytest.mark.parametrize("supported", [None, (), ("openid",), ("profile", "email")])
def test_no_scope_is_added_that_the_provider_may_not_know(
    supported: tuple[str, ...] | None,
) -> None:
    discovery = replace(DISCOVERED, scopes_supported=supported)

    assert "scope" not in planned(REFRESHING, OTHER, discovery).metadata
    assert "scope" not in planned(REFRESHING, OTHER, None).metadata


@pytest.mark.parametrize(
    ("client_type", "lacks", "expected"),
    [
        (
            spec("none", "device_code"),
            {"device_authorization_endpoint": ""},
            {"no_device_endpoint"},
        ),
        (
            spec("none", "device_code"),
            {"device_authorization_endpoint": "", "grant_types_supported": ("implicit",)},
            {"no_device_endpoint"},
        ),
        (
            spec("none", "device_code"),
            {"grant_types_supported": ("authorization_code",)},
            {"grant_not_listed"},
        ),
        (PLAIN, {"grant_types_supported": ()}, {"grant_not_listed"}),
        (PLAIN, {"grant_types_supported": None}, set()),
        (PLAIN, {"device_authorization_endpoint": ""}, set()),
        (PLAIN, {"response_types_supported": ("none", "id_token")}, {"response_not_listed"}),
        (PLAIN, {"response_types_supported": None}, set()),
        (PLAIN, {"token_endpoint_auth_methods_supported": (POST,)}, {"method_not_listed"}),
        (PLAIN, {"token_endpoint_auth_methods_supported": None}, set()),
        (spec("code", "pkce"), {"token_endpoint_auth_methods_supported": (POST,)}, set()),
        (spec("code", "pkce"), {"code_challenge_methods_supported": None}, {"pkce_not_listed"}),
        (
            spec("code", "pkce"),
            {"code_challenge_methods_supported": ("plain",)},
            {"pkce_not_listed"},
        ),
        (PLAIN, {"code_challenge_methods_supported": None}, set()),
    ],
)
def test_what_the_discovery_document_does_not_have_is_a_warning(
    client_type: ClientTypeSpec, lacks: dict[str, Any], expected: set[str]
) -> None:
    made = planned(client_type, OTHER, replace(DISCOVERED, **lacks))
    by_itself = planned(client_type, OTHER)

    assert names(made.findings) - names(by_itself.findings) == expected
    assert made.metadata == by_itself.metadata
    assert of(made.findings, ERROR) == []


def test_without_a_discovery_document_the_findings_report_it() -> None:
    made = planned(PLAIN, discovery=None)

    assert names(made.findings) == {"no_discovery"}
    assert made.metadata == planned(PLAIN).metadata


HYBRID = spec("code id_token", "authorization_code implicit", BASIC)


@pytest.mark.parametrize(
    ("listed", "sent"),
    [
        (None, ["code", "id_token", "code id_token"]),
        (("code", "id_token", "id_token code"), ["code", "id_token", "code id_token"]),
        (("code", "id_token"), ["code", "id_token"]),
        ((), ["code", "id_token"]),
    ],
)
def test_a_combination_of_response_types_is_sent_only_if_the_provider_may_have_it(
    listed: tuple[str, ...] | None, sent: list[str]
) -> None:
    discovery = replace(DISCOVERED, response_types_supported=listed)

    assert planned(HYBRID, OTHER, discovery).metadata["response_types"] == sent


@pytest.mark.parametrize("provider_type", NOT_OKTA)
@pytest.mark.parametrize(
    ("responses", "grants"),
    [
        ("code", "authorization_code"),
        ("code", "pkce"),
        ("none", "pkce"),
        ("token", "implicit"),
        ("none", "client_credentials authorization_code"),
    ],
)
def test_redirect_uris_are_required_where_a_grant_uses_them(
    responses: str, grants: str, provider_type: ProviderType
) -> None:
    client_type = spec(responses, grants)
    [violation] = redirect_uri_violations(client_type, provider_type, ())

    assert (violation.field, violation.rule) == ("redirect_uris", Rule.REQUIRED)
    assert redirect_uri_violations(client_type, provider_type, (WEB_URI,)) == []


@pytest.mark.parametrize("provider_type", NOT_OKTA)
@pytest.mark.parametrize(
    ("responses", "grants"),
    [
        ("none", "client_credentials"),
        ("code", "client_credentials"),
        ("none", "device_code refresh_token"),
        ("none", "password"),
        ("code", "password implicit"),
    ],
)
def test_redirect_uris_are_not_allowed_where_no_grant_uses_them(
    responses: str, grants: str, provider_type: ProviderType
) -> None:
    client_type = spec(responses, grants)

    assert redirect_uri_violations(client_type, provider_type, ()) == []
    assert redirect_uri_violations(client_type, provider_type, (WEB_URI,)) == [
        Violation(
            "redirect_uris",
            Rule.OUT_OF_RANGE,
            "must be empty, because no grant of the client uses one (RFC 7591, section 2)",
        )
    ]


def test_the_violation_names_the_grants_that_need_a_redirect_uri() -> None:
    violations = redirect_uri_violations(spec("code token", "pkce implicit"), OTHER, ())

    assert violations == [
        Violation(
            "redirect_uris",
            Rule.REQUIRED,
            "is required, because the client has authorization_code, implicit"
            " (RFC 6749, section 3.1.2.2)",
        )
    ]


def test_a_client_type_that_cannot_be_registered_has_no_violation_of_redirect_uris() -> None:
    unusable = spec("none", "refresh_token")

    assert redirect_uri_violations(unusable, OTHER, ()) == []
    assert redirect_uri_violations(unusable, OTHER, (WEB_URI,)) == []


def test_in_a_plan_redirect_uris_are_errors() -> None:
    missing = planned(PLAIN, redirect_uris=())
    surplus = planned(spec("none", "client_credentials", BASIC), redirect_uris=(WEB_URI,))

    assert [found for found in missing.findings if found.severity is ERROR] == [
        Finding(
            ERROR,
            "redirect_uris",
            "A redirect URI is required: the client has authorization_code.",
            "RFC 6749, section 3.1.2.2",
        )
    ]
    assert names(surplus.findings) == {"redirect_uri_not_used"}
    assert surplus.metadata["redirect_uris"] == []


@pytest.mark.parametrize(("length", "expected"), [(240, set()), (241, {"name_cut"})])
def test_a_truncated_name_is_reported(length: int, expected: set[str]) -> None:
    made = planned(PLAIN, name="n" * length)

    assert names(made.findings) == expected
    assert len(made.metadata["client_name"]) == 255


def test_errors_come_first_and_notes_last() -> None:
    found = planned(spec("code token", "pkce password"), OTHER, None, redirect_uris=()).findings
    order = [ERROR, WARNING, INFO]

    assert {each.severity for each in found} == set(order)
    assert [each.severity for each in found] == sorted(
        (each.severity for each in found), key=order.index
    )


def test_the_findings_of_a_client_type_are_computed_once() -> None:
    first = findings_of(SEED, OTHER)

    assert findings_of(replace(SEED, name="another", description="d"), OTHER) is first
    assert findings_of(SEED, KEYCLOAK) != first


def test_a_plan_does_not_change_the_findings_of_the_client_type() -> None:
    before = findings_of(SEED, KEYCLOAK)
    planned(SEED, discovery=None, scope="openid", redirect_uris=())

    assert findings_of(SEED, KEYCLOAK) == before


CLIENT_TYPES = st.builds(
    ClientTypeSpec,
    name=st.just("c"),
    description=st.just(""),
    response_types=st.lists(st.sampled_from(ResponseType), min_size=1, unique=True).map(tuple),
    grant_types=st.lists(st.sampled_from(GrantType), min_size=1, unique=True).map(tuple),
    token_endpoint_auth_method=st.sampled_from([None, *TokenEndpointAuthMethod]),
    okta_app_type=st.sampled_from([None, *OktaAppType]),
)
CLIENTS = st.builds(
    ClientSpec,
    name=st.text(min_size=1, max_size=255),
    redirect_uris=st.lists(
        st.sampled_from([WEB_URI, "http://localhost/x", "com.example.app:/x"]), unique=True
    ).map(tuple),
    scope=st.sampled_from(["", "openid", "profile openid", "offline_access", "unknown"]),
    labels=st.just({"application": "a"}),
)
DISCOVERIES = st.none() | st.builds(
    Discovery,
    device_authorization_endpoint=st.sampled_from(["", "https://idp.test/device"]),
    grant_types_supported=st.none() | st.just(()) | st.just(DISCOVERED.grant_types_supported),
    response_types_supported=st.none() | st.just(()) | st.just(tuple(RESPONSE_TYPES)),
    scopes_supported=st.none() | st.just(()) | st.just(DISCOVERED.scopes_supported),
)
REQUIRED = {
    "client_name",
    "redirect_uris",
    "grant_types",
    "response_types",
    "token_endpoint_auth_method",
}


@given(CLIENT_TYPES, st.sampled_from(ProviderType), CLIENTS, DISCOVERIES)
def test_no_metadata_grants_more_than_the_client_type(
    client_type: ClientTypeSpec,
    provider_type: ProviderType,
    client: ClientSpec,
    discovery: Discovery | None,
) -> None:
    made = plan(client_type, provider_type, client, UID, discovery)
    metadata = made.metadata
    grants, method = set(metadata["grant_types"]), metadata["token_endpoint_auth_method"]
    words = {word for each in metadata["response_types"] for word in each.split()}
    rejected = bool(of(made.findings, ERROR))

    assert metadata.keys() - {"scope", "application_type"} == REQUIRED
    assert None not in metadata.values()
    assert json.loads(json.dumps(metadata)) == metadata
    assert len(metadata["client_name"]) <= 255
    # Nothing is added to the grants, and each response type has its grant.
    assert grants <= {GRANTS[each].sent for each in client_type.grant_types}
    assert "pkce" not in grants
    assert ("code" in words) == ("authorization_code" in grants)
    if provider_type is not OKTA_TYPE:
        assert bool(words & {"token", "id_token"}) == ("implicit" in grants)
    # A client with client_credentials has a secret.
    assert not (method == "none" and "client_credentials" in grants)
    if client_type.token_endpoint_auth_method and provider_type is not OKTA_TYPE:
        assert method == client_type.token_endpoint_auth_method
    # Redirect URIs are there exactly if a grant needs them, or it is an error.
    redirecting = bool(grants & {"authorization_code", "implicit"})
    assert rejected or bool(metadata["redirect_uris"]) == redirecting
    assert rejected or grants
    if provider_type is KEYCLOAK:
        assert "application_type" not in metadata
        assert "openid" not in metadata.get("scope", "").split()
    violations = redirect_uri_violations(client_type, provider_type, client.redirect_uris)
    assert bool(violations) == any(
        found.field == "redirect_uris" and found.severity is ERROR for found in made.findings
    )


@given(CLIENT_TYPES, CLIENTS)
def test_what_is_sent_to_okta_is_what_its_app_type_can_have_or_an_error(
    client_type: ClientTypeSpec, client: ClientSpec
) -> None:
    made = plan(client_type, OKTA_TYPE, client, UID, None)
    if not of(made.findings, ERROR):
        assert client_type.okta_app_type
        row = OKTA[client_type.okta_app_type]
        grants = set(made.metadata["grant_types"])

        assert set(row.required_grants) <= grants
        assert grants <= {*row.required_grants, *row.optional_grants}
        assert set(row.required_response_types) <= set(made.metadata["response_types"])
        assert made.metadata["token_endpoint_auth_method"] in row.methods
        assert made.metadata["application_type"] == client_type.okta_app_type


@given(CLIENT_TYPES, st.sampled_from(ProviderType), CLIENTS, DISCOVERIES)
def test_each_finding_is_of_a_field_and_has_a_text_and_a_reference(
    client_type: ClientTypeSpec,
    provider_type: ProviderType,
    client: ClientSpec,
    discovery: Discovery | None,
) -> None:
    found = plan(client_type, provider_type, client, UID, discovery).findings

    for each in found:
        assert each.field in {*CLIENT_TYPE, *CLIENT}
        assert each.text.endswith(".")
        assert "{" not in each.text
        assert len(each.text) < 300
        assert each.reference
    assert len(set(found)) == len(found)
    assert set(findings_of(client_type, provider_type)) <= set(found)


def test_the_size_of_findings_in_a_stored_response_has_a_limit() -> None:
    most = max(
        sum(len(each.text) + len(each.reference) + 80 for each in findings_of(one, provider_type))
        for provider_type in ProviderType
        for app_type in (None, *OktaAppType)
        for method in (None, *TokenEndpointAuthMethod)
        for grants in ((*GrantType,), (GrantType.PKCE, GrantType.CLIENT_CREDENTIALS))
        for one in (
            ClientTypeSpec(
                name="c",
                description="",
                response_types=tuple(ResponseType),
                grant_types=grants,
                token_endpoint_auth_method=method,
                okta_app_type=app_type,
            ),
        )
    )

    assert most < 4096


def test_each_row_of_the_table_is_reported_for_some_registration() -> None:
    responses = [*combinations(ResponseType, 1), *combinations(ResponseType, 2)]
    grants = [*combinations(GrantType, 1), *combinations(GrantType, 2)]
    clients = [
        replace(CLIENT_SPEC, name="n" * 255, scope="openid unknown"),
        replace(CLIENT_SPEC, redirect_uris=()),
    ]
    found = {
        each
        for response_types, grant_types, method, app_type, provider_type in product(
            responses,
            grants,
            (None, TokenEndpointAuthMethod.CLIENT_SECRET_BASIC),
            (None, OktaAppType.WEB, OktaAppType.SERVICE),
            ProviderType,
        )
        for client, discovery in zip(clients, (None, DISCOVERED), strict=True)
        for each in plan(
            spec(
                "none",
                "pkce",
                response_types=response_types,
                grant_types=grant_types,
                token_endpoint_auth_method=method,
                okta_app_type=app_type,
            ),
            provider_type,
            client,
            UID,
            discovery,
        ).findings
    }
    nothing = Discovery(
        grant_types_supported=(),
        response_types_supported=(),
        token_endpoint_auth_methods_supported=(),
        scopes_supported=(),
    )
    for client_type, discovery, scope in (
        (spec("none", "device_code"), nothing, "profile"),
        (spec("code", "pkce refresh_token", BASIC), nothing, ""),
        (REFRESHING, DISCOVERED, "openid"),
    ):
        found |= set(planned(client_type, OTHER, discovery, scope=scope).findings)

    assert names(found) == set(FINDINGS)


def test_docs_findings_md_is_current() -> None:
    page = PAGE.read_text()

    assert page == current(page)
