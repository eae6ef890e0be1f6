"""A double of Okta's endpoint for dynamic client registration.

Its behavior is that of Okta's documentation of the endpoint (OpenAPI 2026.07), of
which this has a part; "third parties" marks what only programs for Okta show. It was
not compared with a running Okta.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tests.support.providers.double import Client, Double, Reply, Request, new_secret

_JSON = "application/json;charset=UTF-8"
_ENDPOINT = "/oauth2/v1/clients"
_CONFIDENTIAL = ("client_secret_basic", "client_secret_post", "client_secret_jwt")
# The documentation's table of application types: grants, responses and methods of each; those
# in the third column must be there.
_WEB_RESPONSES = ("code", "token", "id_token")
_TYPES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "web": (
        ("authorization_code", "implicit", "refresh_token", "client_credentials"),
        _WEB_RESPONSES,
        ("authorization_code",),
        ("client_secret_basic", "client_secret_post"),
    ),
    "native": (
        ("authorization_code", "implicit", "password", "refresh_token"),
        _WEB_RESPONSES,
        ("authorization_code",),
        ("none", "client_secret_basic", "client_secret_post"),
    ),
    "browser": (("authorization_code", "implicit"), _WEB_RESPONSES, (), ("none",)),
    "service": (
        ("client_credentials",),
        ("token",),
        ("client_credentials",),
        ("client_secret_basic", "client_secret_post"),
    ),
}
# An update without one of these fails.
_SETTINGS = (
    "client_name",
    "application_type",
    "grant_types",
    "response_types",
    "token_endpoint_auth_method",
    "redirect_uris",
)
_SCOPES = {
    "POST": "okta.clients.register",
    "GET": "okta.clients.read",
    "PUT": "okta.clients.manage",
    "DELETE": "okta.clients.manage",
}


class Okta(Double):
    """`token` is the API token (SSWS); `bearers` are access tokens with their scopes.

    `unknown_is_401` selects the older text, in which an unknown client is 401 and not 404.
    `limited` makes each request 429.
    """

    def __init__(self) -> None:
        super().__init__()
        self.token = "00" + secrets.token_urlsafe(30)
        self.bearers: dict[str, tuple[str, ...]] = {}
        self.unknown_is_401 = False
        self.limited = False

    def handle(self, request: Request) -> Reply:  # noqa: PLR0911 - a case each
        if request.path in {
            "/.well-known/openid-configuration",
            "/oauth2/default/.well-known/openid-configuration",
        }:
            return self._discovery(request.path.partition("/.well-known/")[0])
        if self.limited:  # E0000047 and its headers: third parties
            reset = {"X-Rate-Limit-Limit": "600", "X-Rate-Limit-Remaining": "0"}
            reset["X-Rate-Limit-Reset"] = str(int(time.time()) + 20)
            return _error(429, "E0000047", "API call exceeded rate limit", reset)
        if rejected := self._authorize(request):
            return rejected
        if request.path == _ENDPOINT:
            return self._register(request) if request.method == "POST" else self._list(request)
        client_id, _, action = request.path.removeprefix(f"{_ENDPOINT}/").partition("/")
        client = self.clients.get(client_id)
        if not request.path.startswith(f"{_ENDPOINT}/") or client is None:
            return self._unknown(client_id)
        if action == "lifecycle/newSecret" and request.method == "POST":
            return self._new_secret(client)
        if request.method == "GET":
            return Reply(200, _without_secret(client), content_type=_JSON)
        if request.method == "PUT":
            return self._update(client, request)
        del self.clients[client_id]
        return Reply(204)

    def _discovery(self, issuer: str) -> Reply:
        # The registration endpoint is on the origin, not below the issuer.
        return Reply(
            200,
            {
                "issuer": f"{self.url}{issuer}",
                "registration_endpoint": f"{self.url}{_ENDPOINT}",
                "token_endpoint": f"{self.url}/oauth2/v1/token",
                "grant_types_supported": ["authorization_code", "implicit", "refresh_token"],
            },
        )

    def _authorize(self, request: Request) -> Reply | None:
        """Each call has the API token, or an access token with the scope of the method."""
        kind, _, token = request.authorization.partition(" ")
        if kind == "SSWS" and token == self.token:
            return None
        if kind != "Bearer" or token not in self.bearers:  # E0000011: third parties
            return _error(401, "E0000011", "Invalid token provided")
        needed = _SCOPES[request.method]
        if request.path.endswith("/newSecret"):
            needed = "okta.clients.manage"
        if needed in self.bearers[token]:
            return None
        text = "You do not have permission to perform the requested action"  # third parties
        return _error(403, "E0000006", text)

    def _register(self, request: Request) -> Reply:
        asked = request.document()
        if not isinstance(asked, dict):
            return _error(400, "E0000003", "The request body was not well-formed.")
        client = {
            "application_type": "web",
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "redirect_uris": [],
            "client_uri": None,
            "logo_uri": None,
            **{name: value for name, value in asked.items() if name != "client_id"},
        }
        if problem := self._problem(client):
            return problem
        client |= {
            "client_id": f"0oa{secrets.token_hex(8)}",
            "client_id_issued_at": int(time.time()),
        }
        if client["token_endpoint_auth_method"] in _CONFIDENTIAL:
            client |= {"client_secret": new_secret(), "client_secret_expires_at": 0}
        self.clients[client["client_id"]] = client
        return Reply(201, client, content_type=_JSON)

    def _problem(self, client: Client) -> Reply | None:  # noqa: PLR0911 - a rule each
        name = client.get("client_name")
        if not name:
            return _metadata_error("client_name: The field cannot be left blank")
        if any(
            each["client_name"] == name and each["client_id"] != client.get("client_id")
            for each in self.clients.values()
        ):
            return _metadata_error(
                "client_name: An object with this field already exists in the current organization"
            )
        grants, responses, needed, methods = _TYPES.get(
            client["application_type"], ((), (), (), ())
        )
        if not grants:
            return _metadata_error("application_type: Invalid value")
        granted = client["grant_types"]
        if not granted or set(granted) - set(grants) or set(needed) - set(granted):
            return _metadata_error("grant_types: Invalid value")
        if set(client["response_types"] or ()) - set(responses):
            return _metadata_error("response_types: Invalid value")
        if client["token_endpoint_auth_method"] not in methods:
            return _metadata_error("token_endpoint_auth_method: Invalid value")
        has_redirect = not set(granted) & {"password", "client_credentials"}
        if has_redirect and not client["redirect_uris"]:
            return _metadata_error("redirect_uris: The field cannot be left blank")
        if any("#" in uri or "://" not in uri for uri in client["redirect_uris"] or ()):
            return _metadata_error("redirect_uris: Invalid value")
        return None

    def _list(self, request: Request) -> Reply:
        """The clients whose name begins with `q`, in pages; case does not matter."""
        start = request.query.get("q", "").lower()
        limit = int(request.query.get("limit", "20"))
        found = [
            _without_secret(each)
            for each in self.clients.values()
            if each["client_name"].lower().startswith(start)
        ]
        first = int(request.query.get("after", "0"))
        links = [f'<{self.url}{_ENDPOINT}>; rel="self"']
        if first + limit < len(found):
            query = urlencode({"q": start, "limit": limit, "after": first + limit})
            links.append(f'<{self.url}{_ENDPOINT}?{query}>; rel="next"')
        page = found[first : first + limit]
        return Reply(200, page, {"Link": "\n".join(links)}, content_type=_JSON)

    def _update(self, client: Client, request: Request) -> Reply:
        asked = request.document()
        if not isinstance(asked, dict):
            return _error(400, "E0000003", "The request body was not well-formed.")
        for name in _SETTINGS:
            if name not in asked:
                return _metadata_error(f"{name}: The field cannot be left blank")
        for name in ("client_secret_expires_at", "client_id_issued_at"):
            if name in asked:
                return _metadata_error(f"{name}: The field cannot be set")
        changed = {**client, **asked}
        if problem := self._problem(changed):
            return problem
        client.update(changed)
        # The secret is shown on create, update and newSecret.
        return Reply(200, client, content_type=_JSON)

    def _new_secret(self, client: Client) -> Reply:
        if client["token_endpoint_auth_method"] not in _CONFIDENTIAL:
            return _metadata_error("token_endpoint_auth_method: Invalid value")
        client["client_secret"] = new_secret()
        return Reply(200, client, content_type=_JSON)

    def _unknown(self, client_id: str) -> Reply:
        if self.unknown_is_401:
            text = "Invalid value for 'client_id' parameter."
            return Reply(401, {"error": "invalid_client", "error_description": text})
        text = f"Not found: Resource not found: {client_id} (PublicClientApp)"
        return _error(404, "E0000007", text)


def _without_secret(client: Client) -> Client:
    return {name: value for name, value in client.items() if name != "client_secret"}


def _metadata_error(text: str) -> Reply:
    return Reply(400, {"error": "invalid_client_metadata", "error_description": text})


def _error(status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    document: dict[str, Any] = {
        "errorCode": code,
        "errorSummary": text,
        "errorLink": code,
        "errorId": f"oae{secrets.token_hex(8)}",
        "errorCauses": [],
    }
    return Reply(status, document, headers or {})
