"""`portal up`: the whole system in the foreground, for development and small installations.

    supervisor (this process)
     +- portal serve    the gRPC server: PORTAL_WORKERS of them
     +- envoy           REST and gRPC for the outside

Each child has a process group of its own, so that a Ctrl-C reaches this process
alone, which stops them in order: Envoy first, so that no call finds the server
gone. A child that dies is started again.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from portal_server import edge
from portal_server.banner import banner
from portal_server.catalog import Catalog
from portal_server.domain.errors import OperatorError
from portal_server.domain.model import ProviderDraft, ProviderType, Slice
from portal_server.keyring import KeyRing
from portal_server.process import core_of
from portal_server.retries import AsIs, Retries
from portal_server.settings import Settings
from portal_server.storage.engine import open_engine
from portal_server.storage.schema import migrate
from portal_server.storage.store import Store

_READY_SECONDS = 30
# A child that dies sooner than this after its start, so often in a row, will die again.
_SHORT_LIFE_SECONDS = 5
_SHORT_LIVES = 3
# So often in a row no call may be in flight before Envoy is stopped.
_QUIET_LOOKS = 4
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

_EXAMPLE = ProviderDraft(
    name="Example Keycloak",
    type=ProviderType.KEYCLOAK,
    well_known_uri="http://localhost:8080/realms/example/.well-known/openid-configuration",
)


# Envoy's names; envoy.yaml has it count these.
_HEALTHY_SERVERS = "cluster.portal.membership_healthy"
_CALLS_IN_FLIGHT = "http.portal.downstream_rq_active"


class UpError(OperatorError):
    """The system cannot start or go on; the text is one line for people."""


def up(settings: Settings) -> None:
    """Run everything until SIGTERM or SIGINT.

    Raises:
        OperatorError, PortalError, OSError: it cannot start, or a child dies
            again and again. Nothing is left running.
    """
    stopping = _Stop()
    with TemporaryDirectory(prefix="portal-") as folder:
        sockets = [Path(folder) / f"{number}.sock" for number in range(settings.worker_count)]
        envoy = _Child("Envoy", edge.command(settings, sockets), cores=_cores_of_envoy(settings))
        servers = [_server(number, socket) for number, socket in enumerate(sockets)]
        _require_free_ports(settings)
        _run(settings, servers, envoy, stopping)


def _cores_of_envoy(settings: Settings) -> set[int]:
    """The cores that no server stays on, if there are any: a call's parts then run side by side."""
    cores = os.sched_getaffinity(0)
    if not settings.one_core:
        return cores
    return cores - {core_of(number) for number in range(settings.worker_count)} or cores


def _server(number: int, socket: Path) -> "_Child":
    command = [sys.executable, "-m", "portal_server", "serve"]
    return _Child(
        f"gRPC server {number + 1}", [*command, "--worker", str(number), "--socket", str(socket)]
    )


def _run(
    settings: Settings, servers: Sequence["_Child"], envoy: "_Child", stopping: "_Stop"
) -> None:
    key, provider_id = _prepare(settings)
    children = (*servers, envoy)
    try:
        for child in children:
            child.start()
        _await_ready(settings, children, stopping)
        if not stopping:
            print(banner(settings, key, provider_id), flush=True)
        while not stopping:
            for child in children:
                child.keep_alive()
            time.sleep(0.2)
    finally:

        def kill() -> None:
            for child in reversed(children):
                child.kill()

        stopping.by_force(kill)
        _drain(settings)
        envoy.stop(settings.stop_seconds)
        for server in servers:
            server.ask_to_stop()
        for server in servers:
            server.stop(settings.stop_seconds + 1)


class _Stop:
    """Whether a signal told us to stop. A second signal is for the impatient."""

    def __init__(self) -> None:
        self._asked = False
        self._force: Callable[[], object] = lambda: None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def __bool__(self) -> bool:
        return self._asked

    def by_force(self, force: Callable[[], object]) -> None:
        """Say what a second signal does."""
        self._force = force

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            self._force()
        self._asked = True


class _Child:
    """A process of ours."""

    def __init__(self, name: str, command: list[str], cores: Iterable[int] = ()) -> None:
        self._name = name
        self._cores = set(cores)
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._short_lives = 0

    def start(self) -> None:
        self._started = time.monotonic()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command,
                start_new_session=True,
                preexec_fn=self._begin,  # noqa: PLW1509 - a few system calls
            )
        except FileNotFoundError:
            raise UpError(f"{self._command[0]} is not installed") from None

    def _begin(self) -> None:
        # The child hears of our death even when we are killed outright.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if self._cores:
            os.sched_setaffinity(0, self._cores)

    def require_alive(self) -> None:
        """Raise UpError when it has ended."""
        if self._process and self._process.poll() is not None:
            raise UpError(f"{self._name} ended with status {self._process.returncode}")

    def keep_alive(self) -> None:
        """Start it again when it has ended, unless it keeps ending at once."""
        if self._process and self._process.poll() is not None:
            short = time.monotonic() - self._started < _SHORT_LIFE_SECONDS
            self._short_lives = self._short_lives + 1 if short else 0
            if self._short_lives > _SHORT_LIVES:
                self.require_alive()
            print(f"{self._name} ended and is started again", file=sys.stderr, flush=True)
            self.start()

    def ask_to_stop(self) -> None:
        """Let it end, and do not wait."""
        if self._process:
            self._process.terminate()

    def stop(self, seconds: float) -> None:
        """End it; by force when it takes longer than this."""
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process.wait()

    def kill(self) -> None:
        if self._process:
            self._process.kill()


def _require_free_ports(settings: Settings) -> None:
    ports = {
        "PORTAL_HTTP_PORT": (str(settings.host), settings.http_port),
        "PORTAL_GRPC_PORT": (str(settings.host), settings.grpc_port),
        "PORTAL_ENVOY_ADMIN_PORT": ("127.0.0.1", settings.envoy_admin_port),
    }
    if len({port for _, port in ports.values()}) < len(ports):
        raise UpError(f"{', '.join(ports)} must differ")
    for name, (host, port) in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                text = f"cannot listen on {host}:{port}: {error.strerror}; set {name}"
                raise UpError(text) from None


def _prepare(settings: Settings) -> tuple[str | None, int]:
    """Bring the database up: its schema, a first key (returned), an example provider."""
    engine = open_engine(settings.database)
    migrate(engine)
    store = Store(engine)
    try:
        catalog = Catalog(store, Retries(store))
        key = None if settings.admin_key else KeyRing(store).create_first("made by portal up")
        providers = catalog.list_providers((), Slice(limit=1)).items
        provider = providers[0] if providers else catalog.create_provider(_EXAMPLE, AsIs())
        return key, provider.id
    finally:
        store.close()


def _await_ready(settings: Settings, children: Sequence[_Child], stopping: _Stop) -> None:
    """Wait until Envoy answers and has found every server in good health."""
    admin = f"http://127.0.0.1:{settings.envoy_admin_port}"
    deadline = time.monotonic() + _READY_SECONDS
    while not stopping and _stat(admin, _HEALTHY_SERVERS) != settings.worker_count:
        for child in children:
            child.require_alive()
        if time.monotonic() > deadline:
            raise UpError(f"not ready after {_READY_SECONDS} s")
        time.sleep(0.05)


def _drain(settings: Settings) -> None:
    """Let Envoy close each connection after its call, take no new ones, and finish the calls."""
    admin = f"http://127.0.0.1:{settings.envoy_admin_port}"
    for order in ("drain_listeners?graceful&skip_exit", "drain_listeners"):
        if _http(f"{admin}/{order}", method="POST") != HTTPStatus.OK:
            return
    deadline = time.monotonic() + settings.stop_seconds
    quiet = 0
    # A call may be on its way on a connection that has not heard of the end yet.
    while time.monotonic() < deadline and quiet < _QUIET_LOOKS:
        quiet = 0 if _stat(admin, _CALLS_IN_FLIGHT) else quiet + 1
        time.sleep(0.05)


def _stat(admin: str, name: str) -> int | None:
    """A number that Envoy counts; None while it does not answer."""
    try:
        with urlopen(f"{admin}/stats?filter=^{name}$", timeout=1) as answer:  # noqa: S310
            return int(answer.read().split()[-1])
    except (OSError, IndexError, ValueError):
        return None


def _http(url: str, method: str = "GET") -> int | None:
    try:
        with urlopen(Request(url, method=method), timeout=1) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (URLError, OSError):
        return None
