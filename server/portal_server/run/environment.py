"""Reads the settings: environment variables with the prefix PORTAL_, and files with secrets."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from portal_server.run.secret_files import SecretFileError, read_secret
from portal_server.run.settings import PREFIX, SECRETS, Settings, SettingsError

_DATABASE = "PORTAL_DATABASE_URL"
# Variables of the client, the command line and the examples.
_CLIENT_NAMES = {
    "PORTAL_CA",
    "PORTAL_CERT",
    "PORTAL_CERT_KEY",
    "PORTAL_CONTEXT",
    "PORTAL_IMPORT_KEY",
    "PORTAL_KEY",
    "PORTAL_TARGET",
    "PORTAL_TLS",
}
# Kubernetes sets these in pods if a Service has a name that starts with `portal`
# (Kubernetes documentation, "Service", environment variables).
_KUBERNETES_NAME = re.compile(
    r"PORTAL_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://.*")


def load() -> Settings:
    """Read the settings from the environment and from files with secrets.

    Raises:
        SettingsError: a value is invalid, a file cannot be used, or a variable is unknown.
    """
    problems = [*_unknown(os.environ), *_empty(os.environ), *_twice(os.environ)]
    secrets: dict[str, Any] = {}
    for name, file in _files(os.environ).items():
        try:
            secrets[name] = SecretStr(_secret(file))
        except SecretFileError as error:
            problems.append(f"{_variable(SECRETS[name])}: {file}: {error}")
    try:
        found = Settings(**secrets)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0])
            variable = _variable(SECRETS[name] if name in secrets else name)
            problems.append(f"{variable}: {problem['msg'].removeprefix('Value error, ')}")
    else:
        problems += _incomplete_tls(found)
    if problems:
        raise SettingsError("; ".join(problems)) from None
    return found


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _files(environment: Mapping[str, str]) -> dict[str, Path]:
    """The files that have secrets, by the names of these settings.

    Without those that are settings themselves, because they have a default.
    """
    found = {
        name: environment.get(_variable(file))
        for name, file in SECRETS.items()
        if file not in Settings.model_fields
    }
    return {name: Path(file) for name, file in found.items() if file}


def _secret(file: Path) -> str:
    try:
        text = read_secret(file).decode()
    except UnicodeDecodeError:
        raise SecretFileError("is not a text") from None
    if not (secret := text.rstrip("\r\n")):
        raise SecretFileError("is empty")
    return secret


def _twice(environment: Mapping[str, str]) -> Iterator[str]:
    for name, file in SECRETS.items():
        if environment.get(_variable(name)) and environment.get(_variable(file)):
            yield f"{_variable(name)}: {_variable(file)} is set, too; set one of them"


def _incomplete_tls(settings: Settings) -> Iterator[str]:
    if bool(settings.tls_cert) != bool(settings.tls_key):
        missing = "CERT" if settings.tls_key else "KEY"
        yield f"PORTAL_TLS_{missing}: is not set; TLS needs a certificate and its private key"
    elif settings.tls_client_ca and not settings.tls_cert:
        yield "PORTAL_TLS_CLIENT_CA: needs PORTAL_TLS_CERT and PORTAL_TLS_KEY"


def _empty(environment: Mapping[str, str]) -> Iterator[str]:
    """An error if the database is empty: a secret that is missing must not select SQLite."""
    for name, value in environment.items():
        if name.upper() == _DATABASE and not value.strip():
            yield f"{name}: is empty; set it to a URL, or unset it for SQLite in ./data"


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    """An error for each unknown variable with the prefix: it may be misspelled."""
    names = {*Settings.model_fields, *SECRETS.values()}
    known = {_variable(name) for name in names} | _CLIENT_NAMES
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name.upper() in known:
            continue
        if _KUBERNETES_NAME.fullmatch(name) or _KUBERNETES_PORT.fullmatch(value):
            continue
        [closest] = difflib.get_close_matches(name, known, n=1, cutoff=0)
        yield f"{name}: unknown setting; the closest is {closest}"
