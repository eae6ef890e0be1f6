"""Puts the parts together to a gRPC server: the one place that knows them all."""

import os
import signal
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from portal.oauth.v1 import client_type_pb2_grpc, provider_pb2_grpc
from portal.rest.v1 import portal_rest_pb2_grpc
from portal_server.catalog import Catalog
from portal_server.domain.errors import OperatorError
from portal_server.keyring import KeyRing
from portal_server.process import prepare, settle
from portal_server.retries import Forgetting, Retries
from portal_server.settings import Settings
from portal_server.storage.engine import open_engine
from portal_server.storage.schema import require_known
from portal_server.storage.store import Store
from portal_server.wire.interceptor import CallInterceptor
from portal_server.wire.oauth_v1 import client_type_service, provider_service
from portal_server.wire.pool import CallPool
from portal_server.wire.rest_v1 import dialect, service
from portal_server.wire.symbols import symbols

OPTIONS = [
    ("grpc.max_receive_message_length", 1 << 20),
    # Whatever headers Envoy lets in, 60 KiB, pass.
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.absolute_max_metadata_size", 96 << 10),
]


@dataclass(frozen=True, slots=True)
class Worker:
    """One of several servers of a start: its number from 0, and a socket of its own for Envoy."""

    number: int
    socket: Path


class PortTaken(OperatorError):
    """The server cannot listen where it is told to."""


class Server:
    """A gRPC server on a database that has this version's schema."""

    def __init__(self, settings: Settings, worker: Worker | None = None) -> None:
        """Bind the port, and the socket of a worker; nothing is served before `start`.

        `grpc_port` 0 takes any free port; `port` has it.

        Raises:
            PortTaken: somebody else listens there.
            SchemaMismatch: the database must be migrated first.
            PortalError: the database does not answer.
        """
        # A thread has at most one connection at a time; one is for what runs beside the calls.
        engine = open_engine(settings.database, settings.threads + 1)
        require_known(engine)
        self._store = Store(engine)
        self._stop_seconds = settings.stop_seconds
        retries = Retries(self._store, timedelta(seconds=settings.request_id_seconds))
        self._forgetting = Forgetting(retries)
        catalog = Catalog(self._store, retries)
        keyring = KeyRing(self._store, settings.admin_key_text)
        surfaces = {
            provider_service.NAME: provider_service.SURFACE,
            client_type_service.NAME: client_type_service.SURFACE,
            service.NAME: dialect.SURFACE,
        }
        pool = CallPool(settings.threads, settings.max_waiting)
        guard = CallInterceptor(keyring, surfaces, pool, open_reflection=settings.open_reflection)
        # Workers share the port; else a second server would share it without a word.
        options = [*OPTIONS, ("grpc.so_reuseport", int(worker is not None))]
        self._grpc = grpc.server(pool, interceptors=[guard], options=options)
        provider_pb2_grpc.add_ProviderServiceServicer_to_server(
            provider_service.ProviderService(catalog), self._grpc
        )
        client_type_pb2_grpc.add_ClientTypeServiceServicer_to_server(
            client_type_service.ClientTypeService(catalog), self._grpc
        )
        portal_rest_pb2_grpc.add_PortalRestServiceServicer_to_server(
            service.PortalRestService(catalog), self._grpc
        )
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        for name in ("", *surfaces):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection(
            (*surfaces, health.SERVICE_NAME, reflection.SERVICE_NAME), self._grpc, symbols()
        )
        address = f"{settings.host}:{settings.grpc_port}"
        try:
            self.port = self._grpc.add_insecure_port(address)
        except RuntimeError:
            raise PortTaken(f"cannot listen on {address}: is the port taken?") from None
        if worker:
            self._grpc.add_insecure_port(f"unix:{worker.socket}")

    def start(self) -> None:
        """Serve."""
        self._grpc.start()
        self._forgetting.start()

    def stop(self) -> None:
        """Take no new calls, wait for those in flight, close the database."""
        self._health.enter_graceful_shutdown()
        self._grpc.stop(self._stop_seconds).wait()
        self._forgetting.stop()
        self._store.close()


def serve(settings: Settings, worker: Worker | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises: see Server."""
    prepare(worker.number if worker else os.getpid(), one_core=settings.one_core)
    stopping = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    server = Server(settings, worker)
    settle()
    server.start()
    stopping.wait()
    server.stop()
