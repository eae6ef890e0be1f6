"""The types of settings, which check their values. Their errors never have a secret."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from portal_server.domain.keys import Role
from portal_server.domain.urls import parse_http_url
from portal_server.storage.encryption import parse_key
from portal_server.storage.sql.engine import parse_url

# API keys are hashed once and attempts are not limited: a shorter key could be guessed.
MIN_KEY_LENGTH = 20


def _database_url(value: SecretStr) -> SecretStr:
    parse_url(value.get_secret_value())
    return value


def _standby_url(value: SecretStr) -> SecretStr:
    if parse_url(value.get_secret_value()).get_backend_name() != "postgresql":
        raise ValueError("must start with postgresql://")
    return value


def _encryption_keys(value: SecretStr) -> SecretStr:
    parse_keys(value)
    return value


def parse_keys(value: SecretStr) -> list[bytes]:
    """The encryption keys in a text, secrets. Raises: ValueError."""
    keys = []
    for number, text in enumerate(value.get_secret_value().split(","), 1):
        try:
            keys.append(parse_key(text.strip()))
        except ValueError as error:
            raise ValueError(f"key {number} {error}; `portal encryption new-key`") from None
    return keys


def _key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without spaces, as in an HTTP header")
    if len(text) < MIN_KEY_LENGTH:
        raise ValueError(f"must have at least {MIN_KEY_LENGTH} characters")
    return value


# As a browser sends it (RFC 6454, section 6.2), since origins are compared as text:
# lowercase, without a path and without the default port of the scheme.
_ORIGIN = re.compile(
    r"(?!http://.*:80$|https://.*:443$)"
    r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?"
)


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    origins = tuple(part.strip() for part in value.split(","))
    if origins != ("*",) and not all(map(_ORIGIN.fullmatch, origins)):
        raise ValueError(
            "must be * or origins separated by commas, each as browsers send it,"
            " such as https://app.example.com or http://localhost:8080"
        )
    return origins


_OTLP_ENDPOINT = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\]):([1-9][0-9]{0,4})")


def _otlp_endpoint(value: str) -> str:
    if not _OTLP_ENDPOINT.fullmatch(value):
        raise ValueError(
            "must be http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:4317"
        )
    return value


_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def _issuer(value: str) -> str:
    url = parse_http_url(value)
    if url is None or (url.scheme == "http" and url.host not in _LOOPBACK):
        raise ValueError("must be an https URL; http only at a loopback address")
    return value


def _roles(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = {}
    for part in value.split(","):
        name, equals, role = (each.strip() for each in part.partition("="))
        if not (name and equals and role in set(Role)):
            raise ValueError(
                "must be pairs of a value of the claim and a role, such as"
                f" portal-admins=admin,staff=viewer; roles: {', '.join(Role)}"
            )
        found[name] = Role(role)
    return found


Port = Annotated[int, Field(ge=1, le=65535)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
StandbyUrl = Annotated[SecretStr, AfterValidator(_standby_url)]
EncryptionKeys = Annotated[SecretStr, AfterValidator(_encryption_keys)]
AdminKey = Annotated[SecretStr, AfterValidator(_key)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)]
CollectorUrl = Annotated[str, AfterValidator(_otlp_endpoint)]
IssuerUrl = Annotated[str, AfterValidator(_issuer)]
ClaimRoles = Annotated[dict[str, Role], NoDecode, BeforeValidator(_roles)]
