"""Envoy alone, as `portal up` runs it, before small servers of a test's own."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from portal_server.run import edge, edge_tls
from portal_server.run.certificates import CertificateWatch
from portal_server.run.envoy_admin import Admin
from portal_server.run.settings import Settings
from tests.support.postgres import free_port

ECHO = "/portal.oauth.v1.ProviderService/GetProvider"


class Small:
    """A gRPC server on a socket that responds every call with its name, once it may."""

    def __init__(self, socket: Path, *, work: Callable[[], object] = lambda: None) -> None:
        self.socket = socket
        self.metadata: list[dict[str, Any]] = []
        self.remaining: list[float] = []
        self._work = work
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=[self])  # type: ignore[list-item]
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self.say(routing=True, ready=True)
        self._server.add_insecure_port(f"unix:{socket}")
        self._server.start()

    def service(self, details: Any) -> Any:
        """The handler of a call that is not of the health service."""
        if not details.method.startswith("/portal."):
            return None
        return grpc.unary_unary_rpc_method_handler(self._respond)

    def _respond(self, _request: bytes, context: Any) -> bytes:
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining.append(context.time_remaining())
        self._work()
        return self.socket.name.encode()

    def say(self, *, routing: bool, ready: bool) -> None:
        """Say of itself that it takes calls, that it is ready."""
        for name, good in (("portal.routing", routing), ("", ready)):
            status = health_pb2.HealthCheckResponse
            self.health.set(name, status.SERVING if good else status.NOT_SERVING)

    def stop(self, grace: float | None = None) -> None:
        self._server.stop(grace).wait()


class Door:
    """A running Envoy."""

    def __init__(self, folder: Path, max_connections: int = 1000, **settings: Any) -> None:
        self.folder = folder
        self.http_port, self.grpc_port = free_port(), free_port()
        self._settings = Settings.model_construct(
            http_port=self.http_port, grpc_port=self.grpc_port, **settings
        )
        self._command = edge.prepare(self._settings, folder, max_connections)
        self.certificates = (
            CertificateWatch(self._settings, partial(edge_tls.publish, folder))
            if self._settings.tls_cert
            else None
        )
        self.admin = Admin(folder / "admin.sock")
        edge.set_endpoints(folder, [])

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, env=edge.ENVIRONMENT)
        until(lambda: self.admin.stat("http.portal.downstream_rq_active") == 0)

    def send_calls_to(self, servers: Sequence[Small]) -> None:
        """Replace the servers that get calls, and wait until Envoy has found all healthy."""
        edge.set_endpoints(self.folder, [server.socket for server in servers])
        wanted = {server.socket: True for server in servers}
        clusters = ("portal", "streams", "ready")
        until(lambda: all(self.admin.endpoints(cluster) == wanted for cluster in clusters))

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            yield channel

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@contextmanager
def door(folder: Path, max_connections: int = 1000, **settings: Any) -> Iterator[Door]:
    """An Envoy without servers, with these settings."""
    running = Door(folder, max_connections, **settings)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def until(true: Callable[[], object], seconds: float = 10) -> float:
    """Wait until something is true; how many seconds it took."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds
        time.sleep(0.02)
    return time.monotonic() - start
