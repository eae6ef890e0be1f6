"""Starts the servers and Envoy, keeps them running, and stops them in order."""

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
# When one server is healthy, how long to wait for the others before startup is complete.
_OTHERS_SECONDS = 5.0
# An Envoy that does not respond on its admin socket for this long is replaced.
_SILENT_SECONDS = 10.0
# After this many short lives in a row (see Backoff) Envoy is considered broken.
_SHORT_LIVES = 3
_ENVOY_STOP_SECONDS = 2.0
# Number of consecutive checks without a call in flight before Envoy is stopped.
_QUIET_LOOKS = 4

# Names of Envoy's counters; envoy.yaml includes them in the statistics.
_CALLS = "http.portal.downstream_rq_active"
_STREAMS = "cluster.streams.upstream_rq_active"


class SupervisorError(OperatorError):
    """The system cannot start or continue."""


@dataclass(frozen=True)
class Edge:
    """How to run Envoy: command, environment, cores, and the texts for its counters."""

    command: Sequence[str]
    environment: Mapping[str, str]
    cores: AbstractSet[int]
    rejections: Mapping[str, str]


class _Envoy:
    """The process of Envoy. It is replaced if it exits or does not respond."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._backoff = Backoff()
        self._responded = time.monotonic()
        self._patience = _READY_SECONDS
        self.child: Child | None = None

    def look(self, *, responds: bool) -> None:
        """Restart it if needed. Raises SupervisorError if it keeps exiting."""
        child = self.child
        if child is None:
            if self._backoff.over:
                self.child = Child(self._edge.command, self._edge.environment, self._edge.cores)
                self._responded, self._patience = time.monotonic(), _READY_SECONDS
            return
        if responds:
            self._responded, self._patience = time.monotonic(), _SILENT_SECONDS
        end = child.end
        if not end and time.monotonic() - self._responded >= self._patience:
            log.warning("Envoy has not responded for %.0f s and is killed", self._patience)
            child.kill()
            child.wait(_ENVOY_STOP_SECONDS)
            end = child.end
        if end:
            delay = self._backoff.after(child.age)
            if self._backoff.short_lives > _SHORT_LIVES:
                raise SupervisorError(f"Envoy {end}")
            log.warning("Envoy %s; restarting in %g s", end, delay)
            self.child = None


class Supervisor:
    """The servers and Envoy."""

    def __init__(
        self, servers: Servers, edge: Edge, admin: Admin, signals: Signals, stop_seconds: float
    ) -> None:
        self._servers = servers
        self._admin = admin
        self._envoy = _Envoy(edge)
        self._rejections = Rejections(admin, edge.rejections)
        self._signals = signals
        self._stop_seconds = stop_seconds
        self._tasks: Sequence[Callable[[], object]] = ()

    def run(
        self, when_up: Callable[[], object], tasks: Sequence[Callable[[], object]] = ()
    ) -> None:
        """Run everything until a signal.

        `when_up` is called when calls are served, and each of the `tasks` ten times a second.

        Raises:
            OperatorError: it cannot start or continue. No process is left running.
        """
        self._tasks = tasks
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
        # Envoy starts after the first server: until then callers cannot connect, instead of
        # getting errors.
        if self._envoy.child or self._servers.listening:
            self._envoy.look(responds=self._servers.seen or not self._servers.listening)
        self._rejections.look()
        for task in self._tasks:
            task()
        time.sleep(_LOOK_SECONDS)

    def _start(self) -> bool:
        """Wait until calls are served; False if a signal came first."""
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
        """Stop everything, Envoy first, so that no call reaches a stopped server."""
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
        """Drain Envoy: close each connection after its call, accept no new ones, finish calls."""
        for command in ("/drain_listeners?graceful&skip_exit", "/drain_listeners"):
            if not self._admin.post(command):
                return
        quiet = 0
        # A call may still arrive on a connection that has not received GOAWAY yet.
        while time.monotonic() < deadline and quiet < _QUIET_LOOKS:
            quiet = 0 if self._in_flight() else quiet + 1
            time.sleep(0.05)

    def _in_flight(self) -> bool:
        """Whether there is a call in flight, except for health and reflection streams."""
        found = self._admin.stats((_CALLS, _STREAMS))
        return found.get(_CALLS, 0) > found.get(_STREAMS, 0)
