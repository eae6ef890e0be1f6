"""What we ask of Envoy's admin interface, over its socket."""

import json
import socket
from collections.abc import Collection
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

_TIMEOUT = 1.0  # seconds


class Admin:
    """Envoy's admin interface. It raises nothing: what is not answered is unknown."""

    def __init__(self, socket: Path) -> None:
        """`socket` is where Envoy listens, see edge.prepare."""
        self._socket = socket

    def stat(self, name: str) -> int | None:
        """A number that Envoy counts; None while it does not answer or does not count that."""
        return self.stats([name]).get(name)

    def stats(self, names: Collection[str]) -> dict[str, int]:
        """The numbers of these names that Envoy counts: all that it has of them."""
        found = {}
        for line in (self._ask("GET", "/stats") or "").splitlines():
            name, _, number = line.partition(": ")
            if name in names and number.isdecimal():
                found[name] = int(number)
        return found

    def post(self, path: str) -> bool:
        """Give an order; whether Envoy took it."""
        return self._ask("POST", path) is not None

    def endpoints(self, cluster: str) -> dict[Path, bool]:
        """The sockets that Envoy has in that cluster, and whether it has found each healthy."""
        answer = self._ask("GET", "/clusters?format=json")
        clusters = json.loads(answer)["cluster_statuses"] if answer else []
        return {
            Path(host["address"]["pipe"]["path"]): _is_healthy(host["health_status"])
            for part in clusters
            if part["name"] == cluster
            for host in part.get("host_statuses", ())
        }

    def _ask(self, method: str, path: str) -> str | None:
        connection = _Connection(self._socket)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        return text if answer.status == HTTPStatus.OK else None


def _is_healthy(status: Any) -> bool:
    # Before its first check an endpoint counts as failed, and is not EDS's to judge.
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
