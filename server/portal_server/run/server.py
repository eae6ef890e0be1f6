"""Assembles a server from its parts, and runs it."""

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from portal_server import tracing
from portal_server.catalog.keyring import KeyRing
from portal_server.catalog.last_uses import LastUses, LastUseTask
from portal_server.run.access_tokens import access_tokens
from portal_server.run.collector import collector
from portal_server.run.direct_tls import DirectTls
from portal_server.run.encryption_keys import vault_of
from portal_server.run.gauges import Gauges
from portal_server.run.listeners import CannotListen, Listeners
from portal_server.run.metrics_socket import MetricsSocket, path_beside
from portal_server.run.process import freeze_gc, schedule
from portal_server.run.readiness import Readiness
from portal_server.run.services import services_of
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
from portal_server.wire.interceptors.admission import Admission
from portal_server.wire.interceptors.auth import Authenticator
from portal_server.wire.interceptors.reflection import Reflection
from portal_server.wire.oauth_v1 import watch
from portal_server.wire.pool import Pool
from portal_server.wire.rates import Rates
from portal_server.wire.streams import Streams

if TYPE_CHECKING:
    from portal_server.run.traces import OtlpTracer

log = logging.getLogger(__name__)

# While draining, calls are served until none arrived for _QUIET_S, at most for _DRAIN_S.
_QUIET_S = 0.1
_DRAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Listen:
    """The Unix socket of a server, if any, and the number of the server, from 0.

    `servers` is how many share the requests of a caller.
    """

    socket: Path | None = None
    number: int = 0
    servers: int = 1


class _Task(Protocol):
    """What works in the background while the server serves."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Stop it."""


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
        tls = _direct_tls(settings)
        self._store = _open_store(settings)
        self._stop_seconds = settings.stop_seconds
        assembled = assemble(self._store, settings)
        cases = assembled.use_cases
        self._registrar = assembled.registrar
        self._reconciler = assembled.reconciler
        uses = LastUses(self._store)
        issuer_keys, tokens = access_tokens(settings)
        keyring = KeyRing(self._store, settings.admin_key_text, uses, tokens)
        self._callers = _callers(settings, listen, keyring)
        self._reflection = Reflection(keyring, self._callers, is_open=settings.open_reflection)
        self._streams = Streams(cases.audit_log, watch.encode)
        services = services_of(cases, keyring, self._streams)
        surfaces = {service.name: service.surface for service in services}
        self._health = health.Health(surfaces)
        authenticator = Authenticator(keyring, self._callers)
        admission = Admission(surfaces, self._callers, authenticator, self._reflection)
        self._listeners = Listeners(services, admission, self._health)
        self.port = self._listen(settings, listen, tls)
        self._readiness = self._readiness_of(listen, tls)
        # They stop in the opposite order, so the sealer seals what the others write at their end.
        tasks = (
            assembled.sealer,
            assembled.reconciler,
            assembled.expiry,
            LastUseTask(uses),
            issuer_keys,
            self._metrics(settings, listen),
        )
        self._background: tuple[_Task, ...] = tuple(task for task in tasks if task)

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses on which it listens."""
        return self._listeners.addresses

    @property
    def _pools(self) -> tuple[Pool, ...]:
        return *self._callers.pools, *self._reflection.pools

    def _listen(self, settings: Settings, listen: Listen, tls: DirectTls | None) -> int:
        """Bind the addresses; returns the direct port, or 0 without one."""
        if listen.socket:
            self._listeners.add_socket(listen.socket)
        if settings.direct_grpc_port is None:
            if not listen.socket:
                text = "no address to listen on: use --socket or set PORTAL_DIRECT_GRPC_PORT"
                raise CannotListen(text)
            return 0
        return self._listeners.add_port(
            settings.address(settings.direct_grpc_port),
            tls.credentials if tls else None,
            # Servers of one `portal up` share the port; those of another one get an error.
            shared=listen.socket is not None,
        )

    def _readiness_of(self, listen: Listen, tls: DirectTls | None) -> Readiness:
        """The readiness, and the upkeep that is done at the same time."""
        # `portal up` warns itself before the certificate expires.
        tls_tasks = tls.tasks(warn=not listen.socket) if tls else ()
        upkeep = Upkeep(
            self._pools, (self._health, self._streams), (self._registrar.close_idle, *tls_tasks)
        )
        return Readiness(
            query=lambda call: self._store.read_latest(call, lambda tx: tx.api_keys.find("")),
            commit_age=self._store.commit_age,
            report=lambda ready: self._health.set_ready(ready=ready),
            each_time=upkeep.look,
        )

    def _metrics(self, settings: Settings, listen: Listen) -> MetricsSocket | None:
        """The metrics for `portal up`, which is the only one that starts servers on sockets."""
        if not listen.socket:
            return None
        database = settings.database
        file = Path(database.database or "") if database.get_backend_name() == "sqlite" else None
        is_first = listen.number == 0
        gauges = Gauges(self._pools, self._streams, self._store, file=file, reads_rows=is_first)
        return MetricsSocket(path_beside(listen.socket), gauges.refresh)

    def start(self) -> None:
        """Start serving."""
        self._listeners.start()
        self._streams.start()
        self._readiness.start()
        for task in self._background:
            task.start()

    def stop(self) -> None:
        """Drain: report that the server is stopping, finish all calls, close the database."""
        self._readiness.stop()
        self._reconciler.request_stop()
        self._health.drain()
        self._serve_until_quiet()
        self._health.end_watches()
        self._streams.end()
        for pool in self._reflection.pools:
            pool.cancel()
        self._listeners.close(self._stop_seconds)
        self._health.cancel_watches()
        self._streams.cancel()
        self._listeners.wait(lambda: any(pool.in_flight for pool in self._pools))
        for pool in self._pools:
            pool.stop()
        for task in reversed(self._background):
            task.stop()
        self._registrar.close()
        self._store.close()

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


def _direct_tls(settings: Settings) -> DirectTls | None:
    """The TLS of the direct port. Raises: SettingsError, CertificateError."""
    if settings.direct_grpc_port is None:
        return None
    settings.require_protected()
    return DirectTls(settings) if settings.tls_cert else None


def _open_store(settings: Settings) -> Store:
    """The store on a database with this schema. Raises: see Server."""
    engine = open_connected(settings.database, connections_of(settings))
    require_known(engine)
    vault = vault_of(settings)
    require_keys(engine, vault)
    return Store(engine, vault, _recent(settings))


def _callers(settings: Settings, listen: Listen, keyring: KeyRing) -> Callers:
    """The queues and threads of all API keys."""
    rates = Rates(settings.key_requests_per_second, settings.key_burst, listen.servers)
    callers = Callers(settings.threads, settings.max_waiting, rates)
    for digest, caller in keyring.known_digests().items():
        callers.add(digest, caller)
    return callers


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
    found = collector(settings)
    if not found:
        return None
    # OpenTelemetry takes 20 MiB and a tenth of a second of CPU.
    from portal_server.run.traces import OtlpTracer  # noqa: PLC0415

    tracer = OtlpTracer(found, settings.trace_sample)
    tracing.use(tracer)
    return tracer
