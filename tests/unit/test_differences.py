"""What a provider registered, compared with what was requested."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal_server.domain.client import Difference
from portal_server.domain.differences import differences
from portal_server.domain.provider import ProviderType

KEYCLOAK, GLUU = ProviderType.KEYCLOAK, ProviderType.GLUU
OKTA, OTHER = ProviderType.OKTA, ProviderType.OTHER
URI = "https://app.example.com/callback"
AC, RT, CC, IMP = "authorization_code", "refresh_token", "client_credentials", "implicit"
REQUESTED: dict[str, Any] = {
    "client_name": "My app [2b7a4e5f6a7b]",
    "redirect_uris": [URI],
    "grant_types": [AC, RT],
    "response_types": ["code"],
    "token_endpoint_auth_method": "client_secret_basic",
}
ALL_OF_KEYCLOAK = [
    "code",
    "none",
    "id_token",
    "id_token token",
    "code id_token",
    "code token",
    "code id_token token",
]


def compare(
    provider_type: ProviderType, requested: dict[str, Any], registered: dict[str, Any]
) -> tuple[Difference, ...]:
    """Differences of metadata that is otherwise the same."""
    asked = REQUESTED | requested
    return differences(asked, asked | registered, provider_type)


@pytest.mark.parametrize("provider_type", ProviderType)
def test_what_is_registered_as_requested_has_no_differences(provider_type: ProviderType) -> None:
    assert compare(provider_type, {}, {}) == ()
    assert compare(provider_type, {"scope": "openid profile"}, {}) == ()


@pytest.mark.parametrize("provider_type", ProviderType)
@pytest.mark.parametrize(
    ("requested", "registered"),
    [
        ({}, {"grant_types": [RT, AC]}),
        ({}, {"grant_types": [RT, AC, AC]}),
        ({"redirect_uris": [URI, "a.b:/c"]}, {"redirect_uris": ["a.b:/c", URI]}),
        ({"scope": "openid profile"}, {"scope": "profile  openid"}),
        (
            {"response_types": ["id_token token", "code"], "grant_types": [AC, IMP]},
            {"response_types": ["code", "token id_token"]},
        ),
    ],
)
def test_order_is_not_a_difference(
    provider_type: ProviderType, requested: dict[str, Any], registered: dict[str, Any]
) -> None:
    assert compare(provider_type, requested, registered) == ()


@pytest.mark.parametrize("provider_type", ProviderType)
@pytest.mark.parametrize("none", [None, []])
def test_an_empty_list_may_be_absent_in_the_response(
    provider_type: ProviderType, none: Any
) -> None:
    requested = {"grant_types": [CC], "response_types": [], "redirect_uris": []}

    assert compare(provider_type, requested, {"response_types": none, "redirect_uris": none}) == ()


@pytest.mark.parametrize("provider_type", ProviderType)
def test_what_the_provider_adds_by_itself_is_not_a_difference(
    provider_type: ProviderType,
) -> None:
    added = {
        "client_id": "x",
        "client_id_issued_at": 1,
        "scope": "openid offline_access",
        "application_type": "web",
        "subject_type": "public",
        "logo_uri": None,
        "require_auth_time": False,
    }

    assert compare(provider_type, {}, added) == ()


# What servers were seen to do, and does not change what the client can do.
EXPECTED = [
    (KEYCLOAK, {}, {"response_types": ["code", "none"]}),
    (
        KEYCLOAK,
        {"grant_types": [IMP], "response_types": ["token"]},
        {"response_types": ["id_token", "id_token token"]},
    ),
    (
        KEYCLOAK,
        {"grant_types": [IMP], "response_types": ["id_token"]},
        {"response_types": ["id_token", "id_token token"]},
    ),
    (
        KEYCLOAK,
        {"grant_types": [AC, IMP], "response_types": ["code", "id_token", "code id_token"]},
        {"response_types": ALL_OF_KEYCLOAK},
    ),
    (GLUU, {"grant_types": [AC]}, {"grant_types": [AC, RT]}),
    (GLUU, {"application_type": "web"}, {"application_type": None}),
    (OTHER, {"application_type": "native"}, {"application_type": None}),
]


@pytest.mark.parametrize(("provider_type", "requested", "registered"), EXPECTED)
def test_what_a_kind_of_provider_is_known_to_do_is_not_a_difference(
    provider_type: ProviderType, requested: dict[str, Any], registered: dict[str, Any]
) -> None:
    assert compare(provider_type, requested, registered) == ()


def test_metadata_that_another_kind_of_provider_does_not_return_is_a_difference() -> None:
    [found] = compare(OKTA, {"application_type": "web"}, {"application_type": None})

    assert found == Difference(field="application_type", asked='"web"', granted="", wider=False)


def test_keycloak_widens_a_client_whose_response_types_were_sent_unchanged() -> None:
    requested = {"grant_types": [AC, RT, "password"], "response_types": ["code", "token"]}
    registered = {
        "grant_types": [AC, IMP, "password", RT],
        "response_types": ALL_OF_KEYCLOAK,
    }

    assert compare(KEYCLOAK, requested, registered) == (
        Difference(
            field="grant_types",
            asked='["authorization_code","refresh_token","password"]',
            granted='["authorization_code","implicit","password","refresh_token"]',
            wider=True,
        ),
    )


# What was requested and registered: the field, and whether the client may do more.
FOUND = [
    ({}, {"grant_types": [AC, RT, IMP]}, "grant_types", True),
    ({}, {"grant_types": [AC]}, "grant_types", False),
    ({}, {"grant_types": []}, "grant_types", False),
    ({}, {"grant_types": None}, "grant_types", False),
    ({}, {"grant_types": [AC, CC]}, "grant_types", True),
    ({}, {"response_types": ["code", "token"]}, "response_types", True),
    ({}, {"response_types": ["code token"]}, "response_types", True),
    ({}, {"response_types": []}, "response_types", False),
    ({}, {"redirect_uris": [URI, "https://evil.example/"]}, "redirect_uris", True),
    ({}, {"redirect_uris": [f"{URI}/"]}, "redirect_uris", True),
    ({}, {"redirect_uris": []}, "redirect_uris", False),
    ({}, {"token_endpoint_auth_method": "none"}, "token_endpoint_auth_method", True),
    (
        {},
        {"token_endpoint_auth_method": "client_secret_post"},
        "token_endpoint_auth_method",
        False,
    ),
    ({}, {"token_endpoint_auth_method": None}, "token_endpoint_auth_method", False),
    (
        {"token_endpoint_auth_method": "none"},
        {"token_endpoint_auth_method": "client_secret_basic"},
        "token_endpoint_auth_method",
        False,
    ),
    ({}, {"client_name": "another"}, "client_name", False),
    ({"scope": "openid"}, {"scope": "openid profile"}, "scope", True),
    ({"scope": "openid profile"}, {"scope": "openid"}, "scope", False),
    ({"scope": "openid"}, {"scope": None}, "scope", False),
    ({"application_type": "web"}, {"application_type": "native"}, "application_type", False),
    # Not of the types of RFC 7591.
    ({}, {"grant_types": "implicit"}, "grant_types", True),
    ({}, {"grant_types": {"implicit": True}}, "grant_types", True),
    ({}, {"grant_types": [None, 1]}, "grant_types", True),
    ({}, {"redirect_uris": [[URI]]}, "redirect_uris", True),
    ({}, {"client_name": 7}, "client_name", False),
    ({"scope": "openid"}, {"scope": ["openid", 1]}, "scope", True),
]


@pytest.mark.parametrize(("requested", "registered", "field", "wider"), FOUND)
def test_anything_else_is_a_difference_and_wider_if_the_client_may_do_more(
    requested: dict[str, Any], registered: dict[str, Any], field: str, wider: Any
) -> None:
    [found] = compare(OTHER, requested, registered)

    assert (found.field, found.wider) == (field, wider)


@pytest.mark.parametrize(
    ("registered", "field"),
    [
        ({"grant_types": [AC, RT, IMP]}, "grant_types"),
        ({"response_types": ["code", "token"]}, "response_types"),
        ({"redirect_uris": [URI]}, "redirect_uris"),
        ({"token_endpoint_auth_method": "none"}, "token_endpoint_auth_method"),
    ],
)
def test_what_was_not_requested_is_a_difference_only_if_it_is_wider_than_the_default(
    registered: dict[str, Any], field: str
) -> None:
    defaults = {
        "grant_types": [AC],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    [found] = differences({"client_name": "n"}, {"client_name": "n", **registered}, OTHER)

    assert (found.field, found.asked, found.wider) == (field, "", True)
    assert differences({"client_name": "n"}, {"client_name": "n", **defaults}, OTHER) == ()


def test_gluu_widens_a_client_without_a_redirect() -> None:
    requested = {"grant_types": [CC], "response_types": [], "redirect_uris": []}
    registered = {"grant_types": [CC, AC, RT], "response_types": ["code"]}

    assert [(each.field, each.wider) for each in compare(GLUU, requested, registered)] == [
        ("grant_types", True),
        ("response_types", True),
    ]


def test_other_grants_that_gluu_adds_are_wider() -> None:
    [found] = compare(GLUU, {}, {"grant_types": [AC, RT, IMP]})

    assert found.wider


@pytest.mark.parametrize("granted", [["code", "none", "id_token"], ["id_token"], ["none", "foo"]])
def test_another_flow_at_keycloak_is_wider(granted: list[str]) -> None:
    [found] = compare(KEYCLOAK, {}, {"response_types": granted})

    assert found.wider


def test_values_are_compact_json_and_shortened_where_they_are_very_long() -> None:
    [name] = compare(OTHER, {}, {"client_name": "Ünïcode \N{SNOWMAN}"})
    [uris] = compare(OTHER, {}, {"redirect_uris": [f"https://a.example/{n}" for n in range(9999)]})

    assert (name.asked, name.granted) == ('"My app [2b7a4e5f6a7b]"', '"Ünïcode \N{SNOWMAN}"')
    assert uris.asked == f'["{URI}"]'
    assert uris.granted.startswith('["https://a.example/0","https://a.example/1",')
    assert uris.granted.endswith("…")
    assert len(uris.granted) == 1025


# Not any character: the first text of all characters takes seconds on a slow machine.
TEXT = st.text('aZ0 _-:/.,"\\\0\x7f\u00e9\u4e2d\U0001f600', max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner),
    max_leaves=8,
)


@given(st.sampled_from(ProviderType), st.dictionaries(st.sampled_from([*REQUESTED, "scope"]), JSON))
def test_any_response_can_be_compared(
    provider_type: ProviderType, registered: dict[str, Any]
) -> None:
    found = differences(REQUESTED, registered, provider_type)

    assert all(each.field in REQUESTED for each in found)
    assert len({each.field for each in found}) == len(found)
