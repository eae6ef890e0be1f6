"""Ends database work that lasts too long, from a thread beside those that wait for it.

A thread that waits for a database cannot look at a clock. So each registers what
it begins as `Watched`, and one thread for all looks at them about ten times a
second. A read ends when its caller is gone or its deadline has passed; a write
ends when its present step lasts longer than it may, never because a caller is
gone: it may run the work of many.

SQLite is interrupted. PostgreSQL is asked to cancel; when that does not help
within a second (a server that is stopped, a network that swallows everything),
the connection's socket is shut down, which wakes the thread that waits for it.
"""

import logging
import os
import socket
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import psycopg

from portal_server.domain.errors import Abandoned, DeadlineExceeded, PortalError, Reason

log = logging.getLogger(__name__)

PERIOD_S = 0.1
# A call through the edge has 10 seconds: what is over before that can still be said.
MAX_READ_S = 9.0
# For PostgreSQL to confirm that it has cancelled, and then for the cancelled work to end.
CANCEL_S = 1.0


class Watched:
    """Work on one connection. Never interrupted before it is registered or after `end`."""

    __slots__ = ("_connection", "_ended", "_lock", "_max_s", "_since", "_wanted", "cause")

    def __init__(self, connection: Any, wanted: Callable[[], bool] | None, max_s: float) -> None:
        """Take a driver's connection, whether a caller still waits (reads), and a maximum."""
        self._connection = connection
        self._wanted = wanted
        self._max_s = max_s
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self._ended = False
        self.cause: PortalError | None = None
        """Why it was interrupted; whether that was in time is not said by this."""

    @property
    def age(self) -> float:
        """How long the present step has lasted, in seconds."""
        return time.monotonic() - self._since

    def enter(self, max_s: float) -> None:
        """Begin another step of the work, which may last so long."""
        self._since, self._max_s = time.monotonic(), max_s

    def end(self) -> None:
        """From now on the connection may do other work: waits while it is being interrupted."""
        with self._lock:
            self._ended = True

    def overdue(self, failure: Callable[[], PortalError]) -> PortalError | None:
        """Why this must end now, if it must; `failure` is what a write ends with."""
        late = self.age > self._max_s
        if self._wanted is None:
            return failure() if late else None
        if late:
            return DeadlineExceeded(Reason.STORAGE_TIMEOUT, "the storage did not answer in time")
        return None if self._wanted() else Abandoned()

    def interrupt(self, cause: PortalError) -> None:
        """End the work. Does so again at each call: SQLite forgets it between statements."""
        if isinstance(self._connection, sqlite3.Connection):
            with self._lock:
                if not self._ended:
                    self.cause = cause
                    self._connection.interrupt()
        elif self.cause is None:
            self.cause = cause
            threading.Thread(target=self._cancel, name="cancel", daemon=True).start()

    def _cancel(self) -> None:
        with self._lock:
            if self._ended:
                return
            try:
                self._connection.cancel_safe(timeout=CANCEL_S)
                cancelled = True
            except psycopg.Error:
                cancelled = False
        deadline = time.monotonic() + CANCEL_S
        while cancelled and not self._ended and time.monotonic() < deadline:
            time.sleep(PERIOD_S / 10)
        with self._lock:
            if not self._ended:
                log.warning("storage: PostgreSQL does not react: a connection is cut")
                _cut(self._connection)


class Watchdog:
    """Looks at all that is `Watched`; `failure` is what an overdue write ends with."""

    def __init__(self, failure: Callable[[], PortalError]) -> None:
        """Start the thread, which ends with this object or when it is closed."""
        self._failure = failure
        self._watched: dict[Watched, None] = {}
        self._listeners: list[Callable[[], None]] = []
        self._closed = threading.Event()
        # The thread must not keep alive what it watches for.
        weakref.finalize(self, self._closed.set)
        threading.Thread(
            target=_run, args=(weakref.ref(self), self._closed), name="watchdog", daemon=True
        ).start()

    def watch(
        self, connection: Any, wanted: Callable[[], bool] | None = None, max_s: float = MAX_READ_S
    ) -> Watched:
        """Watch work that begins on this connection; must be given to `forget` at its end."""
        watched = Watched(connection, wanted, max_s)
        self._watched[watched] = None
        return watched

    def forget(self, watched: Watched) -> None:
        """The work has ended: when this returns, nothing interrupts the connection any more."""
        watched.end()
        self._watched.pop(watched, None)

    def each_time(self, listener: Callable[[], None]) -> None:
        """Call this at each look, too; it must be quick and raise nothing."""
        self._listeners.append(listener)

    def look(self) -> None:
        """Interrupt what must end now."""
        for watched in list(self._watched):
            cause = watched.overdue(self._failure)
            if cause:
                watched.interrupt(cause)
        for listener in self._listeners:
            listener()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()


def _run(whose: "weakref.ref[Watchdog]", closed: threading.Event) -> None:
    while not closed.wait(PERIOD_S):
        watchdog = whose()
        if watchdog is None:
            return
        try:
            watchdog.look()
        except Exception:
            log.exception("watchdog")
        del watchdog


def _cut(connection: Any) -> None:
    """Shut down the socket of a PostgreSQL connection: who waits for it gets an error."""
    try:
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error) as error:  # it is closed already
        log.info("storage: a connection could not be cut: %s", error)
