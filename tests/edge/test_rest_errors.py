"""Every error of REST: its status, `{"errors":[…]}`, which key it names, and nothing written."""

import json
import socket

import httpx
import pytest

from tests.support.stack import ADMIN_KEY, TLS, Stack, portal

PROVIDERS = "/oauth-providers"
PROVIDER = {"Name": "Idp", "Type": "Keycloak", "WellKnownURL": "https://idp.test/x"}
OKTA = PROVIDER | {"Type": "Okta"}
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
JSON = {"Content-Type": "application/json"}
RESPONSE_TYPES = "code, token, it_token, none"
GRANT_TYPES = (
    "authorization_code, pkce, client_credentials, device_code, refresh_token, password, implicit"
)


@pytest.fixture
def provider(rest: httpx.Client) -> str:
    """The path of a provider of the test's own."""
    return f"{PROVIDERS}/{rest.post(PROVIDERS, json=PROVIDER).json()['ID']}"


def errors(response: httpx.Response, status: int) -> list[str]:
    """The errors of a error, which must have this status and the dialect's form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["errors"]
    assert body["errors"]
    assert all(isinstance(text, str) and text for text in body["errors"])
    found: list[str] = body["errors"]
    return found


def rows(rest: httpx.Client, path: str) -> int:
    return len(rest.get(f"{path}?per_page=1000").json())


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut off"),
        pytest.param(b'{"Name":"a"', id="cut off later"),
        pytest.param(b'{"Name":"a",}', id="a trailing comma"),
        pytest.param(b"{'Name':'a'}", id="single quotes"),
        pytest.param(b'{Name:"a"}', id="a bare key"),
        pytest.param(b'{"Name":NaN}', id="NaN"),
        pytest.param(b'{"Name":undefined}', id="undefined"),
        pytest.param(b'{"Name":"a"} // c', id="a comment"),
        pytest.param(b'/* c */{"Name":"a"}', id="a comment before"),
        pytest.param(b"{} {}", id="two objects"),
        pytest.param(b'{"Name":"a"}x', id="something after"),
        pytest.param(b'{"Name":"\xff\xfe"}', id="no UTF-8"),
        pytest.param(b'{"Name":"\xed\xa0\x80"}', id="a surrogate in UTF-8"),
        pytest.param(b'{"Name":"\\ud800"}', id="half a surrogate pair"),
        pytest.param(b'{"Name":"\\x41"}', id="an escape that JSON has not"),
        pytest.param(b'{"Name":"a\nb"}', id="a raw newline in a string"),
        pytest.param(b'{"Name" "a"}', id="no colon"),
        pytest.param(b"Name=a&Type=Okta", id="a form"),
        pytest.param(b"<Name>a</Name>", id="XML"),
        pytest.param(b"[" * 100_000, id="brackets without end"),
        pytest.param(b'{"a":' * 50_000 + b"1" + b"}" * 50_000, id="too deep"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b'[{"Name":"a"}]', id="an array of objects"),
        pytest.param(b'"a"', id="a string"),
        pytest.param(b"5", id="a number"),
        pytest.param(b"true", id="true"),
        pytest.param(b"null", id="null"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_rejected(rest: httpx.Client, body: bytes) -> None:
    before = rows(rest, PROVIDERS)
    [error] = errors(rest.post(PROVIDERS, content=body, headers=JSON), 400)

    assert "body" in error
    assert rows(rest, PROVIDERS) == before


WRONG_FOR_TEXT = [5, 1.5, True, False, {"a": 1}, {}, ["code"], []]


@pytest.mark.parametrize("value", WRONG_FOR_TEXT, ids=json.dumps)
@pytest.mark.parametrize("key", ["Name", "Type", "WellKnownURL", "RegistrationAccessToken"])
def test_a_text_of_a_provider_must_be_a_string(rest: httpx.Client, key: str, value: object) -> None:
    before = rows(rest, PROVIDERS)
    [error] = errors(rest.post(PROVIDERS, json=PROVIDER | {key: value}), 400)

    assert error.startswith(f"{key}: must ")
    assert rows(rest, PROVIDERS) == before


@pytest.mark.parametrize("value", WRONG_FOR_TEXT, ids=json.dumps)
@pytest.mark.parametrize(
    "key",
    [
        "Name",
        "Description",
        "ResponseTypes",
        "GrantType",
        "TokenEndpointAuthMethod",
        "OktaAppType",
    ],
)
def test_a_text_of_a_client_type_must_be_a_string(
    rest: httpx.Client, provider: str, key: str, value: object
) -> None:
    [error] = errors(rest.post(f"{provider}/client-types", json=CLIENT_TYPE | {key: value}), 400)

    assert error.startswith(f"{key}: must ")
    assert rows(rest, f"{provider}/client-types") == 0


@pytest.mark.parametrize("value", ["yes", "true", "", 1, 0, {}, []], ids=json.dumps)
def test_a_flag_must_be_true_or_false(rest: httpx.Client, value: object) -> None:
    before = rows(rest, PROVIDERS)
    body = PROVIDER | {"SSLInsecureSkipVerify": value}
    [error] = errors(rest.post(PROVIDERS, json=body), 400)

    assert error.startswith("SSLInsecureSkipVerify: must ")
    assert rows(rest, PROVIDERS) == before


@pytest.mark.parametrize("key", ["Name", "Type", "WellKnownURL"])
def test_a_key_that_is_given_twice_is_rejected(rest: httpx.Client, key: str) -> None:
    body = json.dumps(PROVIDER)[:-1] + f', "{key}": "again"}}'
    [error] = errors(rest.post(PROVIDERS, content=body, headers=JSON), 400)

    assert error == f"{key}: is given more than once"


def test_an_empty_key_is_rejected(rest: httpx.Client) -> None:
    [error] = errors(rest.post(PROVIDERS, json=PROVIDER | {"": "x"}), 400)

    assert error == "a field must have a name"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"Name": None}, "Name: is required", id="no name"),
        pytest.param({"Name": ""}, "Name: is required", id="an empty name"),
        pytest.param({"Name": " \t\n"}, "Name: must not be blank", id="a blank name"),
        pytest.param(
            {"Name": "n" * 256},
            "Name: is 256 characters long; at most 255 are allowed",
            id="a long name",
        ),
        pytest.param(
            {"Name": "a\0b"}, "Name: must not contain the NUL character", id="a NUL in a name"
        ),
        pytest.param(
            {"Type": None}, "Type: is required; allowed: Keycloak, Gluu, Okta, Other", id="no type"
        ),
        pytest.param(
            {"Type": "keycloak"},
            'Type: unknown value "keycloak"; allowed: Keycloak, Gluu, Okta, Other',
            id="a type in lower case",
        ),
        pytest.param({"WellKnownURL": None}, "WellKnownURL: is required", id="no URL"),
        *(
            pytest.param(
                {"WellKnownURL": url},
                "WellKnownURL: must be an absolute http or https URL"
                " without user information or fragment",
                id=f"URL {url!r}",
            )
            for url in [
                "idp.test",
                "/x",
                "//idp.test/x",
                "ftp://idp.test/",
                "javascript:alert(1)",
                "http://",
                "http:///x",
                "https://u:p@idp.test/",
                "http://a b/",
                "http://idp.test:99999/",
                "http://[::1/",
                "https://.",
                "https://a..b/",
                "http://a:",
                "http://a:0/",
                "https://exa$mple/",
                "https://idp.test/#fragment",
                "https://\u200bidp.test/",
            ]
        ),
        pytest.param(
            {"WellKnownURL": "https://idp.test/" + "x" * 2032},
            "WellKnownURL: is 2049 characters long; at most 2048 are allowed",
            id="a long URL",
        ),
    ],
)
def test_a_provider_that_breaks_a_rule_is_rejected(
    rest: httpx.Client, provider: str, change: dict[str, object], error: str
) -> None:
    stored = rest.get(provider).json()
    before = rows(rest, PROVIDERS)

    assert errors(rest.post(PROVIDERS, json=PROVIDER | change), 400) == [error]
    assert errors(rest.put(provider, json=PROVIDER | change), 400) == [error]
    assert rows(rest, PROVIDERS) == before
    assert rest.get(provider).json() == stored


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"Name": "  "}, "Name: must not be blank", id="a blank name"),
        pytest.param(
            {"Description": "d" * 4097},
            "Description: is 4097 characters long; at most 4096 are allowed",
            id="a long description",
        ),
        pytest.param(
            {"Description": "\0"},
            "Description: must not contain the NUL character",
            id="a NUL in a description",
        ),
        *(
            pytest.param(
                {"ResponseTypes": value},
                f"ResponseTypes: needs at least one value; allowed: {RESPONSE_TYPES}",
                id=f"response types {value!r}",
            )
            for value in (None, "", "  ")
        ),
        *(
            pytest.param(
                {"ResponseTypes": f"code,{word}"},
                f'ResponseTypes: unknown value "{word}"; allowed: {RESPONSE_TYPES}',
                id=f"response type {word!r}",
            )
            for word in ("id token", "Code", "code token", "99", "", "RESPONSE_TYPE_CODE", "é")
        ),
        pytest.param(
            {"GrantType": "pkce;implicit"},
            f'GrantType: unknown value "pkce;implicit"; allowed: {GRANT_TYPES}',
            id="another separator",
        ),
        pytest.param(
            {"GrantType": None},
            f"GrantType: needs at least one value; allowed: {GRANT_TYPES}",
            id="no grant type",
        ),
        pytest.param(
            {"TokenEndpointAuthMethod": "none"},
            'TokenEndpointAuthMethod: unknown value "none";'
            " allowed: client_secret_basic, client_secret_post",
            id="an unknown method",
        ),
        pytest.param(
            {"OktaAppType": "Web"},
            'OktaAppType: unknown value "Web"; allowed: web, native, browser, service',
            id="an unknown app type",
        ),
    ],
)
def test_a_client_type_that_breaks_a_rule_is_rejected(
    rest: httpx.Client, provider: str, change: dict[str, object], error: str
) -> None:
    path = f"{provider}/client-types"
    stored = rest.post(path, json=CLIENT_TYPE).json()

    assert errors(rest.post(path, json=CLIENT_TYPE | change), 400) == [error]
    assert errors(rest.put(f"{path}/{stored['ID']}", json=CLIENT_TYPE | change), 400) == [error]
    assert rest.get(path).json() == [stored]


def test_all_that_is_wrong_comes_in_one_response(rest: httpx.Client, provider: str) -> None:
    body = {
        "Name": "",
        "ResponseTypes": "a,code,b",
        "GrantType": "",
        "TokenEndpointAuthMethod": "x",
        "OktaAppType": "y",
    }
    found = errors(rest.post(f"{provider}/client-types", json=body), 400)

    assert [error.partition(":")[0] for error in found] == [
        "Name",
        "ResponseTypes",
        "ResponseTypes",
        "GrantType",
        "TokenEndpointAuthMethod",
        "OktaAppType",
    ]


def test_an_empty_body_lacks_all_that_is_required(rest: httpx.Client) -> None:
    found = errors(rest.post(PROVIDERS), 400)

    assert [error.partition(":")[0] for error in found] == ["Name", "Type", "WellKnownURL"]


def test_okta_needs_an_app_type(rest: httpx.Client, provider: str) -> None:
    okta = f"{PROVIDERS}/{rest.post(PROVIDERS, json=OKTA).json()['ID']}/client-types"
    id_ = rest.post(f"{provider}/client-types", json=CLIENT_TYPE).json()["ID"]
    [missing] = errors(rest.post(okta, json=CLIENT_TYPE), 400)
    [becomes] = errors(rest.put(provider, json=OKTA), 400)

    assert missing.startswith("OktaAppType: is required")
    assert missing.endswith("; allowed: web, native, browser, service")
    assert str(id_) in becomes
    assert rest.get(provider).json()["Type"] == "Keycloak"
    assert rest.post(okta, json=CLIENT_TYPE | {"OktaAppType": "web"}).status_code == 200


@pytest.mark.parametrize("name", ["per_page", "page", "limit"])
@pytest.mark.parametrize(
    "value", ["0", "-1", "x", "", "1.5", "99999999999", "9" * 30, "1e3", "true", "2147483648"]
)
def test_a_number_that_cannot_be_is_rejected(rest: httpx.Client, name: str, value: str) -> None:
    [error] = errors(rest.get(f"{PROVIDERS}?{name}={value}"), 400)

    assert error.startswith(f"{name}: ")


def test_too_many_rows_are_rejected_and_all_numbers_named(rest: httpx.Client) -> None:
    found = errors(rest.get(f"{PROVIDERS}?per_page=10001&page=0&limit=10001"), 400)

    assert found == [
        "per_page: must be between 1 and 10000",
        "page: must be between 1 and 2147483647",
        "limit: must be between 1 and 10000",
    ]


@pytest.mark.parametrize(
    "query", ["force=yes", "force=10", "force=t", "force=", "force", "force=%31%30"]
)
def test_another_value_of_force_is_rejected(rest: httpx.Client, provider: str, query: str) -> None:
    [error] = errors(rest.delete(f"{provider}?{query}"), 400)

    assert error.startswith("force: ")
    assert rest.get(provider).status_code == 200


NO_ID = [
    *(
        "0",
        "00",
        "x",
        "1.5",
        "1x",
        "0x1",
        "é",
        "--1",
        "-1",
        "+1",
        "%2B1",
        "1e0",
        "%201",
        "1%20",
        "1;x=1",
    ),
    *("1:get", "%2F", "1%2F", "1%2Fclient-types", "%2E%2E%2F1", "1%252F", "%D9%A1", "1%0A", "NaN"),
    *("9" * 30, "9" * 5000, "x" * 5000),
    "0190163d-8694-739b-aea5-966c26f8ad9",
    "0190163d-8694-739b-aea5-966c26f8ad911",
    "0190163d8694739baea5966c26f8ad91",
    "{0190163d-8694-739b-aea5-966c26f8ad91}",
    "urn:uuid:0190163d-8694-739b-aea5-966c26f8ad91",
    "g190163d-8694-739b-aea5-966c26f8ad91",
]


@pytest.mark.parametrize("id_", NO_ID, ids=lambda id_: id_[:40])
def test_what_is_neither_a_number_nor_a_uuid_is_not_found(
    rest: httpx.Client, provider: str, id_: str
) -> None:
    [of_provider] = errors(rest.get(f"{PROVIDERS}/{id_}"), 404)
    [of_list] = errors(rest.get(f"{PROVIDERS}/{id_}/client-types"), 404)
    [of_create] = errors(rest.post(f"{PROVIDERS}/{id_}/client-types", json=CLIENT_TYPE), 404)
    [of_client_type] = errors(rest.delete(f"{provider}/client-types/{id_}"), 404)

    assert of_provider == of_list == of_create
    assert of_provider.startswith('provider "')
    assert of_client_type.startswith('client type "')
    assert of_provider.endswith('" not found')
    assert len(of_provider) < 100


def test_an_id_with_a_nul_is_rejected(rest: httpx.Client) -> None:
    assert errors(rest.get(f"{PROVIDERS}/%00"), 400) == ["malformed request"]


@pytest.mark.parametrize("id_", ["2147483647", "2147483648", "99999999999"])
def test_an_unused_id_is_not_found(rest: httpx.Client, provider: str, id_: str) -> None:
    of_provider = errors(rest.get(f"{PROVIDERS}/{id_}"), 404)
    of_list = errors(rest.get(f"{PROVIDERS}/{id_}/client-types"), 404)
    of_create = errors(rest.post(f"{PROVIDERS}/{id_}/client-types", json=CLIENT_TYPE), 404)
    of_client_type = errors(rest.delete(f"{provider}/client-types/{id_}"), 404)

    assert of_provider == of_list == of_create == [f"provider {id_} not found"]
    assert of_client_type == [f"client type {id_} not found"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/nope",
        "/oauth-providers/1/nope",
        "/oauth-providers/1/client-types/1/nope",
        "/OAuth-Providers",
        "/../nope",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_an_unknown_path_is_not_found(stack: Stack, method: str, path: str) -> None:
    with stack.client() as client:
        response = client.request(method, httpx.URL(f"{stack.rest}{path}"))

    assert errors(response, 404) == ["no such path"]


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        *(("", m, "GET, HEAD, POST") for m in ("PUT", "PATCH", "DELETE", "OPTIONS")),
        *(("/1/client-types", m, "GET, HEAD, POST") for m in ("PUT", "PATCH", "DELETE")),
        *(("/1", m, "GET, HEAD, PUT, DELETE") for m in ("POST", "PATCH", "OPTIONS")),
        *(("/1/client-types/1", m, "GET, HEAD, PUT, DELETE") for m in ("POST", "PATCH")),
    ],
)
def test_a_method_that_a_path_does_not_have_is_rejected(
    rest: httpx.Client, path: str, method: str, allowed: str
) -> None:
    response = rest.request(method, f"{PROVIDERS}{path}")

    assert errors(response, 405) == [f"method not allowed; allowed: {allowed}"]
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("method", ["QUERY", "NOPE"])
def test_a_method_that_http_does_not_have_is_rejected_in_form(
    rest: httpx.Client, method: str
) -> None:
    assert errors(rest.request(method, PROVIDERS), 400) == ["malformed request"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="no key"),
        pytest.param([("Authorization", "")], id="an empty key"),
        pytest.param([("Authorization", "nope")], id="a wrong key"),
        pytest.param([("Authorization", "Bearer nope")], id="a wrong bearer"),
        pytest.param([("Authorization", "Basic dXNlcjpwYXNz")], id="another scheme"),
        pytest.param([("Authorization", "oap_" + "a" * 8 + "_" + "b" * 32)], id="well formed"),
        pytest.param([("Authorization", ADMIN_KEY), ("Authorization", "nope")], id="two keys"),
    ],
)
def test_a_call_without_a_valid_key_is_rejected(
    stack: Stack, headers: list[tuple[str, str]]
) -> None:
    with httpx.Client(base_url=stack.rest, headers=headers, verify=TLS) as client:
        responses = [
            client.get(PROVIDERS),
            client.post(PROVIDERS, json=PROVIDER),
            client.get(f"{PROVIDERS}/1"),
            client.get(f"{PROVIDERS}/999999"),
            client.put(f"{PROVIDERS}/1", json=PROVIDER),
            client.delete(f"{PROVIDERS}/1"),
            client.get(f"{PROVIDERS}/1/client-types"),
            client.post(f"{PROVIDERS}/1/client-types", json={}),
            client.get(f"{PROVIDERS}/1/client-types/1"),
            client.put(f"{PROVIDERS}/1/client-types/1", json=CLIENT_TYPE),
            client.delete(f"{PROVIDERS}/1/client-types/1"),
        ]

    for response in responses:
        assert errors(response, 401) == ["a valid API key is required in the authorization header"]
        assert response.headers["www-authenticate"] == "Bearer"


def test_a_viewers_key_reads_and_does_not_write(
    stack: Stack, rest: httpx.Client, provider: str
) -> None:
    key = portal("keys", "create", "--role", "viewer", **stack.settings).stdout.strip()
    id_ = rest.post(f"{provider}/client-types", json=CLIENT_TYPE).json()["ID"]
    item = f"{provider}/client-types/{id_}"
    with stack.client(key) as viewer:
        reads = [viewer.get(path) for path in (PROVIDERS, provider, item)]
        writes = [
            viewer.post(PROVIDERS, json=PROVIDER),
            viewer.put(provider, json=PROVIDER),
            viewer.post(f"{provider}/client-types", json=CLIENT_TYPE),
            viewer.put(item, json=CLIENT_TYPE),
            viewer.delete(item),
            viewer.delete(provider),
        ]

    assert [response.status_code for response in reads] == [200, 200, 200]
    for response in writes:
        assert errors(response, 403) == [
            "this needs the role editor; the API key has the role viewer"
        ]
    assert rest.get(item).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/jsonp",
        "application/json; charset=latin-1",
        "multipart/form-data; boundary=x",
        "json",
    ],
)
def test_another_content_type_is_rejected(rest: httpx.Client, content_type: str) -> None:
    before = rows(rest, PROVIDERS)
    headers = {"Content-Type": content_type}
    response = rest.post(PROVIDERS, content=json.dumps(PROVIDER), headers=headers)

    assert errors(response, 415) == ["Content-Type must be application/json"]
    assert rows(rest, PROVIDERS) == before


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"'],
)
def test_json_may_have_other_spellings_of_its_content_type(
    rest: httpx.Client, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    response = rest.post(PROVIDERS, content=json.dumps(PROVIDER), headers=headers)
    bad = rest.post(PROVIDERS, content=b"{'a':1}", headers=headers)

    assert response.status_code == 200
    assert errors(bad, 400) == ["the body is not valid JSON, or has a number that is out of range"]


@pytest.mark.parametrize(
    ("number", "status"),
    [
        ("1.7976931348623157e308", 200),
        ("9223372036854775807", 200),
        ("9223372036854775808", 400),
        ("18446744073709551616", 200),
        ("1e309", 400),
        ("1e-400", 200),
    ],
)
def test_a_number_that_is_out_of_range_is_rejected_in_unknown_fields_too(
    rest: httpx.Client, number: str, status: int
) -> None:
    body = f'{json.dumps(PROVIDER)[:-1]}, "Unknown": {number}}}'
    response = rest.post(PROVIDERS, content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == status
    if status == 400:
        assert "a number that is out of range" in errors(response, 400)[0]


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_a_body_over_a_mebibyte_is_rejected_and_one_of_a_mebibyte_is_not(
    rest: httpx.Client, *, chunked: bool
) -> None:
    def post(size: int) -> httpx.Response:
        body = json.dumps(PROVIDER).encode().ljust(size)
        parts = (body[at : at + 65536] for at in range(0, size, 65536))
        return rest.post(PROVIDERS, content=parts if chunked else body, headers=JSON)

    assert post(1 << 20).status_code == 200
    assert errors(post((1 << 20) + 1), 413) == ["the body is larger than 1 MiB"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET /portal-api/oauth-providers HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"GARBAGE\r\n\r\n", 400, id="garbage"),
        pytest.param(b"GET foo HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="no path"),
        pytest.param(b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="a NUL in the path"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400, id="a bad header"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431, id="too long"
        ),
        pytest.param(
            b"GET /portal-api/oauth-providers HTTP/1.0\r\n\r\n", 401, id="HTTP/1.0 is served"
        ),
        pytest.param(
            b"GET /portal-api/oauth-providers HTTP/1.1\r\nHost: x\r\n"
            b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            403,
            id="an upgrade",
        ),
    ],
)
def test_malformed_http_is_rejected_in_the_same_form(
    stack: Stack, request_: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", stack.http_port), 5) as connection:
        connection.sendall(request_)
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")

    assert int(head.split()[1]) == status
    [error] = json.loads(body)["errors"]
    assert error


def test_headers_as_long_as_envoy_takes_them_are_no_error(rest: httpx.Client) -> None:
    for length in (10_000, 30_000, 59_000):
        assert rest.get(PROVIDERS, headers={"Cookie": "c" * length}).status_code == 200


def test_a_secret_is_in_no_response_and_no_log(stack: Stack, rest: httpx.Client) -> None:
    secret = "s3cr3t-registration-token"  # noqa: S105
    token = {"RegistrationAccessToken": secret}
    good = rest.post(PROVIDERS, json=PROVIDER | token)
    path = f"{PROVIDERS}/{good.json()['ID']}"
    responses = [
        good,
        rest.get(path),
        rest.get(f"{PROVIDERS}?per_page=1000"),
        rest.put(path, json=PROVIDER | token),
        rest.post(PROVIDERS, json=token),
        rest.post(PROVIDERS, json=PROVIDER | {"RegistrationAccessToken": [secret]}),
        rest.post(PROVIDERS, json=PROVIDER | {"RegistrationAccessToken": secret * 200}),
        rest.post(PROVIDERS, content=json.dumps(PROVIDER | token) + "{}", headers=JSON),
        rest.post(f"{PROVIDERS}?x={secret}", json=PROVIDER),
    ]

    assert [a.status_code for a in responses] == [200, 200, 200, 200, 400, 400, 400, 400, 200]
    assert not [response.text for response in responses if secret in response.text]
    assert secret not in stack.err.read_text() + stack.out.read_text()


def test_a_connection_stays_open_after_errors(stack: Stack) -> None:
    with socket.create_connection(("127.0.0.1", stack.http_port), 5) as connection:
        statuses = []
        for path in (b"/nope", b"/oauth-providers/1", b"/oauth-providers"):
            connection.sendall(b"GET /portal-api" + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            statuses.append(int(connection.recv(65536).split()[1]))

    assert statuses == [404, 401, 401]
