"""The REST operations through the real Envoy: whole responds, in the portal's dialect."""

import json
import re
from typing import Any

import httpx
import pytest
import trustme

from tests.support.stack import ADMIN_KEY, TLS, Stack

PROVIDER = {
    "Name": "Idp",
    "Type": "Keycloak",
    "WellKnownURL": "https://idp.test/.well-known/openid-configuration",
}
SEED = {
    "Name": "Server-side application",
    "Description": "Use this client configuration to create server-side applications"
    " that don't act on behalf of end-users",
    "ResponseTypes": "code,token",
    "GrantType": "authorization_code,refresh_token,password",
    "TokenEndpointAuthMethod": "client_secret_basic",
    "OktaAppType": "web",
}
MINIMAL = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
CLIENT_TYPE_KEYS = [*SEED, "ID", "CreatedAt", "UpdatedAt"]
PROVIDER_KEYS = [*PROVIDER, "SSLInsecureSkipVerify", "ID", "CreatedAt", "UpdatedAt"]
MINUTE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")


@pytest.fixture
def provider(rest: httpx.Client) -> str:
    """The path of a provider of the test's own."""
    return f"/oauth-providers/{ok(rest.post('/oauth-providers', json=PROVIDER))['ID']}"


def ok(response: httpx.Response) -> Any:
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), (
        response.text
    )
    return response.json()


def create(rest: httpx.Client, provider: str, **changes: object) -> dict[str, Any]:
    made: dict[str, Any] = ok(rest.post(f"{provider}/client-types", json=MINIMAL | changes))
    return made


def without_times(resource: dict[str, Any]) -> dict[str, Any]:
    assert MINUTE.fullmatch(resource["CreatedAt"])
    assert MINUTE.fullmatch(resource["UpdatedAt"])
    return {k: v for k, v in resource.items() if k not in ("ID", "CreatedAt", "UpdatedAt")}


def test_the_seed_call_returns_what_the_seed_page_shows(rest: httpx.Client, provider: str) -> None:
    response = rest.post(f"{provider}/client-types", json=SEED)

    assert list(ok(response)) == CLIENT_TYPE_KEYS
    assert without_times(response.json()) == SEED
    assert response.text.startswith(json.dumps(SEED, separators=(",", ":"))[:-1] + ',"ID":')


def test_a_provider_is_created_read_replaced_and_deleted(rest: httpx.Client) -> None:
    created = ok(rest.post("/oauth-providers", json=PROVIDER | {"RegistrationAccessToken": "t0k"}))
    path = f"/oauth-providers/{created['ID']}"
    read = ok(rest.get(path))
    replacement = PROVIDER | {"Name": "Other", "Type": "Okta", "SSLInsecureSkipVerify": True}
    replaced = ok(rest.put(path, json=replacement))
    deleted = ok(rest.delete(path))

    assert list(created) == PROVIDER_KEYS
    assert without_times(created) == PROVIDER | {"SSLInsecureSkipVerify": False}
    assert list(read) == [*PROVIDER_KEYS, "ClientTypes"]
    assert read == created | {"ClientTypes": []}
    assert without_times(replaced) == replacement | {"ClientTypes": []}
    assert replaced["ID"] == created["ID"]
    assert deleted == {"status": "ok"}
    assert rest.get(path).status_code == 404


def test_the_connection_fields_of_a_provider_are_in_the_response_only_if_set(
    rest: httpx.Client,
) -> None:
    how = {
        "RegistrationURL": "https://idp.test/register",
        "CACertificate": trustme.CA().cert_pem.bytes().decode(),
        "CredentialType": "ClientCredentials",
        "CredentialClientID": "portal",
        "CredentialScope": "client.create dcr",
    }
    secret = {"CredentialClientSecret": "the-service-account-secret"}
    created = ok(rest.post("/oauth-providers", json=PROVIDER | how | secret))
    path = f"/oauth-providers/{created['ID']}"
    # Without the secret, which stays.
    replaced = rest.put(path, json=PROVIDER | how | {"CredentialClientID": "other"})
    cleared = rest.put(path, json=PROVIDER | how | {"CredentialClientSecret": ""})
    plain = ok(rest.put(path, json=PROVIDER))

    assert without_times(created) == PROVIDER | how | {"SSLInsecureSkipVerify": False}
    assert ok(replaced)["CredentialClientID"] == "other"
    assert ok(cleared)["CredentialClientID"] == how["CredentialClientID"]
    assert list(plain) == [*PROVIDER_KEYS, "ClientTypes"]
    assert "service-account" not in replaced.text + json.dumps(created)


@pytest.mark.parametrize("word", ["None", "InitialAccessToken", "ClientCredentials", "SSWS"])
def test_a_credential_type_comes_back_as_it_was_given(rest: httpx.Client, word: str) -> None:
    given = PROVIDER | {
        "CredentialType": word,
        "RegistrationAccessToken": "t",
        "CredentialClientID": "i",
        "CredentialClientSecret": "s",
    }

    assert ok(rest.post("/oauth-providers", json=given))["CredentialType"] == word


def test_an_unknown_credential_type_is_rejected_with_the_known_ones(rest: httpx.Client) -> None:
    response = rest.post("/oauth-providers", json=PROVIDER | {"CredentialType": "ssws"})
    allowed = "None, InitialAccessToken, ClientCredentials, SSWS"
    error = f'CredentialType: unknown value "ssws"; allowed: {allowed}'

    assert response.json() == {"errors": [error]}


def test_a_client_type_is_created_read_replaced_and_deleted(
    rest: httpx.Client, provider: str
) -> None:
    created = create(rest, provider, **SEED)
    path = f"{provider}/client-types/{created['ID']}"
    read = ok(rest.get(path))
    replaced = ok(rest.put(path, json=MINIMAL))
    deleted = ok(rest.delete(path, params={"force": "true"}))

    assert read == created
    assert without_times(replaced) == MINIMAL | {
        "Description": "",
        "TokenEndpointAuthMethod": "",
        "OktaAppType": "",
    }
    assert deleted == {"status": "ok"}
    assert rest.get(path).status_code == 404


def test_a_replacement_without_an_optional_flag_clears_it(rest: httpx.Client) -> None:
    insecure = PROVIDER | {"SSLInsecureSkipVerify": True}
    created = ok(rest.post("/oauth-providers", json=insecure))
    replaced = ok(rest.put(f"/oauth-providers/{created['ID']}", json=PROVIDER))

    assert created["SSLInsecureSkipVerify"] is True
    assert replaced["SSLInsecureSkipVerify"] is False


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("code,token", "code,token", id="the order is kept"),
        pytest.param("token,code", "token,code", id="the other order is kept too"),
        pytest.param(" code ,\ttoken ", "code,token", id="blanks around commas go"),
        pytest.param("none,code,none,code", "none,code", id="a repeat is dropped"),
        pytest.param("it_token", "it_token", id="it_token is spelled so"),
    ],
)
def test_a_list_is_comma_separated(
    rest: httpx.Client, provider: str, given: str, kept: str
) -> None:
    assert create(rest, provider, ResponseTypes=given)["ResponseTypes"] == kept


def test_output_only_fields_are_ignored_in_a_request(rest: httpx.Client, provider: str) -> None:
    created = create(rest, provider, ID=4711, CreatedAt="1999-01-01 00:00", UpdatedAt=7)

    assert created["ID"] != 4711
    assert not created["CreatedAt"].startswith("1999")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('a "quoted" \\ text', id="quotes and backslash"),
        pytest.param("<b>&amp;</b>", id="markup"),
        pytest.param("Zoë 日本 😀", id="unicode"),
        pytest.param("a\nb\tc\x01", id="control characters"),
        pytest.param("  around  ", id="blanks around"),
        pytest.param("é" * 255, id="as long as may be"),
    ],
)
def test_text_comes_back_as_it_was_given(rest: httpx.Client, provider: str, text: str) -> None:
    created = create(rest, provider, Name=text, Description=text)
    read = ok(rest.get(f"{provider}/client-types/{created['ID']}"))

    assert (read["Name"], read["Description"]) == (text, text)


def test_a_list_is_a_bare_array_in_the_order_of_ids(rest: httpx.Client, provider: str) -> None:
    empty = ok(rest.get(f"{provider}/client-types"))
    created = [create(rest, provider, Name=str(n)) for n in range(25)]

    assert empty == []
    assert ok(rest.get(f"{provider}/client-types")) == created[:20]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        pytest.param("per_page=4", range(4), id="the first page"),
        pytest.param("per_page=4&page=2", range(4, 8), id="the second page"),
        pytest.param("per_page=4&page=3", range(8, 10), id="the last page"),
        pytest.param("per_page=4&page=4", range(0), id="beyond the end"),
        pytest.param("limit=3", range(3), id="a limit"),
        pytest.param("per_page=4&page=2&limit=1", range(4, 5), id="the offset is per_page's"),
        pytest.param("per_page=2&limit=5", range(2), id="a limit over per_page"),
        pytest.param("per_page=10000", range(10), id="as many as may be"),
        pytest.param("page=2147483647&per_page=10000", range(0), id="as far as may be"),
    ],
)
def test_pages(rest: httpx.Client, provider: str, query: str, rows: range) -> None:
    for n in range(10):
        create(rest, provider, Name=str(n))
    found = ok(rest.get(f"{provider}/client-types?{query}"))

    assert [row["Name"] for row in found] == [str(n) for n in rows]


def test_providers_are_listed_in_the_order_of_ids(rest: httpx.Client, provider: str) -> None:
    found = ok(rest.get("/oauth-providers?per_page=1000"))

    assert [row["ID"] for row in found] == sorted(row["ID"] for row in found)
    assert list(found[0]) == PROVIDER_KEYS
    assert provider.rpartition("/")[2] in [str(row["ID"]) for row in found]


@pytest.mark.parametrize("body", [b"{bad", b'{"provider_id":7,"per_page":1,"force":"yes"}', b"[]"])
def test_an_unexpected_body_is_ignored(rest: httpx.Client, provider: str, body: bytes) -> None:
    path = f"{provider}/client-types"
    created = [create(rest, provider) for _ in range(3)]
    found = rest.request("GET", path, content=body)
    deleted = rest.request("DELETE", f"{path}/{created[0]['ID']}", content=body)

    assert ok(found) == created
    assert ok(deleted) == {"status": "ok"}


def test_a_client_type_is_reached_only_through_its_provider(
    rest: httpx.Client, provider: str
) -> None:
    other = f"/oauth-providers/{ok(rest.post('/oauth-providers', json=PROVIDER))['ID']}"
    id_ = create(rest, provider)["ID"]
    path = f"{other}/client-types/{id_}"
    statuses = [
        rest.get(path).status_code,
        rest.put(path, json=MINIMAL).status_code,
        rest.delete(path).status_code,
    ]

    assert statuses == [404, 404, 404]
    assert ok(rest.get(f"{provider}/client-types/{id_}"))["ID"] == id_


def test_deleting_a_provider_deletes_its_client_types(rest: httpx.Client, provider: str) -> None:
    id_ = create(rest, provider)["ID"]
    ok(rest.delete(provider))

    assert rest.get(f"{provider}/client-types/{id_}").status_code == 404
    assert rest.get(f"{provider}/client-types").status_code == 404


def test_an_id_is_never_used_twice(rest: httpx.Client, provider: str) -> None:
    first = create(rest, provider)["ID"]
    ok(rest.delete(f"{provider}/client-types/{first}"))

    assert create(rest, provider)["ID"] > first


def test_a_provider_comes_with_all_its_client_types(rest: httpx.Client, provider: str) -> None:
    created = [create(rest, provider, Description="d" * 1000) for _ in range(1500)]

    assert ok(rest.get(provider))["ClientTypes"] == created


def test_a_key_may_come_after_the_word_bearer(stack: Stack) -> None:
    with stack.client(f"Bearer {ADMIN_KEY}") as client:
        assert client.get("/oauth-providers").status_code == 200


def test_health_needs_no_key(stack: Stack) -> None:
    response = httpx.get(f"http://127.0.0.1:{stack.http_port}/healthz", verify=TLS)

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
