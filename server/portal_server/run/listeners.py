"""The addresses of a server: a Unix socket, a TCP port, or both."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2_grpc

from portal_server.domain.errors import OperatorError
from portal_server.run.services import Service
from portal_server.wire import health
from portal_server.wire.calls import register
from portal_server.wire.events import NoPool
from portal_server.wire.interceptors.admission import Admission
from portal_server.wire.reflection import add_reflection

OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", 1 << 20),
    # More than the 60 KiB of headers that Envoy accepts.
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.absolute_max_metadata_size", 96 << 10),
]

# The Unix socket has one caller, Envoy, which limits its own callers and connections.
_DIRECT = [
    *OPTIONS,
    ("grpc.max_allowed_incoming_connections", 512),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 5 * 60_000),
    ("grpc.max_connection_age_ms", 60 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
]

# How long to wait for sent responses to leave.
_FLUSH_S = 1.0


class CannotListen(OperatorError):
    """The server cannot listen on an address."""


class Listeners:
    """Serves the services, health and reflection on each address that is added."""

    def __init__(
        self, services: Sequence[Service], admission: Admission, health_: health.Health
    ) -> None:
        self.addresses: list[str] = []
        self._services = services
        self._admission = admission
        self._health = health_
        self._servers: list[grpc.Server] = []
        self._closed: list[threading.Event] = []

    def add_socket(self, path: Path) -> None:
        """Also listen on this Unix socket. Raises: CannotListen."""
        self._add(f"unix:{path}", OPTIONS)

    def add_port(self, address: str, tls: grpc.ServerCredentials | None, *, shared: bool) -> int:
        """Also listen on this TCP port; returns the port, which port 0 leaves to the system.

        A `shared` port may have other servers that share it.

        Raises:
            CannotListen: another process listens there.
        """
        return self._add(address, [*_DIRECT, ("grpc.so_reuseport", int(shared))], tls)

    def _add(
        self,
        address: str,
        options: Sequence[tuple[str, int]],
        tls: grpc.ServerCredentials | None = None,
    ) -> int:
        server = grpc.server(NoPool(), interceptors=[self._admission], options=options)
        for service in self._services:
            register(server, service.descriptor, service.servicer)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [service.name for service in self._services]
        add_reflection(server, (*names, health.NAME))
        try:
            port = (
                server.add_secure_port(address, tls) if tls else server.add_insecure_port(address)
            )
        except RuntimeError:
            raise CannotListen(f"cannot listen on {address}: is it in use?") from None
        self._servers.append(server)
        # The port may have been 0, for any free one.
        self.addresses.append(
            address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
        )
        return port

    def start(self) -> None:
        """Start serving."""
        for server in self._servers:
            server.start()

    def close(self, seconds: float) -> None:
        """Accept no calls anymore; those in flight may continue for so many seconds."""
        self._closed = [server.stop(seconds) for server in self._servers]

    def wait(self, busy: Callable[[], bool]) -> None:
        """After `close`: wait while calls are `busy`, then until their responses have left."""
        while busy() and not all(event.is_set() for event in self._closed):
            time.sleep(0.01)
        # Do not wait for connections whose caller does not acknowledge the GOAWAY.
        flushed = time.monotonic() + _FLUSH_S
        for server, event in zip(self._servers, self._closed, strict=True):
            if not event.wait(max(0, flushed - time.monotonic())):
                server.stop(None)
