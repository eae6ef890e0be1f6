"""The metrics of all processes, for Prometheus: OpenMetrics on a separate port.

Each server has its own series, with the label `server`: when it is replaced, only these begin at 0
again, which Prometheus expects. The page also has Envoy's counters and the certificate's expiry.

Whoever can connect can read it. It has no secrets, but the port is for Prometheus only. What
connections can cost is limited: their number, their time, and how often the page is collected.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from portal_server.run.envoy_admin import Admin
from portal_server.run.metrics_socket import fetch
from portal_server.run.settings import Settings

log = logging.getLogger("portal.metrics")

PATH = "/metrics"
MAX_CONNECTIONS = 8
MAX_CONNECTION_S = 10.0
"""How long a connection may take, from its start to the last byte of the response."""
_COLLECT_PERIOD_S = 1.0


class Sources:
    """Where the metrics come from.

    Args:
        servers: the sockets of the servers' metrics, by the number of the server.
        admin: Envoy.
        certificate_end: when the served certificate expires; None without TLS.
    """

    def __init__(
        self,
        servers: Callable[[], Mapping[int, Path]],
        admin: Admin,
        certificate_end: Callable[[], datetime | None],
    ) -> None:
        self._servers = servers
        self._admin = admin
        self._certificate_end = certificate_end

    def collect(self) -> Iterable[Metric]:
        """All metrics now."""
        merged: dict[str, Metric] = {}
        for number, path in self._servers().items():
            for metric in fetch(path):
                whole = merged.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type)
                )
                for sample in metric.samples:
                    labels = sample.labels | {"server": str(number)}
                    whole.add_sample(sample.name, labels, sample.value)
        yield from merged.values()
        for metric in text_string_to_metric_families(self._admin.prometheus()):
            metric.documentation = "See the documentation of Envoy."
            yield metric
        if end := self._certificate_end():
            yield GaugeMetricFamily(
                "portal_certificate_expiry_timestamp_seconds",
                "When the served certificate expires.",
                end.timestamp(),
            )


class MetricsPage:
    """Serves the page until `close`."""

    def __init__(self, settings: Settings, sources: Sources) -> None:
        """Listen. Raises: OSError, the port is in use."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(sources)
        self._lock = threading.Lock()
        self._content = b""
        self._collected = -_COLLECT_PERIOD_S
        is_ipv6 = isinstance(settings.metrics_host, IPv6Address)
        self._server = _Server(
            (str(settings.metrics_host), settings.metrics_port),
            self.content,
            socket.AF_INET6 if is_ipv6 else socket.AF_INET,
        )
        serve = self._server.serve_forever
        threading.Thread(target=serve, name="metrics-page", daemon=True).start()

    def content(self) -> bytes:
        """The page, collected at most once a second."""
        with self._lock:
            if time.monotonic() - self._collected >= _COLLECT_PERIOD_S:
                self._content = generate_latest(self._registry)  # type: ignore[no-untyped-call]
                self._collected = time.monotonic()
            return self._content

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS
    allow_reuse_address = True

    def __init__(
        self, address: tuple[str, int], content: Callable[[], bytes], family: socket.AddressFamily
    ) -> None:
        self.address_family = family
        self.content = content
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, if there are not too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and end it when its time is over."""
        timer = threading.Timer(MAX_CONNECTION_S, _end, (request,))
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._free.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """A connection that its caller ended early, or that took too long."""


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "portal"
    sys_version = ""
    timeout = MAX_CONNECTION_S

    def do_GET(self) -> None:
        """Send the page. Each connection has one request."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        content = self.server.content()
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", CONTENT_TYPE_LATEST)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: Prometheus asks every few seconds."""
