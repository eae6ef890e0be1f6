"""Registered clients over REST: the contract, through Envoy."""

import json
from collections.abc import Iterator

import httpx
import pytest

from portal_server.domain.client import ClientState
from portal_server.domain.discovery import CheckOutcome, ProviderCheck
from portal_server.domain.errors import (
    NotSent,
    OutcomeUnknown,
    PortalError,
    Precondition,
    Reason,
    Rejected,
    Unimplemented,
)
from tests.support.fake_clients import CLIENT_TYPE, PROVIDER, SECRET, TOKEN, Served, served

TYPE = f"/oauth-providers/{PROVIDER}/client-types/{CLIENT_TYPE}"
CLIENTS = f"{TYPE}/clients"
INPUT = {
    "Name": "Checkout",
    "RedirectURLs": "https://a.test/cb, com.example.app:/cb",
    "Scope": "openid email",
    "Labels": {"application": "7"},
}
KEYS = [
    "Name",
    "RedirectURLs",
    "Scope",
    "Labels",
    "ID",
    "State",
    "Message",
    "OAuthClientID",
    "OAuthClientSecretExpiresAt",
    "Differences",
    "CreatedAt",
    "UpdatedAt",
]
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("rest"), envoy=True) as running:
        yield running


@pytest.fixture
def portal(module_server: Served) -> Served:
    module_server.fake.reset()
    return module_server


@pytest.fixture
def http(portal: Served) -> httpx.Client:
    return portal.http


def errors(response: httpx.Response) -> list[str]:
    assert list(response.json()) == ["errors"]
    found: list[str] = response.json()["errors"]
    return found


def test_a_new_client_has_the_keys_of_the_contract_in_its_order(http: httpx.Client) -> None:
    response = http.post(CLIENTS, json=INPUT)
    body = response.json()

    assert response.status_code == 200
    at = KEYS.index("OAuthClientSecretExpiresAt")
    assert list(body) == [*KEYS[:at], "OAuthClientSecret", *KEYS[at:]]
    assert body == INPUT | {
        "RedirectURLs": "https://a.test/cb,com.example.app:/cb",
        "ID": 1,
        "State": "Active",
        "Message": "",
        "OAuthClientID": "client-1",
        "OAuthClientSecret": SECRET,
        "OAuthClientSecretExpiresAt": "2027-01-31 09:30",
        "Differences": [
            {"Field": "grant_types", "Asked": '["implicit"]', "Granted": "[]", "Wider": False}
        ],
        "CreatedAt": "2026-01-31 09:30",
        "UpdatedAt": "2026-01-31 09:30",
    }


def test_a_response_with_a_secret_must_not_be_cached(portal: Served) -> None:
    portal.fake.new_secret = f"{SECRET}-3"
    created = portal.http.post(CLIENTS, json=INPUT)
    rotated = portal.http.put(f"{CLIENTS}/1/rotate")
    updated = portal.http.put(f"{CLIENTS}/1", json=INPUT)

    responses = (created, rotated, updated)
    assert {each.headers["cache-control"] for each in responses} == {"no-store"}
    secrets = [each.json()["OAuthClientSecret"] for each in responses]
    assert secrets == [SECRET, f"{SECRET}-2", f"{SECRET}-3"]


def test_no_other_response_has_a_secret(http: httpx.Client) -> None:
    http.post(CLIENTS, json=INPUT)
    for response in (
        http.get(f"{CLIENTS}/1"),
        http.get(CLIENTS),
        http.put(f"{CLIENTS}/1", json=INPUT),
    ):
        assert response.status_code == 200
        [body] = response.json() if isinstance(response.json(), list) else [response.json()]
        assert list(body) == KEYS
        assert SECRET not in response.text
        assert TOKEN not in response.text


def test_a_client_whose_registration_has_an_unknown_outcome_has_no_secret(portal: Served) -> None:
    portal.fake.state = ClientState.UNKNOWN
    response = portal.http.post(CLIENTS, json={"Name": "x"})
    body = response.json()

    assert (response.status_code, body["State"]) == (200, "Unknown")
    assert (body["OAuthClientID"], body["OAuthClientSecret"]) == ("", "")
    assert (body["OAuthClientSecretExpiresAt"], body["Differences"]) == ("", [])
    assert (body["RedirectURLs"], body["Scope"], body["Labels"]) == ("", "", {})
    assert body["Message"]


def test_a_retry_with_the_same_key_registers_nothing_again(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    first = http.post(CLIENTS, json=INPUT, headers=headers)
    again = http.post(CLIENTS, json=INPUT, headers=headers)

    assert first.json() == again.json()
    assert len(http.get(CLIENTS).json()) == 1


def test_a_preview_has_the_body_and_the_findings(http: httpx.Client) -> None:
    response = http.post(f"{TYPE}/preview", json=INPUT)

    assert response.status_code == 200
    assert list(response.json()) == ["URL", "Body", "Findings"]
    assert response.json() == {
        "URL": "https://idp.test/register",
        "Body": {
            "client_name": "Checkout",
            "redirect_uris": ["https://a.test/cb", "com.example.app:/cb"],
            "require_pushed": False,
            "jwks": {"keys": []},
        },
        "Findings": [
            {
                "Severity": "warning",
                "Field": "GrantType",
                "Text": "Keycloak ignores it",
                "Reference": "RFC 9700, section 2.4",
            }
        ],
    }
    assert errors(http.post(f"{TYPE}/preview")) == ["Name: is required"]


def test_a_provider_is_checked(portal: Served) -> None:
    path = f"/oauth-providers/{PROVIDER}/check"
    good = portal.http.get(path)
    portal.fake.checks = (
        ProviderCheck("tls", CheckOutcome.FAILED, "not trusted"),
        ProviderCheck("credential", CheckOutcome.SKIPPED, "no connection"),
    )

    assert good.json()["OK"] is True
    assert portal.http.get(path).json() == {
        "OK": False,
        "Checks": [
            {"Name": "tls", "Outcome": "failed", "Text": "not trusted"},
            {"Name": "credential", "Outcome": "skipped", "Text": "no connection"},
        ],
    }


@pytest.mark.parametrize("content", [None, "{}", '{"client_id": "9", "ClientID": 9}'])
def test_a_rotation_needs_no_body_and_reads_none(http: httpx.Client, content: str | None) -> None:
    http.post(CLIENTS, json=INPUT)
    response = http.put(f"{CLIENTS}/1/rotate", content=content, headers=JSON)

    assert (response.status_code, response.json()["ID"]) == (200, 1)


def test_a_rotation_with_a_body_of_another_type_is_rejected(http: httpx.Client) -> None:
    http.post(CLIENTS, json=INPUT)
    text = {"content-type": "text/plain"}

    assert http.put(f"{CLIENTS}/1/rotate", content="x", headers=text).status_code == 415
    assert http.put(f"{CLIENTS}/1/rotate", headers=text).status_code == 200


@pytest.mark.parametrize("path", ["/1", "/1/", "/1?x=1&client_id=2&clientId=2", "/1/?_=1"])
def test_a_slash_and_unknown_parameters_change_nothing(http: httpx.Client, path: str) -> None:
    http.post(CLIENTS, json=INPUT)
    got, head = http.get(CLIENTS + path), http.head(CLIENTS + path)

    assert got.status_code == head.status_code == 200
    assert got.json()["ID"] == 1
    assert head.text == ""
    assert head.headers["content-length"] == str(len(got.content))
    assert head.headers["etag"] == got.headers["etag"]


def test_a_client_is_found_by_its_uid(portal: Served) -> None:
    portal.http.post(CLIENTS, json=INPUT)
    uid = next(iter(portal.fake.stored)).uid

    assert portal.http.get(f"{CLIENTS}/{uid}").json()["ID"] == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"{CLIENTS}/9", "client 9 not found"),
        (f"{CLIENTS}/x", 'client "x" not found'),
        (f"{CLIENTS}/0", 'client "0" not found'),
        (f"/oauth-providers/{PROVIDER}/client-types/9/clients", "client type 9 not found"),
        (f"/oauth-providers/9/client-types/{CLIENT_TYPE}/clients", "provider 9 not found"),
        ("/oauth-providers/9/check", "provider 9 not found"),
        (f"{CLIENTS}/1/x", "no such path"),
        (f"{TYPE}/clients/1/rotate/x", "no such path"),
    ],
)
def test_what_does_not_exist_is_404(http: httpx.Client, path: str, text: str) -> None:
    response = http.get(path)

    assert (response.status_code, errors(response)) == (404, [text])


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        (CLIENTS, "GET, HEAD, POST"),
        (f"{CLIENTS}/1", "GET, HEAD, PUT, DELETE"),
        (f"{CLIENTS}/1/rotate", "PUT"),
        (f"{TYPE}/preview", "POST"),
        (f"/oauth-providers/{PROVIDER}/check", "GET, HEAD"),
    ],
)
def test_another_method_is_405_with_those_that_are_allowed(
    http: httpx.Client, path: str, allow: str
) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"} - set(allow.split(", ")):
        response = http.request(method, path)

        assert (response.status_code, response.headers["allow"]) == (405, allow), method


def test_a_list_has_pages(portal: Served) -> None:
    for _ in range(5):
        portal.http.post(CLIENTS, json=INPUT)

    def ids(query: str) -> list[int]:
        return [row["ID"] for row in portal.http.get(f"{CLIENTS}?{query}").json()]

    assert ids("per_page=2&page=2") == [3, 4]
    assert ids("per_page=4&limit=1") == [1]
    assert ids("page=9") == []
    assert portal.http.get(f"{CLIENTS}?per_page=0").status_code == 400


@pytest.mark.parametrize("method", ["put", "delete"])
def test_a_change_needs_the_current_etag_if_it_names_one(portal: Served, method: str) -> None:
    etag = portal.http.post(CLIENTS, json=INPUT).headers["etag"]
    content = json.dumps(INPUT) if method == "put" else None
    path = f"{CLIENTS}/1"
    other = portal.http.request(method, path, content=content, headers=JSON | {"If-Match": '"x"'})
    current = portal.http.request(method, path, content=content, headers=JSON | {"If-Match": etag})

    assert other.status_code == 412
    assert current.status_code == 200


def test_a_replacement_clears_absent_fields(http: httpx.Client) -> None:
    http.post(CLIENTS, json=INPUT)
    body = http.put(f"{CLIENTS}/1", json={"Name": "New"}).json()

    assert (body["Name"], body["RedirectURLs"], body["Scope"], body["Labels"]) == (
        "New",
        "",
        "",
        {},
    )


@pytest.mark.parametrize(
    ("given", "force"), [("", False), ("?force=TRUE", True), ("?force=0", False)]
)
def test_a_deletion_is_forced_by_its_parameter(portal: Served, given: str, *, force: bool) -> None:
    portal.http.post(CLIENTS, json=INPUT)
    responses = [
        portal.http.delete(f"{path}{given}")
        for path in (f"{CLIENTS}/1", TYPE, f"/oauth-providers/{PROVIDER}")
    ]

    assert [response.json() for response in responses] == [{"status": "ok"}] * 3
    assert portal.fake.calls[1:] == [
        ("delete", force),
        ("delete_client_type", force),
        ("delete_provider", force),
    ]
    assert portal.http.delete(f"{CLIENTS}/1?force=maybe").status_code == 400


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ('{"a": 1}', "Labels: must be an object of strings"),
        ('{"a": true}', "Labels: must be an object of strings"),
        ('{"a": ["x"]}', "Labels: must be an object of strings"),
        ('{"a": {"b": "c"}}', "Labels: must be an object of strings"),
        ('{"a": {}}', "Labels: must be an object of strings"),
        ('"a"', "Labels: must be an object of strings"),
        ("7", "Labels: must be an object of strings"),
        ('["a"]', "Labels: must be an object of strings"),
        ('{"a": "1", "a": "2"}', "Labels: a key is given more than once"),
        ('{"": "x"}', 'Labels: "" is required'),
    ],
)
def test_labels_are_an_object_of_strings(http: httpx.Client, labels: str, text: str) -> None:
    body = f'{{"Name": "x", "Labels": {labels}}}'
    response = http.post(CLIENTS, content=body, headers=JSON)

    assert (response.status_code, errors(response)) == (400, [text])


@pytest.mark.parametrize(
    ("urls", "text"),
    [
        ("5", "RedirectURLs: must be a string"),
        (
            '["https://a.test"]',
            "RedirectURLs: must not be an array; a list is a comma-separated string",
        ),
        ('"x", "RedirectURLs": "y"', "RedirectURLs: is given more than once"),
    ],
)
def test_redirect_urls_are_one_string(http: httpx.Client, urls: str, text: str) -> None:
    response = http.post(CLIENTS, content=f'{{"Name": "x", "RedirectURLs": {urls}}}', headers=JSON)

    assert (response.status_code, errors(response)) == (400, [text])


def test_all_invalid_fields_are_reported_by_their_keys(http: httpx.Client) -> None:
    response = http.post(CLIENTS, json={"RedirectURLs": "x,http://b.test/*", "Scope": " "})

    keys = [text.partition(":")[0] for text in errors(response)]
    assert (response.status_code, keys) == (400, ["Name", "RedirectURLs", "RedirectURLs", "Scope"])


FAILURES: list[tuple[PortalError, int, str | None]] = [
    (Precondition(Reason.CLIENT_STATE, "t"), 409, None),
    (Precondition(Reason.CLIENT_TYPE_NOT_REGISTRABLE, "t"), 400, None),
    (Precondition(Reason.CLIENTS_EXIST, "t"), 400, None),
    (Precondition(Reason.NO_ENCRYPTION_KEY, "t"), 400, None),
    (Rejected(Reason.PROVIDER_REJECTED, "t"), 502, None),
    (Rejected(Reason.PROVIDER_CREDENTIAL_REJECTED, "t"), 502, None),
    (Rejected(Reason.PROVIDER_BUSY, "t", retry_after_s=30), 429, "30"),
    (NotSent(Reason.NO_REGISTRATION_ENDPOINT, "t"), 502, None),
    (NotSent(Reason.PROVIDER_TLS_NOT_TRUSTED, "t"), 502, None),
    (NotSent(Reason.PROVIDER_ADDRESS_NOT_ALLOWED, "t"), 502, None),
    (NotSent(Reason.PROVIDER_UNREACHABLE, "t"), 503, "1"),
    (OutcomeUnknown(Reason.PROVIDER_TIMEOUT, "t"), 504, None),
    (OutcomeUnknown(Reason.PROVIDER_OUTCOME_UNKNOWN, "t"), 503, "1"),
    (Unimplemented(Reason.ROTATION_NOT_SUPPORTED, "t"), 501, None),
]


@pytest.mark.parametrize(
    ("error", "status", "retry_after"), FAILURES, ids=[error.reason for error, _, _ in FAILURES]
)
def test_an_error_of_a_provider_has_the_status_of_its_reason(
    portal: Served, error: PortalError, status: int, retry_after: str | None
) -> None:
    portal.http.post(CLIENTS, json=INPUT)
    portal.fake.error = error
    for response in (
        portal.http.post(CLIENTS, json=INPUT),
        portal.http.put(f"{CLIENTS}/1", json=INPUT),
        portal.http.put(f"{CLIENTS}/1/rotate"),
        portal.http.delete(f"{CLIENTS}/1"),
    ):
        assert (response.status_code, errors(response)) == (status, ["t"])
        assert response.headers.get("retry-after") == retry_after


def test_a_rejection_has_the_text_of_the_provider(portal: Served) -> None:
    words = 'redirect_uri "x" \\ "reason":"ETAG_MISMATCH" „nicht erlaubt“'
    portal.fake.error = Rejected(
        Reason.PROVIDER_REJECTED, "t", http_status=400, error="invalid", description=words
    )
    response = portal.http.post(CLIENTS, json=INPUT)

    assert (response.status_code, errors(response)) == (502, [words])


def test_a_caller_without_a_key_is_rejected(portal: Served) -> None:
    with httpx.Client(base_url=portal.http.base_url) as anonymous:
        for method, path in (("GET", CLIENTS), ("POST", CLIENTS), ("PUT", f"{CLIENTS}/1/rotate")):
            response = anonymous.request(method, path)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
