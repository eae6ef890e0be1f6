"""The gRPC servers: replaced when they exit or hang, restarted one by one.

Each started process is a generation with its own socket. Envoy gets the sockets as
endpoints and reports which servers are healthy:

    started -> listens (its socket is an endpoint) -> healthy -> replaced, or ended
"""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

from portal_server.domain.errors import OperatorError
from portal_server.run.children import Child
from portal_server.run.envoy_admin import Admin

log = logging.getLogger(__name__)

# Envoy's clusters; envoy.yaml defines the health check of each.
ROUTING = "portal"
READY = "ready"

# A server that is not healthy this long after its start is considered broken.
START_SECONDS = 30.0
# Envoy needs about 8 s to detect that a server does not respond, and a new one starts in
# 2 s: with this, a server that hangs is replaced after about 20 s. A server that is only
# busy responds to a health check in between.
HUNG_SECONDS = 10.0
# How long Envoy may take to remove an endpoint.
_REMOVAL_SECONDS = 10.0
# In addition to PORTAL_STOP_SECONDS: to drain and to close the database.
STOP_MARGIN_SECONDS = 5.0
# How often the health is queried from Envoy while all servers are healthy.
_QUERY_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 2.0
# After a shorter life the next start is delayed, twice as long each time.
_LONG_LIFE_SECONDS = 10.0
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0


class NoServer(OperatorError):
    """At startup, every server exited before one was healthy."""


class Backoff:
    """When to restart a process: soon, and later after each short life."""

    def __init__(self) -> None:
        self.short_lives = 0
        self._due = 0.0

    def after(self, age: float) -> float:
        """Record an end after this many seconds; returns the seconds until the restart."""
        self.short_lives = self.short_lives + 1 if age < _LONG_LIFE_SECONDS else 0
        delay = 0.0
        if self.short_lives:
            delay = min(FIRST_DELAY_SECONDS * 2 ** (self.short_lives - 1), LONGEST_DELAY_SECONDS)
        self._due = time.monotonic() + delay
        return delay

    @property
    def over(self) -> bool:
        """Whether the delay is over."""
        return time.monotonic() >= self._due


class Server:
    """One generation of a server; `servers` is how many there are."""

    def __init__(self, number: int, path: Path, servers: int) -> None:
        self.name = f"gRPC server {number + 1}"
        self.path = path
        self.listens = False
        self.was_healthy = False
        self.unhealthy_seconds = 0.0
        command = [sys.executable, "-m", "portal_server", "serve", "--socket", str(path)]
        self.child = Child([*command, "--worker", str(number), "--servers", str(servers)])

    def look(self, health: dict[Path, bool], seconds: float) -> None:
        """Record the health that Envoy reports; `seconds` is the time since the last call."""
        self.listens = self.listens or _accepts(self.path)
        healthy = health.get(self.path)
        if healthy:
            self.was_healthy = True
            self.unhealthy_seconds = 0.0
        elif healthy is False:
            self.unhealthy_seconds += seconds

    @property
    def hung(self) -> str | None:
        """Why it must be killed, or None."""
        if self.was_healthy:
            over = self.unhealthy_seconds >= HUNG_SECONDS
            return f"has not responded for {HUNG_SECONDS:.0f} s" if over else None
        if self.child.age >= START_SECONDS:
            return f"is not ready after {START_SECONDS:.0f} s"
        return None

    def kill(self) -> None:
        """Kill it, if it still runs, and remove its socket."""
        self.child.kill()
        self.child.wait(STOP_MARGIN_SECONDS)
        self.path.unlink(missing_ok=True)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(os.fspath(path)) == 0


class _Slot:
    """The server with one number: the current generation, and the one that will replace it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.server: Server | None = None
        self.successor: Server | None = None
        self.backoff = Backoff()

    @property
    def generations(self) -> list[Server]:
        return [server for server in (self.server, self.successor) if server]


class Servers:
    """All servers. `look` does the work that is due and must be called periodically."""

    def __init__(
        self,
        number: int,
        folder: Path,
        admin: Admin,
        set_endpoints: Callable[[Sequence[Path]], None],
        stop_seconds: float,
    ) -> None:
        """Create `number` servers with sockets in the folder.

        `set_endpoints` passes the endpoints to Envoy. `stop_seconds` is how long a
        replaced server may finish its calls.
        """
        self._folder = folder
        self._admin = admin
        self._write_endpoints = set_endpoints
        self._stop_seconds = stop_seconds
        self._slots = [_Slot(number) for number in range(number)]
        self._leaving: list[Server] = []
        self._generations = count(1)
        self._endpoints: list[Path] | None = None
        self._health: dict[Path, bool] = {}
        self._looked = self._queried = time.monotonic()
        self._came_up = False
        self._wanted = False
        self._restart: Iterator[None] | None = None

    @property
    def listening(self) -> int:
        """The number of endpoints that Envoy has."""
        return len(self._endpoints or ())

    @property
    def by_number(self) -> dict[int, Path]:
        """The sockets of the servers that are not being replaced, by their number."""
        return {slot.number: slot.server.path for slot in self._slots if slot.server}

    @property
    def seen(self) -> bool:
        """Whether Envoy responds and knows one of them."""
        return bool(self._health)

    @property
    def healthy(self) -> int:
        """The number of endpoints that Envoy considers healthy."""
        return sum(self._health.get(path, False) for path in self._endpoints or ())

    @property
    def settled(self) -> bool:
        """Whether each server is healthy or has exited at least once."""
        return all(
            slot.backoff.short_lives or (slot.server and self._health.get(slot.server.path))
            for slot in self._slots
        )

    @property
    def children(self) -> list[Child]:
        """All processes, including those that are starting or stopping."""
        present = (server for slot in self._slots for server in slot.generations)
        return [server.child for server in (*present, *self._leaving)]

    def restart(self) -> None:
        """Replace all servers one by one. During a restart this requests another one."""
        self._wanted = True

    def look(self) -> None:
        """Start, replace and stop servers as needed.

        Raises:
            NoServer: every server has exited, and none was ever healthy.
        """
        now = time.monotonic()
        # If this process itself was stopped (SIGSTOP), the servers are not considered hung.
        seconds = min(now - self._looked, _LONGEST_LOOK_SECONDS)
        self._looked = now
        changing = self._restart or self.healthy < len(self._slots)
        if changing or now - self._queried >= _QUERY_SECONDS:
            self._queried = now
            self._health = self._admin.endpoints(ROUTING) if self._endpoints else {}
        for slot in self._slots:
            for server in slot.generations:
                server.look(self._health, seconds)
            self._keep(slot)
        self._came_up = self._came_up or self.healthy > 0
        if self._wanted and self._came_up and not self._restart:
            self._wanted = False
            self._restart = self._replace_all()
        if self._restart and next(self._restart, self) is self:
            self._restart = None
        self._set_endpoints()

    def _set_endpoints(self) -> None:
        present = (server for slot in self._slots for server in slot.generations)
        wanted = [server.path for server in present if server.listens]
        if wanted != self._endpoints:
            self._write_endpoints(wanted)
            self._endpoints = wanted

    def _start(self, slot: _Slot) -> Server:
        name = f"{slot.number}-{next(self._generations)}.sock"
        return Server(slot.number, self._folder / name, len(self._slots))

    def _keep(self, slot: _Slot) -> None:
        """Start a missing server, replace one that exited or hangs."""
        server = slot.server
        if server is None:
            if slot.backoff.over:
                slot.server = self._start(slot)
            return
        end = server.child.end
        if not end and (reason := server.hung):
            log.warning("%s %s and is killed", server.name, reason)
            server.kill()
            end = server.child.end
        if not end:
            return
        server.path.unlink(missing_ok=True)
        slot.server, slot.successor = slot.successor, None
        if slot.server:
            log.warning("%s %s; its replacement takes over", server.name, end)
            return
        delay = slot.backoff.after(server.child.age if server.was_healthy else 0)
        if not self._came_up and all(each.backoff.short_lives for each in self._slots):
            raise NoServer(f"no gRPC server can start: {server.name} {end}")
        log.warning("%s %s; restarting in %g s", server.name, end, delay)

    def _replace_all(self) -> Iterator[None]:
        """Restart one by one; yields while it has to wait."""
        log.info("restart: started")
        for slot in self._slots:
            # A server that has just exited is started anyway.
            if slot.server:
                yield from self._replace(slot, slot.server)
        log.info("restart: done")

    def _replace(self, slot: _Slot, old: Server) -> Iterator[None]:
        slot.successor = new = self._start(slot)
        while not self._ready(new):
            if slot.successor is not new:
                return  # the old one has exited, and the new one has replaced it
            if reason := new.child.end or new.hung:
                log.warning("restart: the new %s %s; the old one continues", new.name, reason)
                new.kill()
                slot.successor = None
                return
            yield
        slot.server, slot.successor = new, None
        self._leaving.append(old)
        try:
            deadline = time.monotonic() + _REMOVAL_SECONDS
            while (not self._health or old.path in self._health) and time.monotonic() < deadline:
                yield
            old.child.terminate()
            deadline = time.monotonic() + self._stop_seconds + STOP_MARGIN_SECONDS
            while not old.child.end and time.monotonic() < deadline:
                yield
            if not old.child.end:
                log.warning("restart: the old %s does not stop and is killed", old.name)
        finally:
            old.kill()
            self._leaving.remove(old)

    def _ready(self, server: Server) -> bool:
        """Whether it gets calls and its database responds, which routing does not require."""
        path = server.path
        return self._health.get(path, False) and self._admin.endpoints(READY).get(path, False)
