"""A client of Envoy's admin interface on a Unix socket."""

import json
import socket
from collections.abc import Collection
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

_TIMEOUT = 1.0  # seconds


class Admin:
    """Envoy's admin interface. No method raises: without a response the result is unknown."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def stat(self, name: str) -> int | None:
        """The value of a counter; None if Envoy does not respond or does not have it."""
        return self.stats([name]).get(name)

    def stats(self, names: Collection[str]) -> dict[str, int]:
        """The values of these counters, without those that Envoy does not have."""
        found = {}
        for line in (self._request("GET", "/stats") or "").splitlines():
            name, _, number = line.partition(": ")
            if name in names and number.isdecimal():
                found[name] = int(number)
        return found

    def prometheus(self) -> str:
        """All counters in the text format of Prometheus; empty if Envoy does not respond."""
        return self._request("GET", "/stats/prometheus?usedonly") or ""

    def post(self, path: str) -> bool:
        """Send a command; whether Envoy accepted it."""
        return self._request("POST", path) is not None

    def endpoints(self, cluster: str) -> dict[Path, bool]:
        """The sockets of a cluster, and whether Envoy considers each one healthy."""
        response = self._request("GET", "/clusters?format=json")
        clusters = json.loads(response)["cluster_statuses"] if response else []
        return {
            Path(host["address"]["pipe"]["path"]): _is_healthy(host["health_status"])
            for part in clusters
            if part["name"] == cluster
            for host in part.get("host_statuses", ())
        }

    def _request(self, method: str, path: str) -> str | None:
        connection = _Connection(self._socket)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        return text if response.status == HTTPStatus.OK else None


def _is_healthy(status: Any) -> bool:
    # Before its first check an endpoint counts as failed; EDS does not set the health.
    return not (status.get("failed_active_health_check") or status.get("pending_active_hc"))


class _Connection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
