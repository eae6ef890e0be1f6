"""The metrics of a server, for `portal up`: JSON on a Unix socket.

Whoever connects gets the current values, and the connection is closed. The folder of the socket
is private.
"""

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

log = logging.getLogger("portal.metrics")

_TIMEOUT_S = 2.0
_CHUNK = 1 << 16


def path_beside(server: Path) -> Path:
    """The socket of the metrics of the server with this socket."""
    return server.with_suffix(".metrics")


class MetricsSocket:
    """Serves the metrics until `stop`.

    `refresh` is called before each response, and returns what the response has.
    """

    def __init__(self, path: Path, refresh: Callable[[], Iterable[CollectorRegistry]]) -> None:
        self._path = path
        self._refresh = refresh
        self._socket = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        self._socket.bind(os.fspath(path))
        self._socket.listen(4)
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and remove the socket."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(_TIMEOUT_S)
                    connection.sendall(_encoded(self._refresh()))
                except Exception as error:  # noqa: BLE001 - the next request gets the metrics
                    log.warning("the metrics were not read: %s", type(error).__name__)


def fetch(path: Path) -> list[Metric]:
    """The metrics of a server; empty if it does not respond."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(os.fspath(path))
            content = b"".join(iter(lambda: connection.recv(_CHUNK), b""))
            return [_metric(part) for part in json.loads(content)]
    except (OSError, ValueError):
        return []


def _encoded(registries: Iterable[CollectorRegistry]) -> bytes:
    return json.dumps(
        [
            [
                metric.name,
                metric.documentation,
                metric.type,
                [
                    [s.name, s.labels, s.value]
                    for s in metric.samples
                    if not s.name.endswith("_created")
                ],
            ]
            for registry in registries
            for metric in registry.collect()
        ]
    ).encode()


def _metric(part: Any) -> Metric:
    name, documentation, type_, samples = part
    metric = Metric(name, documentation, type_)
    for sample_name, labels, value in samples:
        metric.add_sample(sample_name, labels, value)
    return metric
