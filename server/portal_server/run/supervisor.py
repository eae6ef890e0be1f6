"""Starts the servers and Envoy, keeps them alive, stops them in order."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from portal_server.domain.errors import OperatorError
from portal_server.run.children import Child
from portal_server.run.envoy_admin import Admin
from portal_server.run.rejections import Rejections
from portal_server.run.servers import STOP_MARGIN_SECONDS, Backoff, Servers
from portal_server.run.signals import Signals

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
_READY_SECONDS = 30.0
# When one server is up, the others have so long to be up, too, before we say so.
_OTHERS_SECONDS = 5.0
# An Envoy that does not answer for so long on its admin socket is replaced.
_SILENT_SECONDS = 10.0
# One that ends sooner than Backoff's long life so often in a row will end again.
_SHORT_LIVES = 3
_ENVOY_STOP_SECONDS = 2.0
# So often in a row no call may be in flight before Envoy is stopped.
_QUIET_LOOKS = 4

# Envoy's names; envoy.yaml has it count these.
_CALLS = "http.portal.downstream_rq_active"
_STREAMS = "cluster.streams.upstream_rq_active"


class SupervisorError(OperatorError):
    """The system cannot start or go on."""


@dataclass(frozen=True)
class Edge:
    """How Envoy is run: its command, its environment, its cores, what its counters mean."""

    command: Sequence[str]
    environment: Mapping[str, str]
    cores: AbstractSet[int]
    rejections: Mapping[str, str]


class _Envoy:
    """The process of Envoy: one that ends or is silent is replaced."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._backoff = Backoff()
        self._answered = time.monotonic()
        self._patience = _READY_SECONDS
        self.child: Child | None = None

    def look(self, *, answers: bool) -> None:
        """Start it again when it must be. Raises SupervisorError when it keeps ending."""
        child = self.child
        if child is None:
            if self._backoff.over:
                self.child = Child(self._edge.command, self._edge.environment, self._edge.cores)
                self._answered, self._patience = time.monotonic(), _READY_SECONDS
            return
        if answers:
            self._answered, self._patience = time.monotonic(), _SILENT_SECONDS
        end = child.end
        if not end and time.monotonic() - self._answered >= self._patience:
            log.warning("Envoy has not answered for %.0f s and is killed", self._patience)
            child.kill()
            child.wait(_ENVOY_STOP_SECONDS)
            end = child.end
        if end:
            delay = self._backoff.after(child.age)
            if self._backoff.short_lives > _SHORT_LIVES:
                raise SupervisorError(f"Envoy {end}")
            log.warning("Envoy %s; it is started again in %g s", end, delay)
            self.child = None


class Supervisor:
    """The servers and Envoy of one start."""

    def __init__(
        self, servers: Servers, edge: Edge, admin: Admin, signals: Signals, stop_seconds: float
    ) -> None:
        self._servers = servers
        self._admin = admin
        self._envoy = _Envoy(edge)
        self._rejections = Rejections(admin, edge.rejections)
        self._signals = signals
        self._stop_seconds = stop_seconds

    def run(self, when_up: Callable[[], object]) -> None:
        """Run everything until a signal; `when_up` is called once calls are served.

        Raises:
            OperatorError: it cannot start or go on. Nothing is left running.
        """
        try:
            if self._start():
                when_up()
            while not self._signals.stop:
                self._look()
        finally:
            self._signals.by_force(self._kill)
            self._stop()

    def _look(self) -> None:
        if self._signals.take_restart():
            self._servers.restart()
        self._servers.look()
        # Not before there is a server: until then nobody can connect, instead of getting errors.
        if self._envoy.child or self._servers.listening:
            self._envoy.look(answers=self._servers.seen or not self._servers.listening)
        self._rejections.look()
        time.sleep(_LOOK_SECONDS)

    def _start(self) -> bool:
        """Wait until calls are served; False when a signal came first."""
        start = time.monotonic()
        first: float | None = None
        while not self._signals.stop:
            self._look()
            now = time.monotonic()
            if self._servers.healthy:
                first = first or now
                if self._servers.settled or now - first >= _OTHERS_SECONDS:
                    return True
            elif now - start >= _READY_SECONDS:
                raise SupervisorError(f"not ready after {_READY_SECONDS:.0f} s")
        return False

    def _stop(self) -> None:
        """End everything, Envoy first, so that no call finds the server gone."""
        deadline = time.monotonic() + self._stop_seconds
        self._drain(deadline)
        if envoy := self._envoy.child:
            envoy.terminate()
            envoy.wait(_ENVOY_STOP_SECONDS)
        servers = self._servers.children
        for child in servers:
            child.terminate()
        deadline = max(deadline, time.monotonic() + STOP_MARGIN_SECONDS)
        for child in servers:
            child.wait(deadline - time.monotonic())

    def _kill(self) -> None:
        for child in (self._envoy.child, *self._servers.children):
            if child:
                child.kill()

    def _drain(self, deadline: float) -> None:
        """Let Envoy close each connection after its call, take no new ones, finish the calls."""
        for order in ("/drain_listeners?graceful&skip_exit", "/drain_listeners"):
            if not self._admin.post(order):
                return
        quiet = 0
        # A call may be on its way on a connection that has not heard of the end yet.
        while time.monotonic() < deadline and quiet < _QUIET_LOOKS:
            quiet = 0 if self._in_flight() else quiet + 1
            time.sleep(0.05)

    def _in_flight(self) -> bool:
        """Whether there is a call that will end: health and reflection streams may last."""
        found = self._admin.stats((_CALLS, _STREAMS))
        return found.get(_CALLS, 0) > found.get(_STREAMS, 0)
