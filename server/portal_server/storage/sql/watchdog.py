"""Ends database work that takes too long.

A thread that waits for a database cannot check the time. So each thread registers
its work as `Watched`, and one thread checks all of them about ten times a second. A read
ends when its caller is gone or its deadline has passed. A write ends when its current
step exceeds its timeout, but not because a caller is gone: it may run the work of several.

SQLite is interrupted. PostgreSQL is asked to cancel. If that does not help within a
second, because the server hangs or the network drops all packets, the connection's
socket is shut down, which wakes the thread that waits for it.
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
# A call through the edge has 10 seconds: this leaves time to send the error.
MAX_READ_S = 9.0
# How long PostgreSQL may take to confirm a cancellation, and then to end the work.
CANCEL_S = 1.0


class Watched:
    """Work on a driver's connection. Never interrupted before it is registered or after `end`.

    `wanted` returns whether the caller of a read still waits; None for a write.
    """

    __slots__ = ("_connection", "_ended", "_lock", "_max_s", "_since", "_wanted", "cause", "silent")

    def __init__(self, connection: Any, wanted: Callable[[], bool] | None, max_s: float) -> None:
        self._connection = connection
        self._wanted = wanted
        self._max_s = max_s
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self._ended = False
        self.cause: PortalError | None = None
        """Why it was interrupted; it may have ended before that."""
        self.silent = False
        """Whether PostgreSQL did not respond to the cancellation either."""

    @property
    def age(self) -> float:
        """How long the current step has run, in seconds."""
        return time.monotonic() - self._since

    def enter(self, max_s: float) -> None:
        """Begin another step of the work, with this timeout."""
        self._since, self._max_s = time.monotonic(), max_s

    def end(self) -> None:
        """The connection may do other work after this; waits while it is being interrupted."""
        with self._lock:
            self._ended = True

    def overdue(self, failure: Callable[[], PortalError]) -> PortalError | None:
        """The error with which this must end now, or None; `failure` is that of a write."""
        late = self.age > self._max_s
        if self._wanted is None:
            return failure() if late else None
        if late:
            return DeadlineExceeded(Reason.STORAGE_TIMEOUT, "the storage did not respond in time")
        return None if self._wanted() else Abandoned()

    def interrupt(self, cause: PortalError) -> None:
        """End the work. Call it repeatedly: SQLite forgets an interrupt between statements."""
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
                log.warning("storage: PostgreSQL does not respond: a connection is shut down")
                self.silent = True
                _cut(self._connection)


class Watchdog:
    """Checks everything that is `Watched`; `failure` creates the error of an overdue write.

    Its thread ends with this object or when it is closed.
    """

    def __init__(self, failure: Callable[[], PortalError]) -> None:
        self._failure = failure
        self._watched: dict[Watched, None] = {}
        self._listeners: list[Callable[[], None]] = []
        self._closed = threading.Event()
        # The thread must not keep this object alive.
        weakref.finalize(self, self._closed.set)
        threading.Thread(
            target=_run, args=(weakref.ref(self), self._closed), name="watchdog", daemon=True
        ).start()

    def watch(
        self, connection: Any, wanted: Callable[[], bool] | None = None, max_s: float = MAX_READ_S
    ) -> Watched:
        """Watch work that begins on this connection; pass the result to `forget` at its end."""
        watched = Watched(connection, wanted, max_s)
        self._watched[watched] = None
        return watched

    def forget(self, watched: Watched) -> None:
        """Stop watching: after this returns, nothing interrupts the connection."""
        watched.end()
        self._watched.pop(watched, None)

    def each_time(self, listener: Callable[[], None]) -> None:
        """Also call this function with each check; it must be quick and raise nothing."""
        self._listeners.append(listener)

    def look(self) -> None:
        """Interrupt the work that must end now."""
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
    """Shut down the socket of a PostgreSQL connection: the thread that waits gets an error."""
    try:
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error) as error:  # it is closed already
        log.info("storage: a connection could not be shut down: %s", error)
