"""`portal up`: the whole system in the foreground, for development and small installations.

    supervisor (this process)
     +- portal serve    the gRPC server: PORTAL_WORKERS of them, on Unix sockets
     +- envoy           the public ports: REST and gRPC

Each child has its own process group, so that Ctrl-C reaches only this process, which
stops them in order. A private folder has the files that they share:

    envoy.json                 Envoy's configuration
    endpoints.json             the sockets of the servers
    edge.log                   a pipe with the lines of Envoy's log
    admin.sock                 Envoy's admin interface
    server.pem, server.json    with TLS: the certificate and its key, and their name in Envoy
    callers.pem, callers.json  with mutual TLS: the CAs of callers, and their name in Envoy
    <server>-<generation>.sock, .metrics
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine

from portal_server.catalog.api_keys import ApiKeys
from portal_server.domain.calls import Call, Origin
from portal_server.domain.errors import OperatorError
from portal_server.domain.lists import PageRange
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.run import edge, edge_tls
from portal_server.run.access_tokens import token_rules
from portal_server.run.banner import Prepared, banner
from portal_server.run.certificates import CERT, CLIENT_CA, KEY, CertificateWatch
from portal_server.run.edge_log import EdgeLog
from portal_server.run.encryption_keys import create_missing_key, vault_of
from portal_server.run.envoy_admin import Admin
from portal_server.run.first_key import create_first_key
from portal_server.run.metrics_page import MetricsPage, Sources
from portal_server.run.metrics_socket import path_beside
from portal_server.run.process import raise_open_files
from portal_server.run.servers import Servers
from portal_server.run.settings import Settings
from portal_server.run.signals import Signals
from portal_server.run.supervisor import Edge, Supervisor
from portal_server.run.use_cases import assemble
from portal_server.run.workers import cores_of_envoy, worker_count
from portal_server.storage.sql.first_connection import open_connected
from portal_server.storage.sql.migrations import migrate
from portal_server.storage.store import Store
from portal_server.storage.stored_secrets import require_keys

log = logging.getLogger(__name__)

# Maximum length of the path of a Unix socket (unix(7): 108 bytes including a NUL).
_LONGEST_SOCKET_PATH = 107
_LONGEST_SOCKET_NAME = len("63-9999999999.metrics")

# Open files of Envoy: each connection of a caller is one.
_OPEN_FILES = 65_536
_MAX_CONNECTIONS = 16_384
# In addition to callers' connections: Envoy's own files, and its connections to a server.
_RESERVED_FILES = 256
_RESERVED_FILES_FOR_A_SERVER = 100

_EXAMPLE = ProviderDraft(
    name="Example Keycloak",
    type=ProviderType.KEYCLOAK,
    well_known_uri="http://localhost:8080/realms/example/.well-known/openid-configuration",
)


class UpError(OperatorError):
    """The system cannot start; the text is one line."""


def up(settings: Settings) -> None:
    """Run everything until SIGTERM or SIGINT; SIGHUP restarts the servers.

    Raises:
        OperatorError, PortalError, OSError: it cannot start. No process is left running.
    """
    settings.require_protected()
    token_rules(settings)
    signals = Signals()
    with _run_folder() as folder:
        certificates = _certificates(settings, folder)
        _require_free_ports(settings)
        engine = open_connected(settings.database)
        try:
            workers = worker_count(settings, engine)
            command = edge.prepare(settings, folder, _max_connections(workers))
            found = _prepare(settings, engine)
        finally:
            engine.dispose()
        admin = Admin(folder / "admin.sock")
        servers = Servers(
            workers,
            folder,
            admin,
            partial(edge.set_endpoints, folder),
            settings.stop_seconds,
        )
        cores = cores_of_envoy(workers, one_core=settings.one_core)
        envoy = Edge(command, edge.ENVIRONMENT, cores, edge.REJECTIONS)
        tasks = (certificates.look, certificates.warn) if certificates else ()
        supervisor = Supervisor(servers, envoy, admin, signals, settings.stop_seconds)
        identity = certificates.identity if certificates else None
        sources = Sources(
            lambda: {n: path_beside(path) for n, path in servers.by_number.items()},
            admin,
            lambda: certificates.identity.expires if certificates else None,
        )
        page = _metrics_page(settings, sources)
        edge_log = EdgeLog(folder / edge.LOG)
        try:
            supervisor.run(lambda: print(banner(settings, found, identity), flush=True), tasks)
        finally:
            edge_log.close()
            if page:
                page.close()


def _metrics_page(settings: Settings, sources: Sources) -> MetricsPage | None:
    """Serve the metrics, unless the port is 0, or it has its default and is in use.

    Raises:
        UpError: the port of the setting is in use.
    """
    if not settings.metrics_port:
        return None
    try:
        return MetricsPage(settings, sources)
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        text = f"cannot listen on {where}: {error.strerror}; set PORTAL_METRICS_PORT"
        if "metrics_port" in settings.model_fields_set:
            raise UpError(text) from None
        log.warning("no metrics: %s", text)
        return None


def _certificates(settings: Settings, folder: Path) -> CertificateWatch | None:
    """Copy the certificate into the folder, now and whenever it changes."""
    if not settings.tls_cert:
        return None
    watch = CertificateWatch(settings, partial(edge_tls.publish, folder))
    # The servers use the copy: it is checked, so a server that starts later can use it.
    os.environ[CERT] = os.environ[KEY] = str(edge_tls.identity_file(folder))
    if settings.tls_client_ca:
        os.environ[CLIENT_CA] = str(edge_tls.client_ca_file(folder))
    return watch


@contextmanager
def _run_folder() -> Iterator[Path]:
    """A private folder that is deleted at the end."""
    try:
        created = TemporaryDirectory(prefix="portal-")
    except OSError:
        raise UpError("no temporary folder is writable: set TMPDIR to a writable folder") from None
    with created as name:
        if len(os.fsencode(name)) + 1 + _LONGEST_SOCKET_NAME > _LONGEST_SOCKET_PATH:
            text = f"the path {name} is too long for Unix sockets: set TMPDIR to a shorter path"
            raise UpError(text)
        yield Path(name)


def _max_connections(workers: int) -> int:
    """The maximum number of connections of Envoy, from the limit of open files."""
    files = raise_open_files(_OPEN_FILES)
    reserve = _RESERVED_FILES + _RESERVED_FILES_FOR_A_SERVER * workers
    possible = min(files - reserve, _MAX_CONNECTIONS)
    if possible < 1:
        raise UpError(
            f"the limit of open files is {files} and must be more than {reserve}: raise it"
        )
    if possible < _MAX_CONNECTIONS:
        log.warning(
            "at most %d connections, not %d: the limit of open files is %d, and %d are reserved",
            possible,
            _MAX_CONNECTIONS,
            files,
            reserve,
        )
    return possible


def _require_free_ports(settings: Settings) -> None:
    ports = {"PORTAL_HTTP_PORT": settings.http_port, "PORTAL_GRPC_PORT": settings.grpc_port}
    # 0 stands for any free port.
    if settings.direct_grpc_port:
        ports["PORTAL_DIRECT_GRPC_PORT"] = settings.direct_grpc_port
    if len(set(ports.values())) < len(ports):
        raise UpError(f"{', '.join(ports)} must differ")
    family = socket.AF_INET if isinstance(settings.host, IPv4Address) else socket.AF_INET6
    for name, port in ports.items():
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((str(settings.host), port))
            except OSError as error:
                address = settings.address(port)
                text = f"cannot listen on {address}: {error.strerror}; set {name}"
                raise UpError(text) from None


def _prepare(settings: Settings, engine: Engine) -> Prepared:
    """Prepare the database: the schema, the first API key, and an example provider if set."""
    create_missing_key(settings, engine)
    vault = vault_of(settings)
    require_keys(engine, vault)
    migrate(engine, seal=vault.seal)
    store = Store(engine, vault)
    try:
        key = None
        if not settings.admin_key:
            key = create_first_key(ApiKeys(store), settings.key_file)
        providers = assemble(store, settings).use_cases.providers
        call = Call(origin=Origin("portal up"))
        first = providers.list(call, (), PageRange(limit=1)).items
        if first:
            return Prepared(key, first[0].id)
        if settings.development:
            example = providers.create(call, _EXAMPLE)
            return Prepared(key, example.id, example_created=True)
        return Prepared(key, None)
    finally:
        store.close()
