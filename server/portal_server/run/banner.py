"""The text that `portal up` prints once it is ready."""

import shlex
from pathlib import Path

from portal_server.run.first_key import FirstKey
from portal_server.run.settings import Settings


def banner(settings: Settings, key: FirstKey | None, provider_id: int | None) -> str:
    """Where the system listens, the admin key, and requests to paste.

    Args:
        settings: the settings.
        key: the admin key if it was just created.
        provider_id: the id of an existing provider; None if there is none.
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
{_secrets(settings)}{intro}
{_provider(rest, shown) if provider_id is None else ""}
Create a client type with REST:

curl --request POST \\
  --url {rest}/oauth-providers/{provider_id or 1}/client-types \\
  --header "Authorization: {shown}" \\
  --header 'Content-Type: application/json' \\
  --data '{_CLIENT_TYPE}'

List the client types with gRPC:

grpcurl -plaintext -H "authorization: {shown}" -d '{{"provider_id": {provider_id or 1}}}' \\
  {reach(settings.grpc_port)} portal.oauth.v1.ClientTypeService/ListClientTypes
"""


def _secrets(settings: Settings) -> str:
    """The line about the encryption key, if it is in a file or missing."""
    if settings.encryption_keys:
        return ""
    file = settings.encryption_key_file.resolve()
    if file.exists():
        text = f"encrypted with the key in {file}\n           back it up: without it, they are lost"
    else:
        text = "none can be stored: there is no encryption key (docs/operations.md)"
    return f"Secrets    {text}\n"


def _key(settings: Settings, key: FirstKey | None) -> tuple[str, str]:
    """The lines about the admin key, and the shell expression for it."""
    if key and key.text:
        return f"Admin key  {key.text}\n           shown only once: keep it", key.text
    if key and key.file:
        return (
            f"Admin key  in the file {key.file}\n           keep it safe; it is not shown again",
            f"$(cat {shlex.quote(str(key.file))})",
        )
    if settings.admin_key:
        return "Admin key  the one in PORTAL_ADMIN_KEY", "$PORTAL_ADMIN_KEY"
    intro = (
        "Admin key  the one created at the first start, below as $PORTAL_KEY\n"
        "           lost it? `.venv/bin/portal keys create` creates another one"
    )
    return intro, "$PORTAL_KEY"


def _provider(rest: str, shown: str) -> str:
    return f"""
Create a provider with REST; the first one has the id 1:

curl --request POST \\
  --url {rest}/oauth-providers \\
  --header "Authorization: {shown}" \\
  --header 'Content-Type: application/json' \\
  --data '{_PROVIDER}'
"""


_PROVIDER = """{
  "Name": "Keycloak",
  "Type": "Keycloak",
  "WellKnownURL": "https://keycloak.example.com/realms/example/.well-known/openid-configuration"
}"""

_CLIENT_TYPE = """{
  "Name": "Server-side application",
  "Description": "Use this client configuration to create server-side applications that don'\\''t act on behalf of end-users",
  "ResponseTypes": "code,token",
  "GrantType": "authorization_code,refresh_token,password",
  "TokenEndpointAuthMethod": "client_secret_basic",
  "OktaAppType": "web"
}"""  # noqa: E501
