"""Pages and filters of the List methods."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1 import provider_pb2
from tests.conftest import Portal
from tests.support.details import Rejection


def provider_of(portal: Portal, name: str = "p") -> int:
    draft = provider_pb2.Provider(
        name=name, type=provider_pb2.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/"
    )
    return portal.providers.CreateProvider(provider_pb2.CreateProviderRequest(provider=draft)).id


def create(portal: Portal, provider_id: int, name: str, **fields: Any) -> int:
    given_: dict[str, Any] = {
        "response_types": [pb.RESPONSE_TYPE_CODE],
        "grant_types": [pb.GRANT_TYPE_PKCE],
    } | fields
    return portal.client_types.CreateClientType(
        pb.CreateClientTypeRequest(
            provider_id=provider_id, client_type=pb.ClientType(name=name, **given_)
        )
    ).id


def page(portal: Portal, provider_id: int, **fields: Any) -> pb.ListClientTypesResponse:
    request = pb.ListClientTypesRequest(provider_id=provider_id, **fields)
    return portal.client_types.ListClientTypes(request)


def walk(portal: Portal, provider_id: int, size: int, **fields: Any) -> list[str]:
    names: list[str] = []
    token = ""
    while True:
        found = page(portal, provider_id, page_size=size, page_token=token, **fields)
        names += [client_type.name for client_type in found.client_types]
        token = found.next_page_token
        if not token:
            return names


def calls_of_walk(portal: Portal, provider_id: int, size: int) -> int:
    calls, token = 1, page(portal, provider_id, page_size=size).next_page_token
    while token:
        token = page(portal, provider_id, page_size=size, page_token=token).next_page_token
        calls += 1
    return calls


def create_many(
    portal: Portal, provider_id: int, count: int, *, prefix: str = "", **fields: Any
) -> set[str]:
    names = {f"{prefix}{n}" for n in range(count)}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: create(portal, provider_id, name, **fields), names))
    return names


def error_of(portal: Portal, provider_id: int, **fields: Any) -> Rejection:
    with pytest.raises(grpc.RpcError) as error:
        page(portal, provider_id, **fields)
    rejection = Rejection(error.value)
    assert rejection.code == grpc.StatusCode.INVALID_ARGUMENT
    return rejection


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
def test_all_pages_together_are_the_list(portal: Portal, size: int) -> None:
    provider_id = provider_of(portal)
    names = [str(n) for n in range(7)]
    for name in names:
        create(portal, provider_id, name)

    assert walk(portal, provider_id, size) == names
    assert calls_of_walk(portal, provider_id, size) == -(-7 // size)
    assert len(page(portal, provider_id, page_size=size).client_types) == min(size, 7)


def test_a_page_has_fifty_rows_unless_reported(portal: Portal) -> None:
    provider_id = provider_of(portal)
    for n in range(51):
        create(portal, provider_id, str(n))

    assert len(page(portal, provider_id).client_types) == 50
    assert len(page(portal, provider_id, page_size=2_000_000_000).client_types) == 51
    assert error_of(portal, provider_id, page_size=-1).fields == ["page_size"]


def test_pages_stay_right_while_rows_come_and_go(portal: Portal) -> None:
    provider_id = provider_of(portal)
    ids = {name: create(portal, provider_id, name) for name in "abcdef"}

    def delete(name: str) -> None:
        portal.client_types.DeleteClientType(
            pb.DeleteClientTypeRequest(provider_id=provider_id, id=ids[name])
        )

    first = page(portal, provider_id, page_size=2)
    delete("a")
    delete("b")  # the row that the token stands after
    delete("d")
    create(portal, provider_id, "g")
    second = page(portal, provider_id, page_size=2, page_token=first.next_page_token)
    third = page(portal, provider_id, page_size=2, page_token=second.next_page_token)

    assert [row.name for row in first.client_types] == ["a", "b"]
    assert [row.name for row in second.client_types] == ["c", "e"]
    assert [row.name for row in third.client_types] == ["f", "g"]
    assert third.next_page_token == ""


def test_a_token_is_valid_only_for_its_own_list(portal: Portal) -> None:
    provider_id, other = provider_of(portal), provider_of(portal)
    for owner in (provider_id, other):
        for name in "ab":
            create(portal, owner, name)
    token = page(portal, provider_id, page_size=1).next_page_token

    assert error_of(portal, other, page_token=token).fields == ["page_token"]
    assert error_of(portal, provider_id, page_token=token, filter='name="a"').fields == [
        "page_token"
    ]
    assert page(portal, provider_id, page_size=5, page_token=token).client_types[0].name == "b"


@given(token=st.text(min_size=1, max_size=40))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_not_a_token_is_rejected(portal: Portal, token: str) -> None:
    assert error_of(portal, 1, page_token=token).fields == ["page_token"]


ROWS: dict[str, dict[str, Any]] = {
    "Server": {"grant_types": [pb.GRANT_TYPE_PASSWORD, pb.GRANT_TYPE_REFRESH_TOKEN]},
    "server": {"response_types": [pb.RESPONSE_TYPE_TOKEN, pb.RESPONSE_TYPE_ID_TOKEN]},
    "100%": {"okta_app_type": pb.OKTA_APP_TYPE_WEB},
    "a_b": {"token_endpoint_auth_method": 1, "okta_app_type": pb.OKTA_APP_TYPE_NATIVE},
    'say "hi"': {"token_endpoint_auth_method": 2},
}


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        ("", list(ROWS)),
        ("   ", list(ROWS)),
        ('name = "Server"', ["Server"]),
        ('name="server"', ["server"]),
        ("name = server", ["server"]),
        ('name != "Server"', list(ROWS)[1:]),
        ('name : "erve"', ["Server", "server"]),
        ('name : "%"', ["100%"]),
        ('name : "_"', ["a_b"]),
        ('name : "\\""', ['say "hi"']),
        ("name = 'say \"hi\"'", ['say "hi"']),
        ("response_types : RESPONSE_TYPE_TOKEN", ["server"]),
        ("response_types:id_token", ["server"]),
        ("response_types:RESPONSE_TYPE_NONE", []),
        ("grant_types : GRANT_TYPE_PASSWORD", ["Server"]),
        ("grant_types:password AND grant_types:refresh_token", ["Server"]),
        ("grant_types:password AND response_types:token", []),
        ("okta_app_type = OKTA_APP_TYPE_WEB", ["100%"]),
        ("okta_app_type = web", ["100%"]),
        ("okta_app_type != web", ["Server", "server", "a_b", 'say "hi"']),
        ('okta_app_type = ""', ["Server", "server", 'say "hi"']),
        ("okta_app_type != OKTA_APP_TYPE_UNSPECIFIED", ["100%", "a_b"]),
        ("token_endpoint_auth_method = client_secret_post", ['say "hi"']),
    ],
)
def test_a_filter_finds_what_meets_all_its_conditions(
    portal_on_each: Portal, filter_: str, names: list[str]
) -> None:
    provider_id = provider_of(portal_on_each)
    for name, fields in ROWS.items():
        create(portal_on_each, provider_id, name, **fields)

    assert walk(portal_on_each, provider_id, 2, filter=filter_) == names


@pytest.mark.parametrize(
    "filter_",
    [
        "name",
        "name =",
        '= "x"',
        'name = "x',
        'name = "x" AND',
        'name = "x" "y"',
        'name = "x" OR name = "y"',
        "nope = 1",
        "id = 1",
        "name ~ x",
        "name < x",
        "response_types = RESPONSE_TYPE_CODE",
        "response_types : nope",
        "response_types : RESPONSE_TYPE_UNSPECIFIED",
        "grant_types : it_token",
        "okta_app_type : web",
        "(name = x)",
        'name = "\0"',
        "x" * 2049,
    ],
)
def test_a_bad_filter_is_rejected(portal: Portal, filter_: str) -> None:
    assert error_of(portal, provider_of(portal), filter=filter_).fields == ["filter"]


def test_providers_have_pages_and_filters_too(portal: Portal) -> None:
    for name in "abc":
        provider_of(portal, name)
    request = provider_pb2.ListProvidersRequest(
        page_size=1, filter='name != "b" AND type = PROVIDER_TYPE_OTHER'
    )
    first = portal.providers.ListProviders(request)
    request.page_token = first.next_page_token
    second = portal.providers.ListProviders(request)

    assert [provider.name for provider in first.providers] == ["a"]
    assert [provider.name for provider in second.providers] == ["c"]
    assert second.next_page_token == ""


def test_more_rows_than_a_page_has_at_most_are_more_than_one_page(portal: Portal) -> None:
    provider_id = provider_of(portal)
    names = create_many(portal, provider_id, 202)
    first = page(portal, provider_id, page_size=201)
    second = page(portal, provider_id, page_size=2_000_000_000, page_token=first.next_page_token)

    assert (len(first.client_types), len(second.client_types)) == (200, 2)
    assert {row.name for row in (*first.client_types, *second.client_types)} == names
    assert second.next_page_token == ""


def test_rows_as_long_as_can_be_fit_what_a_client_receives_unless_reported(portal: Portal) -> None:
    provider_id = provider_of(portal)
    names = create_many(
        portal,
        provider_id,
        260,
        description="\U0001f600" * 4096,
        response_types=pb.ResponseType.values()[1:],
        grant_types=pb.GrantType.values()[1:],
        prefix="\U0001f600" * 250,
    )

    assert set(walk(portal, provider_id, 1000)) == names


def test_an_empty_list_has_no_rows_and_no_token(portal: Portal) -> None:
    provider_id = provider_of(portal)
    found = portal.providers.ListProviders(
        provider_pb2.ListProvidersRequest(filter="type = PROVIDER_TYPE_OKTA")
    )

    assert page(portal, provider_id) == pb.ListClientTypesResponse()
    assert found == provider_pb2.ListProvidersResponse()


def test_a_page_may_have_another_size_than_the_previous_one(portal: Portal) -> None:
    provider_id = provider_of(portal)
    for name in "abcdef":
        create(portal, provider_id, name)
    token = page(portal, provider_id, page_size=1).next_page_token
    second = page(portal, provider_id, page_size=3, page_token=token)
    third = page(portal, provider_id, page_token=second.next_page_token)

    assert "".join(row.name for row in second.client_types) == "bcd"
    assert "".join(row.name for row in third.client_types) == "ef"


STEPS = st.lists(
    st.one_of(
        st.just(("add", 0)),
        st.tuples(st.just("delete"), st.integers(0, 20)),
        st.tuples(st.just("page"), st.integers(1, 4)),
    ),
    min_size=1,
    max_size=25,
)


@given(before=st.integers(0, 8), steps=STEPS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_page_has_the_rows_that_follow_the_page_before(
    portal: Portal, before: int, steps: list[tuple[str, int]]
) -> None:
    provider_id = provider_of(portal)
    rows = [create(portal, provider_id, "r") for _ in range(before)]
    token, last, ended = "", 0, False
    for step, number in steps:
        if step == "add":
            rows.append(create(portal, provider_id, "r"))
        elif step == "delete" and rows:
            portal.client_types.DeleteClientType(
                pb.DeleteClientTypeRequest(provider_id=provider_id, id=rows.pop(number % len(rows)))
            )
        elif step == "page" and not ended:
            found = page(portal, provider_id, page_size=number, page_token=token)
            left = [row for row in rows if row > last]

            assert [row.id for row in found.client_types] == left[:number]
            assert bool(found.next_page_token) == (len(left) > number)

            token, ended = found.next_page_token, not found.next_page_token
            last = left[:number][-1] if left else last


def good_token(portal: Portal, provider_id: int) -> str:
    for name in "ab":
        create(portal, provider_id, name)
    return page(portal, provider_id, page_size=1).next_page_token


def test_a_token_with_any_letter_changed_is_rejected(portal: Portal) -> None:
    provider_id = provider_of(portal)
    token = good_token(portal, provider_id)
    changed = [
        token[:n] + ("A" if token[n] != "A" else "B") + token[n + 1 :] for n in range(len(token))
    ]
    errors = [error_of(portal, provider_id, page_token=wrong) for wrong in changed]

    assert [rejection.fields for rejection in errors] == [["page_token"]] * len(token)


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param("{}AAAA", id="more bytes"),
        pytest.param("{}!", id="a letter of no token at the end"),
        pytest.param("\n{}", id="a newline before"),
        pytest.param("{}{}", id="twice"),
    ],
)
def test_a_token_with_junk_around_it_is_rejected(portal: Portal, junk: str) -> None:
    provider_id = provider_of(portal)
    token = good_token(portal, provider_id)

    assert error_of(portal, provider_id, page_token=junk.format(token, token)).fields == [
        "page_token"
    ]


def test_a_token_of_providers_is_valid_only_for_providers(portal: Portal) -> None:
    provider_id = provider_of(portal)
    provider_of(portal)
    of_client_types = good_token(portal, provider_id)
    of_providers = portal.providers.ListProviders(
        provider_pb2.ListProvidersRequest(page_size=1)
    ).next_page_token
    wrong: list[dict[str, Any]] = [
        {"page_token": of_client_types},
        {"page_token": of_providers, "filter": 'name = "p"'},
        {"page_token": "junk"},
    ]
    rejected = []
    for fields in wrong:
        with pytest.raises(grpc.RpcError) as error:
            portal.providers.ListProviders(provider_pb2.ListProvidersRequest(**fields))
        rejected.append(Rejection(error.value).fields)

    assert rejected == [["page_token"]] * 3
    assert error_of(portal, provider_id, page_token=of_providers).fields == ["page_token"]


PROVIDERS: dict[str, Any] = {
    "Okta": provider_pb2.PROVIDER_TYPE_OKTA,
    "okta": provider_pb2.PROVIDER_TYPE_KEYCLOAK,
    "50%": provider_pb2.PROVIDER_TYPE_GLUU,
    "a\\b": provider_pb2.PROVIDER_TYPE_OTHER,
    "\U0001f600 'x'": provider_pb2.PROVIDER_TYPE_OTHER,
}


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        pytest.param("", list(PROVIDERS), id="none"),
        pytest.param("type = PROVIDER_TYPE_OKTA", ["Okta"], id="type is"),
        pytest.param("type = okta", ["Okta"], id="type is, in the RFC's word"),
        pytest.param("type != PROVIDER_TYPE_OTHER", list(PROVIDERS)[:3], id="type is not"),
        pytest.param("name = okta", ["okta"], id="case counts"),
        pytest.param("name : kta", ["Okta", "okta"], id="a part of the name"),
        pytest.param('name : "%"', ["50%"], id="percent is not a wildcard"),
        pytest.param('name : "\\\\"', ["a\\b"], id="an escaped backslash"),
        pytest.param('name : "\U0001f600"', ["\U0001f600 'x'"], id="beyond the BMP"),
        pytest.param('name : "\'"', ["\U0001f600 'x'"], id="a quote in other quotes"),
        pytest.param('name : ""', list(PROVIDERS), id="every name has nothing in it"),
        pytest.param("name = nobody", [], id="nobody"),
        pytest.param("name : kta AND type != okta", ["okta"], id="both conditions"),
        pytest.param(" AND ".join(["name : a"] * 16), ["Okta", "okta", "a\\b"], id="very long"),
    ],
)
def test_a_filter_finds_the_providers_that_meet_it(
    portal_on_each: Portal, filter_: str, names: list[str]
) -> None:
    for name, type_ in PROVIDERS.items():
        portal_on_each.providers.CreateProvider(
            provider_pb2.CreateProviderRequest(
                provider=provider_pb2.Provider(
                    name=name, type=type_, well_known_uri="https://idp.test/"
                )
            )
        )
    found: list[str] = []
    request = provider_pb2.ListProvidersRequest(page_size=2, filter=filter_)
    while True:
        response = portal_on_each.providers.ListProviders(request)
        found += [provider.name for provider in response.providers]
        request.page_token = response.next_page_token
        if not request.page_token:
            break

    assert found == names


@pytest.mark.parametrize(
    ("filter_", "reason", "named"),
    [
        pytest.param("nope = 1", "MALFORMED", "name, type", id="a field"),
        pytest.param("type = nope", "UNKNOWN_VALUE", "PROVIDER_TYPE_KEYCLOAK", id="a word"),
        pytest.param("type : okta", "MALFORMED", "=", id="a comparison"),
        pytest.param("name = x name = y", "MALFORMED", "AND", id="no AND"),
        pytest.param("name = " + "x" * 2048, "TOO_LONG", "2048", id="its length"),
        pytest.param("name = \U0001f600", "MALFORMED", "character", id="a bare emoji"),
    ],
)
def test_an_invalid_filter_of_providers_is_rejected_with_the_allowed_values(
    portal: Portal, filter_: str, reason: str, named: str
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        portal.providers.ListProviders(provider_pb2.ListProvidersRequest(filter=filter_))
    [violation] = Rejection(error.value).violations

    assert (violation.field, violation.reason) == ("filter", reason)
    assert named in violation.description


def test_a_list_names_all_that_is_wrong_with_it(portal: Portal) -> None:
    rejection = error_of(
        portal,
        provider_of(portal),
        page_size=-1,
        page_token="junk",  # noqa: S106
        filter="nope",
    )

    assert set(rejection.fields) == {"page_size", "page_token", "filter"}
