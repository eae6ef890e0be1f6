"""A double of Gluu and Janssen: their endpoint for dynamic client registration.

Its behavior is that of the Janssen server's source and documentation. It was not compared with
a running server.
"""

import time
import uuid
from typing import Any

from tests.support.providers.double import Client, Double, Reply, Request, new_secret

_ENDPOINT = "/jans-auth/restv1/register"
# grantTypesSupportedByDynamicRegistration of the default configuration.
_GRANTS = ("authorization_code", "implicit", "client_credentials", "refresh_token")
_RESPONSES = ("code", "token", "id_token")


class Gluu(Double):
    """The names of the switches are those of its configuration, in snake case.

    `lifetime_s` is dynamicRegistrationExpirationTime: after it the *client* is deleted.
    """

    def __init__(self, *, lifetime_s: int = -1, return_client_secret_on_read: bool = True) -> None:
        super().__init__()
        self.lifetime_s = lifetime_s
        self.return_client_secret_on_read = return_client_secret_on_read
        self.enable_client_grant_type_update = False

    def handle(self, request: Request) -> Reply:
        if request.path == "/.well-known/openid-configuration":
            return Reply(
                200,
                {
                    "issuer": self.url,
                    "registration_endpoint": f"{self.url}{_ENDPOINT}",
                    "token_endpoint": f"{self.url}/jans-auth/restv1/token",
                    "grant_types_supported": list(_GRANTS),
                },
            )
        if request.path != _ENDPOINT:
            return Reply(404)
        if request.method == "POST":
            # The Authorization header is not read: a wrong token is not noticed.
            return self._register(request)
        return self._manage(request)

    def _register(self, request: Request) -> Reply:
        asked = request.document()
        if not isinstance(asked, dict):
            return _error(400, "invalid_client_metadata", "The JSON object is not valid.")
        if "password" in asked.get("grant_types", ()):
            text = "Password Grant Type is not allowed for Dynamic Client Registration."
            return _error(400, "access_denied", text)
        grants, responses = _fixed(
            asked.get("grant_types") or (), asked.get("response_types") or ()
        )
        uris = asked.get("redirect_uris") or []
        if not uris and {"authorization_code", "implicit"} & set(grants) and "code" in responses:
            return _error(400, "invalid_client_metadata", "Redirect uris are empty.")
        if not all(_is_valid(uri) for uri in uris):
            return _error(400, "invalid_redirect_uri", "Failed to validate redirect uris.")
        issued = int(time.time())
        client = {
            **asked,
            "grant_types": grants,
            "response_types": responses,
            "client_id": str(uuid.uuid4()),
            "client_secret": str(uuid.uuid4()),  # of public clients, too
            "client_id_issued_at": issued,
            "client_secret_expires_at": issued + self.lifetime_s if self.lifetime_s > 0 else 0,
            "registration_access_token": new_secret(),
        }
        client["registration_client_uri"] = f"{self.url}{_ENDPOINT}?client_id={client['client_id']}"
        self.clients[client["client_id"]] = client
        return Reply(201, self._shown(client), indent=4)

    def _manage(self, request: Request) -> Reply:
        client_id = request.query.get("client_id", "")
        if not client_id:
            return _error(400, "invalid_client_metadata", "The client_id is blank.")
        client = self.clients.get(client_id)
        expire = client["client_secret_expires_at"] if client else 0
        if client and expire and expire < time.time():
            del self.clients[client_id]
            client = None
        if not client or request.authorization != f"Bearer {client['registration_access_token']}":
            return _error(401, "invalid_token", "The access token is not valid.")
        if request.method == "DELETE":
            del self.clients[client_id]
            return Reply(204)
        if request.method == "PUT":
            self._merge(client, request.document())
        # Neither GET nor PUT rotates the registration access token.
        return Reply(200, self._shown(client), indent=4)

    def _merge(self, client: Client, asked: Any) -> None:
        """PUT merges: absent and empty values keep the old ones."""
        for name, value in asked.items():
            if name == "grant_types" and not self.enable_client_grant_type_update:
                continue
            if value not in (None, "", []):
                client[name] = value

    def _shown(self, client: Client) -> Client:
        hidden = () if self.return_client_secret_on_read else ("client_secret",)
        return {name: value for name, value in client.items() if name not in hidden}


def _fixed(grants: Any, responses: Any) -> tuple[list[str], list[str]]:
    """grantTypesAndResponseTypesAutofixEnabled: each list widens the other, then both are cut."""
    fixed_grants = list(grants)
    fixed_responses = list(responses) or ["code"]
    if "code" in fixed_responses:
        fixed_grants += ["authorization_code", "refresh_token"]
    if {"token", "id_token"} & set(fixed_responses):
        fixed_grants.append("implicit")
    if "implicit" in fixed_grants and "token" not in fixed_responses:
        fixed_responses.append("token")
    return (
        [each for each in dict.fromkeys(fixed_grants) if each in _GRANTS],
        [each for each in dict.fromkeys(fixed_responses) if each in _RESPONSES],
    )


def _is_valid(uri: str) -> bool:
    local = uri.startswith(("http://localhost", "http://127.0.0.1"))
    return "#" not in uri and "://" in uri and (local or not uri.startswith("http:"))


def _error(status: int, error: str, description: str) -> Reply:
    return Reply(status, {"error": error, "error_description": description}, indent=4)
