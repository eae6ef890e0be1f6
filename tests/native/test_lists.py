"""Pages and filters of the List methods."""

from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Portal
from details import Refusal
from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1 import provider_pb2


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


def refusal_of(portal: Portal, provider_id: int, **fields: Any) -> Refusal:
    with pytest.raises(grpc.RpcError) as error:
        page(portal, provider_id, **fields)
    refusal = Refusal(error.value)
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    return refusal


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
def test_all_pages_together_are_the_list(portal: Portal, size: int) -> None:
    provider_id = provider_of(portal)
    names = [str(n) for n in range(7)]
    for name in names:
        create(portal, provider_id, name)

    assert walk(portal, provider_id, size) == names
    assert len(page(portal, provider_id, page_size=size).client_types) == min(size, 7)


def test_a_page_has_fifty_rows_unless_told_and_a_thousand_at_most(portal: Portal) -> None:
    provider_id = provider_of(portal)
    for n in range(51):
        create(portal, provider_id, str(n))

    assert len(page(portal, provider_id).client_types) == 50
    assert len(page(portal, provider_id, page_size=2_000_000_000).client_types) == 51
    assert refusal_of(portal, provider_id, page_size=-1).fields == ["page_size"]


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


def test_a_token_is_good_for_its_own_list_only(portal: Portal) -> None:
    provider_id, other = provider_of(portal), provider_of(portal)
    for owner in (provider_id, other):
        for name in "ab":
            create(portal, owner, name)
    token = page(portal, provider_id, page_size=1).next_page_token

    assert refusal_of(portal, other, page_token=token).fields == ["page_token"]
    assert refusal_of(portal, provider_id, page_token=token, filter='name="a"').fields == [
        "page_token"
    ]
    assert page(portal, provider_id, page_size=5, page_token=token).client_types[0].name == "b"


@given(token=st.text(min_size=1, max_size=40))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_no_token_is_refused(portal: Portal, token: str) -> None:
    assert refusal_of(portal, 1, page_token=token).fields == ["page_token"]


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
def test_a_bad_filter_is_refused(portal: Portal, filter_: str) -> None:
    assert refusal_of(portal, provider_of(portal), filter=filter_).fields == ["filter"]


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
