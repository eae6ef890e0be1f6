"""The text that `portal up` prints once it is ready."""

import shlex
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.engine import URL

from portal_server.run.first_key import FirstKey
from portal_server.run.settings import Settings


class Prepared(NamedTuple):
    """What a start found in the database, and created."""

    key: FirstKey | None
    """The admin API key, if it was created."""
    provider_id: int | None
    """The id of a provider; None if there is none."""
    example_created: bool = False
    """Whether that is the example provider, and was created."""


def banner(settings: Settings, found: Prepared) -> str:
    """Where the system listens, the admin key and, at the first start, requests to paste."""
    if settings.database.get_backend_name() == "sqlite":
        data: object = Path(settings.database.database or "").resolve()
    else:
        # Without the password, and without parameters, which may be secrets, too.
        url = settings.database
        data = URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    intro, shown = _key(settings, found.key)
    host = settings.host
    reach = (
        (lambda port: f"localhost:{port}")
        if host.is_unspecified or host.is_loopback
        else settings.address
    )
    http = f"http://{reach(settings.http_port)}"
    rest, grpc = f"{http}/portal-api", reach(settings.grpc_port)
    is_first = found.key or found.example_created
    return f"""
OAuth Portal {version("oauth-portal-server")} is up. Ctrl-C stops it.

REST       {rest}
gRPC       {grpc}
Docs       {http}/docs
Data       {data}
{_secrets(settings)}{intro}
{_examples(rest, grpc, shown, found.provider_id) if is_first else ""}"""


def _examples(rest: str, grpc: str, shown: str, provider_id: int | None) -> str:
    return f"""{_provider(rest, shown) if provider_id is None else ""}
Create a client type with REST:

curl --request POST \\
  --url {rest}/oauth-providers/{provider_id or 1}/client-types \\
  --header "Authorization: {shown}" \\
  --header 'Content-Type: application/json' \\
  --data '{_CLIENT_TYPE}'

List the client types with gRPC:

grpcurl -plaintext -H "authorization: {shown}" -d '{{"provider_id": {provider_id or 1}}}' \\
  {grpc} portal.oauth.v1.ClientTypeService/ListClientTypes
"""


def _secrets(settings: Settings) -> str:
    """The line about the encryption key, if it is in a file or missing."""
    if settings.encryption_keys:
        return ""
    file = settings.encryption_key_file.resolve()
    if file.exists():
        text = f"encrypted with the key in {file}\n           back it up: without it, they are lost"
    else:
        text = (
            "none can be stored: set PORTAL_ENCRYPTION_KEYS to a key that\n"
            "           `portal encryption new-key` prints"
        )
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
        "Admin key  the one created at the first start\n"
        "           lost it? `portal keys create` creates another one"
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
