"""`portal status`."""

import re
from importlib.metadata import version
from typing import Any, Final

import typer

from portal_cli import options
from portal_cli.options import Output
from portal_cli.output import write_values
from portal_client import InvalidArgument, PermissionDenied, Portal, Provider

# The name of an API key is a part of it.
_KEY: Final = re.compile(r"oap_([A-Za-z0-9]{8})_[A-Za-z0-9]{32}")
_NOT_REPORTED: Final = "not reported by the server"
# What no RPC returns.
_UNKNOWN: Final = ("server_version", "schema", "key_expiry")


def status(context: typer.Context) -> None:
    """Show the connection, and what the API key may do.

    Exit code 69 if the portal cannot be reached, 77 if the API key is not valid.
    """
    common = options.of(context)
    with common.portal() as portal:
        # The first page only.
        next(iter(portal.list_providers(page_size=1)), None)
        role = _role(portal)
    values = {
        "target": common.target,
        "tls": common.tls or bool(common.ca),
        "reachable": True,
        "client_version": version("oauth-portal"),
        "server_version": None,
        "schema": None,
        "key_name": _name(common.key or ""),
        "key_role": role,
        "key_expiry": None,
    }
    write_values(values | _texts(values, common.output), common.output)


def _texts(values: dict[str, Any], output: Output) -> dict[str, Any]:
    if output is not Output.TABLE:
        return {}
    texts = dict.fromkeys(_UNKNOWN, _NOT_REPORTED)
    return texts | ({} if values["key_name"] else {"key_name": "none; it is not a stored key"})


def _name(key: str) -> str | None:
    """The name of a stored API key; None for the one of the server's settings."""
    match = _KEY.fullmatch(key.removeprefix("Bearer ").strip())
    return match[1] if match else None


def _role(portal: Portal) -> str | None:
    """The role of the API key: only an admin may send a write, even an invalid one."""
    try:
        portal.create_provider(Provider(), validate_only=True)
    except PermissionDenied:
        return "viewer"
    except InvalidArgument:
        return "admin"
    return None
