"""Several hosts of one PostgreSQL: a primary and standbys, one of which becomes the primary.

The driver connects to the first host that responds and accepts writes. New connections try
the host that the last one got first: a host that does not respond then costs the timeout
once, and a server does not leave a primary that responds for another one.
"""

import re
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import URL

# The hosts of a libpq URI, which SQLAlchemy does not parse: postgresql://user@a:5432,b:5432/db
# (PostgreSQL documentation, section 32.1.1.2).
_SEVERAL = re.compile(r"(?P<begin>[a-z0-9+]+://(?:[^/@?]*@)?)(?P<hosts>[^/@?]*,[^/@?]*)(?P<end>.*)")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::([0-9]+))?")
_ROLE = "target_session_attrs"
WRITABLE = "read-write"
STANDBY = "standby"


def in_query(text: str) -> str:
    """A URL with several hosts, as SQLAlchemy reads it: with the parameters `host` and `port`.

    Raises:
        ValueError: a host or a port is malformed. The text contains no part of the URL.
    """
    found = _SEVERAL.fullmatch(text)
    if not found:
        return text
    each = [_HOST.fullmatch(host) for host in found["hosts"].split(",")]
    path, _, query = found["end"].partition("?")
    names = [host[1] or host[2] for host in each if host]
    if len(names) < len(each):
        raise ValueError("needs hosts separated by commas, each as host or host:port")
    ports = [host[3] or "" for host in each if host]
    added = f"host={','.join(names)}" + (f"&port={','.join(ports)}" if any(ports) else "")
    return f"{found['begin']}{path}?{added}{'&' if query else ''}{query}"


def hosts_of(url: URL) -> list[str]:
    """The hosts of a URL, each as `host` or `host:port`."""
    hosts, ports = _listed(url, "host"), _listed(url, "port")
    if not hosts:
        return [f"{url.host}:{url.port}" if url.port else url.host] if url.host else []
    if len(ports) != len(hosts):
        ports = (ports[:1] or [""]) * len(hosts)
    return [f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=True)]


def _listed(url: URL, name: str) -> list[str]:
    given = url.query.get(name, ())
    parts = [given] if isinstance(given, str) else given
    return [value for part in parts for value in part.split(",")]


def with_role(url: URL, role: str) -> URL:
    """The URL, connecting only to a host with this role if there are several."""
    if len(hosts_of(url)) > 1 and _ROLE not in url.query:
        return url.update_query_dict({_ROLE: role})
    return url


def prefer_last(engine: Engine) -> None:
    """Try the host of the newest connection first."""
    last: list[tuple[str, str]] = []

    def order(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        hosts = str(parameters.get("host", "")).split(",")
        if not last or len(hosts) == 1:
            return
        ports = str(parameters.get("port", "")).split(",")
        if len(ports) != len(hosts):
            ports = ports[:1] * len(hosts)
        pairs = list(zip(hosts, ports, strict=True))
        # A stable sort: the others stay in the order of the URL.
        pairs.sort(key=lambda pair: (pair[0], pair[1] or last[0][1]) != last[0])
        parameters["host"] = ",".join(host for host, _ in pairs)
        parameters["port"] = ",".join(port for _, port in pairs)

    def note(connection: Any, _record: Any) -> None:
        last[:] = [(connection.info.host, str(connection.info.port))]

    event.listen(engine, "do_connect", order)
    event.listen(engine, "connect", note)
