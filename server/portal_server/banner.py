"""What `portal up` says when it is up."""

from pathlib import Path

from portal_server.settings import Settings


def banner(settings: Settings, key: str | None, provider_id: int) -> str:
    """What people need to know to begin; `key` is the admin key when it was just made."""
    if settings.database.get_backend_name() == "sqlite":
        data = str(Path(settings.database.database or "").resolve())
    else:
        data = settings.database.render_as_string(hide_password=True)
    rest = f"http://localhost:{settings.http_port}/portal-api"
    if key:
        intro = f"Admin key  {key}\n           shown this once: keep it"
        shown = key
    elif settings.admin_key:
        intro = "Admin key  the one in PORTAL_ADMIN_KEY"
        shown = "$PORTAL_ADMIN_KEY"
    else:
        intro = (
            "Admin key  the one shown at the first start, here as $PORTAL_KEY\n"
            "           lost it? `.venv/bin/portal keys create` makes another"
        )
        shown = "$PORTAL_KEY"
    return f"""
OAuth Portal is up. Ctrl-C stops it.

REST       {rest}
gRPC       localhost:{settings.grpc_port}, and localhost:{settings.http_port} through Envoy
Data       {data}
{intro}

Create a client type by REST:

curl --request POST \\
  --url {rest}/oauth-providers/{provider_id}/client-types \\
  --header "Authorization: {shown}" \\
  --header 'Content-Type: application/json' \\
  --data '{_SEED_REST}'

The same by gRPC:

grpcurl -plaintext -H "authorization: {shown}" -d '{_seed_grpc(provider_id)}' \\
  localhost:{settings.grpc_port} portal.oauth.v1.ClientTypeService/CreateClientType
"""


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
