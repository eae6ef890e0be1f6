"""The gRPC servers of a start: replaced when they end or hang, restarted one after the other.

Each start of a server is a generation with a socket of its own. Envoy is told which
sockets get calls and says which servers are healthy:

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

# Envoy's clusters; envoy.yaml says what the health of each means.
ROUTING = "portal"
READY = "ready"

# A server that is not healthy so long after its start never will be.
START_SECONDS = 30.0
# Envoy needs about 8 s to find a server unhealthy that does not respond, a new one starts
# in 2 s: with this, a server that hangs is replaced about 20 s later. One that is only busy
# responds to a health check in between.
HUNG_SECONDS = 10.0
# How long Envoy may take to learn of an endpoint's end.
_REMOVAL_SECONDS = 10.0
# Beside PORTAL_STOP_SECONDS: what a server needs to tell Envoy and to close the database.
STOP_MARGIN_SECONDS = 5.0
# How often Envoy is asked who is healthy, while all are.
_ASK_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 2.0
# After a shorter life the next start waits: twice as long each time.
_LONG_LIFE_SECONDS = 10.0
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0


class NoServer(OperatorError):
    """At the start, each server has ended before one was healthy."""


class Backoff:
    """When to start again what has ended: soon, and later after each short life."""

    def __init__(self) -> None:
        self.short_lives = 0
        self._due = 0.0

    def after(self, age: float) -> float:
        """It ended after so many seconds; returns the seconds until it may be started again."""
        self.short_lives = self.short_lives + 1 if age < _LONG_LIFE_SECONDS else 0
        delay = 0.0
        if self.short_lives:
            delay = min(FIRST_DELAY_SECONDS * 2 ** (self.short_lives - 1), LONGEST_DELAY_SECONDS)
        self._due = time.monotonic() + delay
        return delay

    @property
    def over(self) -> bool:
        """Whether it may be started."""
        return time.monotonic() >= self._due


class Server:
    """One generation of a server."""

    def __init__(self, number: int, path: Path) -> None:
        self.name = f"gRPC server {number + 1}"
        self.path = path
        self.listens = False
        self.was_healthy = False
        self.unhealthy_seconds = 0.0
        command = [sys.executable, "-m", "portal_server", "serve"]
        self.child = Child([*command, "--worker", str(number), "--socket", str(path)])

    def look(self, health: dict[Path, bool], seconds: float) -> None:
        """Note what Envoy says; `seconds` is the time since the last look."""
        self.listens = self.listens or _accepts(self.path)
        healthy = health.get(self.path)
        if healthy:
            self.was_healthy = True
            self.unhealthy_seconds = 0.0
        elif healthy is False:
            self.unhealthy_seconds += seconds

    @property
    def hung(self) -> str | None:
        """Why it must be killed, if so."""
        if self.was_healthy:
            over = self.unhealthy_seconds >= HUNG_SECONDS
            return f"has not responded for {HUNG_SECONDS:.0f} s" if over else None
        if self.child.age >= START_SECONDS:
            return f"is not ready after {START_SECONDS:.0f} s"
        return None

    def kill(self) -> None:
        """End it by force, if it has not ended, and remove its socket."""
        self.child.kill()
        self.child.wait(STOP_MARGIN_SECONDS)
        self.path.unlink(missing_ok=True)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(os.fspath(path)) == 0


class _Slot:
    """A server by its number: the generation that serves, and the one that will replace it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.server: Server | None = None
        self.successor: Server | None = None
        self.backoff = Backoff()

    @property
    def generations(self) -> list[Server]:
        return [server for server in (self.server, self.successor) if server]


class Servers:
    """All servers of a start. `look` does what is due and must be called again and again."""

    def __init__(
        self,
        number: int,
        folder: Path,
        admin: Admin,
        tell: Callable[[Sequence[Path]], None],
        stop_seconds: float,
    ) -> None:
        """So many servers, with sockets in the folder; `tell` gives Envoy its endpoints.

        `stop_seconds` is how long one that is replaced may finish its calls.
        """
        self._folder = folder
        self._admin = admin
        self._tell = tell
        self._stop_seconds = stop_seconds
        self._slots = [_Slot(number) for number in range(number)]
        self._leaving: list[Server] = []
        self._generations = count(1)
        self._told: list[Path] | None = None
        self._health: dict[Path, bool] = {}
        self._looked = self._asked = time.monotonic()
        self._came_up = False
        self._wanted = False
        self._restart: Iterator[None] | None = None

    @property
    def listening(self) -> int:
        """How many Envoy was told of."""
        return len(self._told or ())

    @property
    def seen(self) -> bool:
        """Whether Envoy responds and has one of them."""
        return bool(self._health)

    @property
    def healthy(self) -> int:
        """How many serve, as far as Envoy can tell."""
        return sum(self._health.get(path, False) for path in self._told or ())

    @property
    def settled(self) -> bool:
        """Whether each is healthy or has ended at least once."""
        return all(
            slot.backoff.short_lives or (slot.server and self._health.get(slot.server.path))
            for slot in self._slots
        )

    @property
    def children(self) -> list[Child]:
        """All processes, also those that start or end."""
        present = (server for slot in self._slots for server in slot.generations)
        return [server.child for server in (*present, *self._leaving)]

    def restart(self) -> None:
        """Replace each, one after the other; once more if that is being done already."""
        self._wanted = True

    def look(self) -> None:
        """Start, replace and end what must be.

        Raises:
            NoServer: each has ended and none was ever healthy.
        """
        now = time.monotonic()
        # However long we were stopped ourselves, nobody is to blame for it.
        seconds = min(now - self._looked, _LONGEST_LOOK_SECONDS)
        self._looked = now
        changing = self._restart or self.healthy < len(self._slots)
        if changing or now - self._asked >= _ASK_SECONDS:
            self._asked = now
            self._health = self._admin.endpoints(ROUTING) if self._told else {}
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
        if wanted != self._told:
            self._tell(wanted)
            self._told = wanted

    def _start(self, slot: _Slot) -> Server:
        name = f"{slot.number}-{next(self._generations)}.sock"
        return Server(slot.number, self._folder / name)

    def _keep(self, slot: _Slot) -> None:
        """Start what is not there, replace what has ended or hangs."""
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
            log.warning("%s %s; the one that was to replace it is there", server.name, end)
            return
        delay = slot.backoff.after(server.child.age if server.was_healthy else 0)
        if not self._came_up and all(each.backoff.short_lives for each in self._slots):
            raise NoServer(f"no gRPC server can start: {server.name} {end}")
        log.warning("%s %s; it is started again in %g s", server.name, end, delay)

    def _replace_all(self) -> Iterator[None]:
        """Restart one after the other; yields as long as there is something to wait for."""
        log.info("restart: begun")
        for slot in self._slots:
            # One that has just ended is started anyway.
            if slot.server:
                yield from self._replace(slot, slot.server)
        log.info("restart: done")

    def _replace(self, slot: _Slot, old: Server) -> Iterator[None]:
        slot.successor = new = self._start(slot)
        while not self._ready(new):
            if slot.successor is not new:
                return  # the old one has ended, the new one has its place
            if reason := new.child.end or new.hung:
                log.warning("restart: the new %s %s; the old one goes on", new.name, reason)
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
                log.warning("restart: the old %s does not end and is killed", old.name)
        finally:
            old.kill()
            self._leaving.remove(old)

    def _ready(self, server: Server) -> bool:
        """Whether it gets calls and, unlike what routing needs, its database responds."""
        path = server.path
        return self._health.get(path, False) and self._admin.endpoints(READY).get(path, False)
