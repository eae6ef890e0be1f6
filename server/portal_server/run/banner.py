"""The text that `portal up` prints once it is ready."""

import os
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.engine import URL

from portal_server.run.certificates import Identity
from portal_server.run.dev_certificate import CA_FILE
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


def banner(settings: Settings, found: Prepared, identity: Identity | None = None) -> str:
    """Where the system listens, the admin key and, at the first start, requests to paste."""
    if settings.database.get_backend_name() == "sqlite":
        data: object = Path(settings.database.database or "").resolve()
    else:
        # Without the password, and without parameters, which may be secrets, too.
        url = settings.database
        data = URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    intro, shown = _key(settings, found.key)
    place = _Place.of(settings, identity)
    rest = f"{place.http}/portal-api"
    is_first = found.key or found.example_created
    return f"""
OAuth Portal {version("oauth-portal-server")} is up. Ctrl-C stops it.

REST       {rest}
gRPC       {place.grpc}{" with TLS" if identity else ""}
Docs       {place.http}/docs
Data       {data}
{_secrets(settings)}{intro}
{_examples(place, shown, found.provider_id) if is_first else ""}"""


class _Place(NamedTuple):
    """How examples reach the ports: URL, gRPC address, and the options of curl and grpcurl."""

    http: str
    grpc: str
    curl: str = "curl"
    grpcurl: str = "grpcurl -plaintext"

    @classmethod
    def of(cls, settings: Settings, identity: Identity | None) -> "_Place":
        host = settings.host
        name = "localhost" if host.is_unspecified or host.is_loopback else None
        if identity and name not in identity.names:
            # The first name that is not an address or a wildcard: clients compare it.
            name = next(
                (one for one in identity.names if one[-1:].isalpha() and "*" not in one), name
            )
        http, grpc = (
            f"{name}:{port}" if name else settings.address(port)
            for port in (settings.http_port, settings.grpc_port)
        )
        if not identity or not settings.tls_cert:
            return cls(f"http://{http}", grpc)
        curl, grpcurl = "curl", "grpcurl"
        ca = settings.tls_cert.with_name(CA_FILE)
        if ca.exists():
            file = shlex.quote(str(ca))
            curl, grpcurl = f"{curl} --cacert {file}", f"{grpcurl} -cacert {file}"
        if identity.client_ca:
            curl = f"{curl} --cert CLIENT.pem --key CLIENT.key"
            grpcurl = f"{grpcurl} -cert CLIENT.pem -key CLIENT.key"
        return cls(f"https://{http}", grpc, curl, grpcurl)


def _examples(place: _Place, shown: str, provider_id: int | None) -> str:
    rest = f"{place.http}/portal-api"
    return f"""{_provider(place, shown) if provider_id is None else ""}
Create a client type with REST:

{place.curl} --request POST \\
  --url {rest}/oauth-providers/{provider_id or 1}/client-types \\
  --header "Authorization: {shown}" \\
  --header 'Content-Type: application/json' \\
  --data '{_CLIENT_TYPE}'

List the client types with gRPC:

{place.grpcurl} -H "authorization: {shown}" -d '{{"provider_id": {provider_id or 1}}}' \\
  {place.grpc} portal.oauth.v1.ClientTypeService/ListClientTypes
"""


def _secrets(settings: Settings) -> str:
    """The line about the encryption key, if it is in a file or missing."""
    if settings.encryption_keys:
        return ""
    file = settings.encryption_keys_file.resolve()
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
    if settings.admin_key and os.environ.get("PORTAL_ADMIN_KEY_FILE"):
        return "Admin key  the one in PORTAL_ADMIN_KEY_FILE", "$(cat $PORTAL_ADMIN_KEY_FILE)"
    if settings.admin_key:
        return "Admin key  the one in PORTAL_ADMIN_KEY", "$PORTAL_ADMIN_KEY"
    intro = (
        "Admin key  the one created at the first start\n"
        "           lost it? `portal keys create` creates another one"
    )
    return intro, "$PORTAL_KEY"


def _provider(place: _Place, shown: str) -> str:
    return f"""
Create a provider with REST; the first one has the id 1:

{place.curl} --request POST \\
  --url {place.http}/portal-api/oauth-providers \\
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
