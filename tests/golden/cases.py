"""The conversation that the golden files record: its requests, in order, to a new portal.

A new case goes to the end of its part: what is there before it keeps its ids.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

Key = Literal["admin", "viewer", "wrong"] | None


@dataclass(frozen=True)
class Rest:
    """A request to the REST API, below its base path; `body` is sent as it stands."""

    name: str
    method: str
    path: str
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    key: Key = "admin"


@dataclass(frozen=True)
class Native:
    """A call of a method of `portal.oauth.v1`; `request` is its message in the JSON mapping."""

    name: str
    method: str
    request: dict[str, Any]
    key: Key = "admin"


PROVIDERS = "/oauth-providers"
CLIENT_TYPES = "/oauth-providers/1/client-types"
SEED = """{
  "Name": "Server-side application",
  "Description": "Use this client configuration to create server-side applications that don't act on behalf of end-users",
  "ResponseTypes": "code,token",
  "GrantType": "authorization_code,refresh_token,password",
  "TokenEndpointAuthMethod": "client_secret_basic",
  "OktaAppType": "web"
}"""  # noqa: E501
DEVICE = '{"Name": "Télévision", "ResponseTypes": "none", "GrantType": "device_code"}'
OKTA = json.dumps(
    {
        "Name": "Okta",
        "Type": "Okta",
        "WellKnownURL": "https://example.okta.test/.well-known/openid-configuration",
        "RegistrationAccessToken": "the-registration-secret",
    }
)
WRONG = json.dumps(
    {
        "Name": " ",
        "ResponseTypes": "code,banana",
        "GrantType": "",
        "TokenEndpointAuthMethod": "private_key_jwt",
        "OktaAppType": "desktop",
    }
)
CLIENTS = f"{CLIENT_TYPES}/1/clients"
WRONG_CLIENT = json.dumps(
    {"Name": " ", "RedirectURLs": "http://a.test/cb,https://a.test/#b", "Scope": "a  b"}
)
ONCE = {"Idempotency-Key": "7a2c7a36-6c43-4a3e-9d0c-0f6a3c1f7b11"}

REST = [
    # Client types, one after the other
    Rest("list-of-none", "GET", CLIENT_TYPES),
    Rest("create-client-type", "POST", CLIENT_TYPES, SEED),
    Rest("get-client-type", "GET", f"{CLIENT_TYPES}/1"),
    Rest("create-client-type-of-required-fields", "POST", CLIENT_TYPES, DEVICE),
    Rest("create-client-type-once", "POST", CLIENT_TYPES, DEVICE, ONCE),
    Rest("create-client-type-once-again", "POST", CLIENT_TYPES, DEVICE, ONCE),
    Rest("create-another-client-type-once", "POST", CLIENT_TYPES, SEED, ONCE),
    Rest("list-client-types", "GET", CLIENT_TYPES),
    Rest("list-client-types-page", "GET", f"{CLIENT_TYPES}?per_page=2&page=2"),
    Rest("list-client-types-limit", "GET", f"{CLIENT_TYPES}?limit=1"),
    Rest("update-client-type", "PUT", f"{CLIENT_TYPES}/1", DEVICE),
    Rest("update-client-type-stale", "PUT", f"{CLIENT_TYPES}/1", SEED, {"If-Match": '"0000"'}),
    Rest("delete-client-type", "DELETE", f"{CLIENT_TYPES}/3"),
    # Providers
    Rest("list-providers", "GET", PROVIDERS),
    Rest("create-provider", "POST", PROVIDERS, OKTA),
    Rest("create-okta-client-type-without-app-type", "POST", f"{PROVIDERS}/2/client-types", DEVICE),
    Rest("create-okta-client-type", "POST", f"{PROVIDERS}/2/client-types", SEED),
    Rest("get-provider", "GET", f"{PROVIDERS}/2"),
    Rest("update-provider", "PUT", f"{PROVIDERS}/2", OKTA.replace('"Okta"', '"Okta EU"', 1)),
    Rest("delete-provider", "DELETE", f"{PROVIDERS}/2?force=true"),
    # What is wrong with a body
    Rest("body-empty-object", "POST", CLIENT_TYPES, "{}"),
    Rest("body-empty-provider", "POST", PROVIDERS, "{}"),
    Rest("body-all-wrong", "POST", CLIENT_TYPES, WRONG),
    Rest("body-provider-all-wrong", "POST", PROVIDERS, '{"Type": "Auth0", "WellKnownURL": "idp"}'),
    Rest("body-none", "POST", CLIENT_TYPES),
    Rest("body-not-json", "POST", CLIENT_TYPES, '{"Name": "x"'),
    Rest("body-array", "POST", CLIENT_TYPES, "[]"),
    Rest("body-wrong-type", "POST", CLIENT_TYPES, '{"Name": 1, "ResponseTypes": ["code"]}'),
    Rest("body-key-twice", "POST", CLIENT_TYPES, '{"Name": "x", "Name": "y"}'),
    Rest("body-nul", "POST", CLIENT_TYPES, DEVICE.replace("T", "\\u0000", 1)),
    Rest("body-name-too-long", "POST", CLIENT_TYPES, DEVICE.replace("T", "T" * 300, 1)),
    Rest("body-too-large", "POST", CLIENT_TYPES, f'{{"Name": "{"x" * 1_048_576}"}}'),
    Rest("body-as-form", "POST", CLIENT_TYPES, "Name=x", {"Content-Type": "text/plain"}),
    # What is wrong with a path or its query
    Rest("query-unknown", "GET", f"{CLIENT_TYPES}?sort=name"),
    Rest("query-out-of-range", "GET", f"{CLIENT_TYPES}?per_page=0&page=-1&limit=99999"),
    Rest("query-not-a-number", "GET", f"{CLIENT_TYPES}?page=two"),
    Rest("query-not-a-flag", "DELETE", f"{CLIENT_TYPES}/1?force=perhaps"),
    Rest("path-unknown", "GET", "/client-types"),
    Rest("path-id-not-a-number", "GET", f"{PROVIDERS}/one"),
    Rest("path-no-such-provider", "GET", f"{PROVIDERS}/99"),
    Rest("path-no-such-provider-of-client-types", "GET", f"{PROVIDERS}/99/client-types"),
    Rest("path-no-such-client-type", "GET", f"{CLIENT_TYPES}/99"),
    Rest("path-method-not-allowed", "PATCH", f"{CLIENT_TYPES}/1"),
    # Keys
    Rest("key-absent", "GET", PROVIDERS, key=None),
    Rest("key-wrong", "GET", PROVIDERS, key="wrong"),
    Rest("key-viewer-reads", "GET", CLIENT_TYPES, key="viewer"),
    Rest("key-viewer-writes", "POST", CLIENT_TYPES, SEED, key="viewer"),
    # Clients, without a provider that could register one
    Rest("list-clients-of-none", "GET", CLIENTS),
    Rest("create-client-empty", "POST", CLIENTS, "{}"),
    Rest("create-client-all-wrong", "POST", CLIENTS, WRONG_CLIENT),
    Rest("create-client-labels", "POST", CLIENTS, '{"Name": "x", "Labels": {"a": 7}}'),
    Rest("preview-client-empty", "POST", f"{CLIENT_TYPES}/1/preview", "{}"),
    Rest("get-no-such-client", "GET", f"{CLIENTS}/99"),
    Rest("rotate-no-such-client", "PUT", f"{CLIENTS}/99/rotate"),
    Rest("delete-client-not-a-flag", "DELETE", f"{CLIENTS}/99?force=perhaps"),
    Rest("rotate-method-not-allowed", "POST", f"{CLIENTS}/99/rotate"),
    Rest("check-no-such-provider", "GET", f"{PROVIDERS}/99/check"),
    Rest("key-viewer-registers", "POST", CLIENTS, '{"Name": "x"}', key="viewer"),
]

CLIENT_TYPE = {
    "name": "Single-page application",
    "description": "For pages in a browser",
    "response_types": ["RESPONSE_TYPE_CODE", "RESPONSE_TYPE_ID_TOKEN"],
    "grant_types": ["GRANT_TYPE_PKCE", "GRANT_TYPE_REFRESH_TOKEN"],
}
GLUU = {
    "name": "Gluu",
    "type": "PROVIDER_TYPE_GLUU",
    "well_known_uri": "https://gluu.test/.well-known/openid-configuration",
    "tls_insecure_skip_verify": True,
    "registration_access_token": "the-registration-secret",
}
REQUEST_ID = "0d1f3a52-92d6-4f2e-8a0b-5f3a3b1d9c77"


def _once(**client_type: object) -> dict[str, Any]:
    return {
        "provider_id": 1,
        "client_type": CLIENT_TYPE | client_type,
        "request_id": REQUEST_ID,
    }


NATIVE = [
    # Client types, one after the other
    Native("create-client-type", "CreateClientType", _once()),
    Native("create-client-type-again", "CreateClientType", _once()),
    Native("create-client-type-request-id-reused", "CreateClientType", _once(name="another")),
    Native("get-client-type", "GetClientType", {"provider_id": 1, "id": 5}),
    Native("list-client-types", "ListClientTypes", {"provider_id": 1, "page_size": 2}),
    Native(
        "list-client-types-filter",
        "ListClientTypes",
        {"provider_id": 1, "filter": 'name = "Single-page application"'},
    ),
    Native(
        "update-client-type",
        "UpdateClientType",
        {"client_type": {"provider_id": 1, "id": 5, "name": "SPA"}, "update_mask": "name"},
    ),
    Native(
        "update-client-type-stale",
        "UpdateClientType",
        {
            "client_type": {"provider_id": 1, "id": 5, "name": "x", "etag": '"0000"'},
            "update_mask": "name",
        },
    ),
    Native("delete-client-type", "DeleteClientType", {"provider_id": 1, "id": 5}),
    # Providers
    Native("create-provider", "CreateProvider", {"provider": GLUU}),
    Native("get-provider", "GetProvider", {"id": 3}),
    Native("list-providers", "ListProviders", {}),
    Native(
        "update-provider",
        "UpdateProvider",
        {"provider": {"id": 3, "name": "Gluu EU"}, "update_mask": "name"},
    ),
    Native("delete-provider", "DeleteProvider", {"id": 3}),
    # What is wrong with a request
    Native("request-empty", "CreateClientType", {}),
    Native("request-empty-provider", "CreateProvider", {}),
    Native(
        "request-all-wrong",
        "CreateClientType",
        {
            "provider_id": 1,
            "client_type": {
                "name": " ",
                "response_types": [9],
                "token_endpoint_auth_method": 9,
                "okta_app_type": 9,
            },
        },
    ),
    Native("request-id-malformed", "DeleteProvider", {"id": 1, "request_id": "é"}),
    Native(
        "request-no-such-provider",
        "CreateClientType",
        {"provider_id": 99, "client_type": CLIENT_TYPE},
    ),
    Native("request-no-such-client-type", "GetClientType", {"provider_id": 1, "id": 99}),
    Native(
        "request-list-all-wrong",
        "ListClientTypes",
        {"provider_id": 1, "page_size": -1, "page_token": "made up", "filter": "name ~ x"},
    ),
    Native(
        "request-mask-unknown",
        "UpdateClientType",
        {"client_type": {"provider_id": 1, "id": 1}, "update_mask": "color"},
    ),
    # Keys
    Native("key-absent", "ListProviders", {}, key=None),
    Native("key-wrong", "ListProviders", {}, key="wrong"),
    Native("key-viewer-reads", "GetProvider", {"id": 1}, key="viewer"),
    Native("key-viewer-writes", "DeleteProvider", {"id": 1}, key="viewer"),
    # Clients, without a provider that could register one
    Native("list-clients-of-none", "ListClients", {"provider_id": 1}),
    Native("register-client-empty", "RegisterClient", {}),
    Native("get-no-such-client", "GetClient", {"provider_id": 1, "id": 99}),
    Native("resolve-client-empty", "ResolveClient", {}),
    Native(
        "list-clients-filter",
        "ListClients",
        {"provider_id": 1, "filter": 'client_id : "part"'},
    ),
    Native("check-provider-empty", "CheckProvider", {}),
    Native("forget-no-such-provider", "ForgetProvider", {"id": 99}),
    Native("key-viewer-registers", "RegisterClient", {"provider_id": 1}, key="viewer"),
]
