"""What `portal up` says when it is up."""

import shlex
from pathlib import Path

from portal_server.run.first_key import FirstKey
from portal_server.run.settings import Settings


def banner(settings: Settings, key: FirstKey | None, provider_id: int | None) -> str:
    """What people need to know to begin.

    `key` is the admin key when it was just made; `provider_id` is that of a provider if
    there is one.
    """
    if settings.database.get_backend_name() == "sqlite":
        data = str(Path(settings.database.database or "").resolve())
    else:
        data = settings.database.render_as_string(hide_password=True)
    intro, shown = _key(settings, key)
    host = settings.host
    reach = (
        (lambda port: f"localhost:{port}")
        if host.is_unspecified or host.is_loopback
        else settings.address
    )
    rest = f"http://{reach(settings.http_port)}/portal-api"
    return f"""
OAuth Portal is up. Ctrl-C stops it.

REST       {rest}
gRPC       {reach(settings.grpc_port)}
Data       {data}
{intro}
{_provider(rest, shown) if provider_id is None else ""}
Create a client type by REST:

curl --request POST \\
  --url {rest}/oauth-providers/{provider_id or 1}/client-types \\
  --header "Authorization: {shown}" \\
  --header 'Content-Type: application/json' \\
  --data '{_SEED_REST}'

The same by gRPC:

grpcurl -plaintext -H "authorization: {shown}" -d '{_seed_grpc(provider_id or 1)}' \\
  {reach(settings.grpc_port)} portal.oauth.v1.ClientTypeService/CreateClientType
"""


def _key(settings: Settings, key: FirstKey | None) -> tuple[str, str]:
    """What to say of the admin key, and how a shell gets it."""
    if key and key.text:
        return f"Admin key  {key.text}\n           shown this once: keep it", key.text
    if key and key.file:
        return (
            f"Admin key  in the file {key.file}\n           keep it safe; it is not shown again",
            f"$(cat {shlex.quote(str(key.file))})",
        )
    if settings.admin_key:
        return "Admin key  the one in PORTAL_ADMIN_KEY", "$PORTAL_ADMIN_KEY"
    intro = (
        "Admin key  the one made at the first start, here as $PORTAL_KEY\n"
        "           lost it? `.venv/bin/portal keys create` makes another"
    )
    return intro, "$PORTAL_KEY"


def _provider(rest: str, shown: str) -> str:
    return f"""
Create a provider by REST, number 1 if it is the first:

curl --request POST \\
  --url {rest}/oauth-providers \\
  --header "Authorization: {shown}" \\
  --header 'Content-Type: application/json' \\
  --data '{_PROVIDER_REST}'
"""


_PROVIDER_REST = """{
  "Name": "Keycloak",
  "Type": "Keycloak",
  "WellKnownURL": "https://keycloak.example.com/realms/example/.well-known/openid-configuration"
}"""

_SEED_REST = """{
  "Name": "Server-side application",
  "Description": "Use this client configuration to create server-side applications that don'\\''t act on behalf of end-users",
  "ResponseTypes": "code,token",
  "GrantType": "authorization_code,refresh_token,password",
  "TokenEndpointAuthMethod": "client_secret_basic",
  "OktaAppType": "web"
}"""  # noqa: E501


def _seed_grpc(provider_id: int) -> str:
    return f"""{{
  "provider_id": {provider_id},
  "client_type": {{
    "name": "Server-side application",
    "description": "Use this client configuration to create server-side applications that don'\\''t act on behalf of end-users",
    "response_types": ["RESPONSE_TYPE_CODE", "RESPONSE_TYPE_TOKEN"],
    "grant_types": ["GRANT_TYPE_AUTHORIZATION_CODE", "GRANT_TYPE_REFRESH_TOKEN", "GRANT_TYPE_PASSWORD"],
    "token_endpoint_auth_method": "TOKEN_ENDPOINT_AUTH_METHOD_CLIENT_SECRET_BASIC",
    "okta_app_type": "OKTA_APP_TYPE_WEB"
  }}
}}"""  # noqa: E501
