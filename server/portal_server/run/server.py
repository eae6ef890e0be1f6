"""Assembles the gRPC server: the only module that knows all its parts."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from portal_server import tracing
from portal_server.catalog.keyring import KeyRing
from portal_server.catalog.last_uses import LastUses, LastUseTask
from portal_server.domain.errors import OperatorError
from portal_server.run.access_tokens import access_tokens
from portal_server.run.direct_tls import DirectTls
from portal_server.run.encryption_keys import vault_of
from portal_server.run.gauges import Gauges
from portal_server.run.metrics_socket import MetricsSocket, path_beside
from portal_server.run.process import freeze_gc, schedule
from portal_server.run.readiness import Readiness
from portal_server.run.settings import Settings
from portal_server.run.upkeep import Upkeep
from portal_server.run.use_cases import Assembled, assemble
from portal_server.run.workers import connections_of
from portal_server.storage.sql.engine import open_engine
from portal_server.storage.sql.first_connection import open_connected
from portal_server.storage.sql.schema import require_known
from portal_server.storage.store import Recent, Store
from portal_server.storage.stored_secrets import require_keys
from portal_server.wire import health
from portal_server.wire.callers import Callers
from portal_server.wire.calls import register
from portal_server.wire.events import NoPool
from portal_server.wire.interceptors.admission import Admission
from portal_server.wire.interceptors.auth import Authenticator
from portal_server.wire.interceptors.errors import rejection_of
from portal_server.wire.interceptors.reflection import Reflection
from portal_server.wire.oauth_v1 import (
    api_keys,
    audit,
    client_types,
    clients,
    providers,
    system,
    watch,
)
from portal_server.wire.pool import Pool
from portal_server.wire.rates import Rates
from portal_server.wire.reflection_pool import reflection_pool
from portal_server.wire.rest_v1 import dialect, service
from portal_server.wire.streams import Streams

if TYPE_CHECKING:
    from portal_server.run.traces import OtlpTracer

log = logging.getLogger(__name__)

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

# While draining, calls are served until none arrived for _QUIET_S, at most for _DRAIN_S.
_QUIET_S = 0.1
_DRAIN_S = 0.5
# How long the server waits for sent responses to leave before it stops.
_FLUSH_S = 1.0


@dataclass(frozen=True, slots=True)
class Listen:
    """The Unix socket of a server, if any, and the number of the server, from 0.

    `servers` is how many share the requests of a caller.
    """

    socket: Path | None = None
    number: int = 0
    servers: int = 1


class CannotListen(OperatorError):
    """The server cannot listen on an address."""


class Server:
    """A gRPC server on a database that has this version's schema."""

    def __init__(
        self,
        settings: Settings,
        listen: Listen | None = None,
        assemble: Callable[[Store, Settings], Assembled] = assemble,
    ) -> None:
        """Bind the socket and the direct port, if any; nothing is served before `start`.

        `direct_grpc_port` 0 selects a free port; `port` has it. On the direct port only
        the server limits callers: nothing limits the memory of unfinished requests.

        Raises:
            CannotListen: another process listens there, or no address is set.
            CertificateError: the files of TLS cannot be used.
            SettingsError: the direct port would be open to a network without TLS, or the
                settings of access tokens are incomplete.
            CannotConnect: PostgreSQL rejects the connection.
            SchemaMismatch: the database must be migrated first.
            OperatorError: the encryption keys cannot be read, or one is missing.
            PortalError: the database does not respond.
        """
        listen = listen or Listen()
        is_direct = settings.direct_grpc_port is not None
        if is_direct:
            settings.require_protected()
        tls = DirectTls(settings) if is_direct and settings.tls_cert else None
        engine = open_connected(settings.database, connections_of(settings))
        require_known(engine)
        vault = vault_of(settings)
        require_keys(engine, vault)
        self._store = Store(engine, vault, _recent(settings))
        self._stop_seconds = settings.stop_seconds
        assembled = assemble(self._store, settings)
        self._use_cases = assembled.use_cases
        self._expiry = assembled.expiry
        self._reconciler = assembled.reconciler
        self._registrar = assembled.registrar
        self._sealer = assembled.sealer
        uses = LastUses(self._store)
        self._last_uses = LastUseTask(uses)
        self._issuer_keys, tokens = access_tokens(settings)
        keyring = KeyRing(self._store, settings.admin_key_text, uses, tokens)
        self._surfaces = {
            providers.SERVICE.full_name: providers.SURFACE,
            client_types.SERVICE.full_name: client_types.SURFACE,
            clients.SERVICE.full_name: clients.SURFACE,
            audit.SERVICE.full_name: audit.SURFACE,
            watch.SERVICE.full_name: watch.SURFACE,
            system.SERVICE.full_name: system.SURFACE,
            api_keys.SERVICE.full_name: api_keys.SURFACE,
            service.SERVICE.full_name: dialect.SURFACE,
        }
        rates = Rates(settings.key_requests_per_second, settings.key_burst, listen.servers)
        self._callers = Callers(settings.threads, settings.max_waiting, rates)
        for digest, caller in keyring.known_digests().items():
            self._callers.add(digest, caller)
        self._reflection = Reflection(keyring, self._callers, is_open=settings.open_reflection)
        authenticator = Authenticator(keyring, self._callers)
        self._admission = Admission(self._surfaces, self._callers, authenticator, self._reflection)
        self._health = health.Health(self._surfaces, rejection_of(f"/{health.NAME}/Watch"))
        tasks: list[Callable[[], object]] = [self._registrar.close_idle]
        if tls:
            # Under `portal up`, that warns.
            tasks += tls.tasks(warn=not listen.socket)
        self._streams = Streams(self._use_cases.audit_log, watch.encode)
        self._watch = watch.WatchService(self._use_cases, keyring, self._streams)
        self._upkeep = Upkeep(self._pools, (self._health, self._streams), tasks)
        self._readiness = Readiness(
            query=lambda call: self._store.read_latest(call, lambda tx: tx.api_keys.find("")),
            commit_age=self._store.commit_age,
            report=lambda ready: self._health.set_ready(ready=ready),
            each_time=self._upkeep.look,
        )
        self._metrics = self._metrics_of(listen, settings)
        self._servers: list[grpc.Server] = []
        self.addresses: list[str] = []
        self.port = 0
        if listen.socket:
            self._listen(f"unix:{listen.socket}", OPTIONS)
        if settings.direct_grpc_port is not None:
            # Servers of one `portal up` share the port; those of another one get an error.
            options = [*_DIRECT, ("grpc.so_reuseport", int(listen.socket is not None))]
            address = settings.address(settings.direct_grpc_port)
            self.port = self._listen(address, options, tls.credentials if tls else None)
        if not self._servers:
            raise CannotListen(
                "no address to listen on: use --socket or set PORTAL_DIRECT_GRPC_PORT"
            )

    def _listen(
        self,
        address: str,
        options: Sequence[tuple[str, int]],
        tls: grpc.ServerCredentials | None = None,
    ) -> int:
        """Also listen on this address; returns the port."""
        server = grpc.server(NoPool(), interceptors=[self._admission], options=options)
        cases = self._use_cases
        register(server, providers.SERVICE, providers.ProviderService(cases))
        register(server, client_types.SERVICE, client_types.ClientTypeService(cases))
        register(server, clients.SERVICE, clients.ClientService(cases))
        register(server, audit.SERVICE, audit.AuditService(cases))
        register(server, watch.SERVICE, self._watch)
        register(server, system.SERVICE, system.SystemService(cases))
        register(server, api_keys.SERVICE, api_keys.ApiKeyService(cases.api_keys))
        register(server, service.SERVICE, service.PortalRestService(cases))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (*self._surfaces, health.NAME, reflection.SERVICE_NAME), server, reflection_pool()
        )
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

    @property
    def _pools(self) -> tuple[Pool, ...]:
        return *self._callers.pools, *self._reflection.pools

    def start(self) -> None:
        """Start serving."""
        for server in self._servers:
            server.start()
        self._expiry.start()
        self._last_uses.start()
        if self._issuer_keys:
            self._issuer_keys.start()
        self._reconciler.start()
        self._sealer.start()
        self._streams.start()
        self._readiness.start()
        if self._metrics:
            self._metrics.start()

    def _metrics_of(self, listen: Listen, settings: Settings) -> MetricsSocket | None:
        if not listen.socket:
            return None
        database = settings.database
        file = Path(database.database or "") if database.get_backend_name() == "sqlite" else None
        first = listen.number == 0
        gauges = Gauges(self._pools, self._store, file=file, reads_rows=first)
        return MetricsSocket(path_beside(listen.socket), gauges.refresh)

    def stop(self) -> None:
        """Drain: report that the server is stopping, finish all calls, close the database."""
        self._readiness.stop()
        self._reconciler.stop(0)
        self._health.drain()
        self._serve_until_quiet()
        self._health.end_watches()
        self._streams.end()
        for pool in self._reflection.pools:
            pool.cancel()
        stopped = [server.stop(self._stop_seconds) for server in self._servers]
        self._health.cancel_watches()
        self._streams.cancel()
        # Do not wait for connections whose caller does not acknowledge the GOAWAY.
        flushed = self._await_calls(stopped)
        for server, event in zip(self._servers, stopped, strict=True):
            if not event.wait(max(0, flushed - time.monotonic())):
                server.stop(None)
        for pool in self._pools:
            pool.stop()
        if self._metrics:
            self._metrics.stop()
        self._expiry.stop()
        self._last_uses.stop()
        if self._issuer_keys:
            self._issuer_keys.stop()
        self._reconciler.stop(_FLUSH_S)
        self._registrar.close()
        self._sealer.stop()
        self._store.close()

    def _await_calls(self, stopped: Sequence[threading.Event]) -> float:
        """Wait for the calls in flight; returns the time until which responses may be sent."""
        while any(p.in_flight for p in self._pools) and not all(e.is_set() for e in stopped):
            time.sleep(0.01)
        return time.monotonic() + _FLUSH_S

    def _serve_until_quiet(self) -> None:
        """Continue to serve until callers have noticed that the server is stopping."""
        end = time.monotonic() + _DRAIN_S
        quiet_since, offered = time.monotonic(), -1
        while (now := time.monotonic()) < end and now - quiet_since < _QUIET_S:
            time.sleep(0.01)
            calls = self._callers.pools
            so_far = sum(pool.offered for pool in calls)
            if so_far != offered or any(pool.in_flight for pool in calls):
                quiet_since, offered = time.monotonic(), so_far


def _recent(settings: Settings) -> Recent | None:
    """The standby for reads; it may be away."""
    url = settings.standby
    if url is None:
        return None
    engine = open_engine(url, connections_of(settings))
    return Recent(engine, settings.read_max_age_seconds)


def serve(settings: Settings, listen: Listen) -> None:
    """Serve until SIGTERM or SIGINT. Raises: see Server."""
    schedule(listen.number if listen.socket else os.getpid(), one_core=settings.one_core)
    # Before the first thread starts: all threads inherit the mask. A Python handler could run too
    # late: a signal that arrives just before a wait without a timeout does not end it.
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    tracer = _tracer(settings)
    server = Server(settings, listen)
    freeze_gc()
    server.start()
    log.info("serving on %s", ", ".join(server.addresses))
    signal.sigwait(stops)
    server.stop()
    if tracer:
        tracer.stop()


def _tracer(settings: Settings) -> "OtlpTracer | None":
    """The tracer of this process, if there is a collector."""
    if not settings.otlp_endpoint:
        return None
    # OpenTelemetry takes 20 MiB and a tenth of a second of CPU.
    from portal_server.run.traces import OtlpTracer  # noqa: PLC0415

    tracer = OtlpTracer(settings.otlp_endpoint, settings.trace_sample)
    tracing.use(tracer)
    return tracer
