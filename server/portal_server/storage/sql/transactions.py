"""Transactions on the driver's own connections, from the engine's pool.

When the database restarts, the pool has dead connections. A ping before each use
would cost every call a round trip. Instead the first statement runs again, once, on
a new connection: nothing was done before it. All connections of the pool are replaced
when one is dead, when PostgreSQL does not respond, and when it has become read-only
because another host is the primary now.

The watchdog (`storage.sql.watchdog`) ends everything that takes too long.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine
from sqlalchemy.pool import Pool
from sqlalchemy.pool import PoolProxiedConnection as _Connection

from portal_server.domain.calls import Call
from portal_server.domain.errors import PortalError
from portal_server.metrics import CONNECTION_WAIT
from portal_server.storage.sql import dialects
from portal_server.storage.sql.engine import NOTICES
from portal_server.storage.sql.failures import (
    is_busy,
    is_read_only,
    leaves_open,
    text_of,
    translated,
    unconfirmed,
)
from portal_server.storage.sql.watchdog import MAX_READ_S, Watchdog, Watched
from portal_server.tracing import span

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Wanted = Callable[[], bool]

# A shorter wait for a connection is not counted.
_NOTED_WAIT_S = 0.001
# For everything that a transaction does before its commit.
WORK_TIMEOUT_S = 8.0
# Once a transaction has tried to begin or to commit for this long, new writes do not wait for it.
STALLED_S = 2.0
# How long `unconfirmed` remembers a write that was not confirmed. Longer than a commit may
# take, so that it stays above 0 until a write is confirmed.
STALL_MEMORY_S = 8.0
# After a write that was not confirmed, none may begin for this long. Then one is tried; until it
# ends, all others fail at once, because they would wait for one attempt after the other.
RETRY_PAUSE_S = 1.0
# A database may stay read-only: then the pool is replaced at most this often.
REPLACE_PERIOD_S = 1.0

# https://www.postgresql.org/docs/current/errcodes-appendix.html: a warning. A COMMIT whose wait
# for a standby was cancelled succeeds with it: the data may be on this server only.
_WARNING = "01000"


@dataclass(slots=True)  # not frozen: that takes a microsecond more for each call
class _Started(Generic[Result]):
    """A connection in use, and the result of its first statement."""

    pool: Pool
    connection: _Connection
    watched: Watched
    cursor: Any
    result: Result


class Transactions:
    """Begins, commits and rolls back; converts a driver's exceptions to PortalErrors."""

    def __init__(self, engine: Engine, watchdog: Watchdog, max_read_s: float = math.inf) -> None:
        self._engine = engine
        self._max_read_s = max_read_s
        self._watchdog = watchdog
        self._error: type[Exception] = engine.dialect.loaded_dbapi.Error
        dialect = dialects.of(engine.dialect)
        self._read = dialect.begin_read
        self._write = dialect.begin_write
        self._commit_timeout_s = dialect.commit_timeout_s
        self._stalling: float | None = None
        self._unconfirmed = (math.inf, -math.inf)
        self._replaced = -math.inf

    @property
    def stall(self) -> float:
        """How long a transaction has tried to begin or to commit, in seconds; 0.0: none."""
        since = self._stalling
        return time.monotonic() - since if since else 0.0

    @property
    def unconfirmed(self) -> float:
        """The same, and also after the transaction ended unconfirmed, for STALL_MEMORY_S."""
        since, ended = self._unconfirmed
        now = time.monotonic()
        return max(self.stall, now - since if now - ended < STALL_MEMORY_S else 0.0)

    @property
    def in_doubt(self) -> bool:
        """Whether the last write, a short time ago, was not confirmed."""
        return time.monotonic() - self._unconfirmed[1] < STALL_MEMORY_S

    @property
    def paused(self) -> bool:
        """Whether no write may begin, because one was not confirmed less than RETRY_PAUSE_S ago."""
        return time.monotonic() - self._unconfirmed[1] < RETRY_PAUSE_S

    def read_latest(self, call: Call, work: Callable[[Any], Result]) -> Result:
        """Run work that only reads with a cursor; each statement sees the latest rows.

        There is no transaction: a single statement is a single round trip.
        """
        with translated():
            started = self._start(work, call.still_wanted, min(self._max_read_s, MAX_READ_S))
            self._give_back(started, sound=True)
            return started.result

    @contextmanager
    def reading(self, call: Call) -> Iterator[Any]:
        """A cursor in a transaction that sees a snapshot of the database."""

        def begin(cursor: Any) -> None:
            cursor.execute(self._read)

        with translated():
            started = self._start(begin, call.still_wanted, min(self._max_read_s, MAX_READ_S))
            with self._ended(started, lambda: started.cursor.execute("COMMIT")):
                yield started.cursor

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """A cursor in a transaction that writes; durable when this ends without an error.

        Raises:
            Unavailable: with reason OUTCOME_UNKNOWN, it was not confirmed in time.
            PortalError: another failure of the storage.
        """
        with translated():
            try:
                started = self._begin_writing()
                with self._ended(started, lambda: self._commit(started)):
                    started.watched.enter(WORK_TIMEOUT_S)
                    yield started.cursor
            except self._error as error:
                if is_read_only(error):
                    self._replace_connections()
                raise
            finally:
                self._stalling = None
            self._unconfirmed = (math.inf, -math.inf)

    def _begin_writing(self) -> _Started[Any]:
        self._stalling = time.monotonic()

        def begin(cursor: Any) -> None:
            cursor.execute(self._write)

        try:
            started = self._start(begin, None, self._commit_timeout_s)
        except self._error as error:
            if is_busy(error):  # another process held the lock all the time
                raise self._not_confirmed(error) from None
            raise
        self._stalling = None
        return started

    def _commit(self, started: _Started[Any]) -> None:
        notices = started.connection.info.get(NOTICES, [])
        notices.clear()
        started.watched.enter(self._commit_timeout_s)
        self._stalling = time.monotonic()
        try:
            with span("commit"):
                started.cursor.execute("COMMIT")
        except self._error as error:
            if started.watched.cause or leaves_open(error):
                raise self._not_confirmed(error) from None
            raise
        if started.watched.cause or _WARNING in notices:
            raise self._not_confirmed("a commit was cancelled")

    def _not_confirmed(self, why: object) -> PortalError:
        now = time.monotonic()
        if self._stalling and now - self._stalling > STALLED_S:
            self._unconfirmed = (min(self._stalling, self._unconfirmed[0]), now)
        log.warning("storage: a write is not confirmed: %s", text_of(why))
        return unconfirmed()

    @contextmanager
    def _ended(self, started: _Started[Any], commit: Callable[[], object]) -> Iterator[None]:
        """Commit the work of this block, or roll it back, and return the connection."""
        sound = False
        try:
            try:
                yield
            except BaseException as error:
                if not started.watched.cause:
                    started.cursor.execute("ROLLBACK")
                    # After an error of the driver the connection's state is unknown.
                    sound = not isinstance(error, self._error)
                raise
            commit()
            sound = True
        except self._error:
            if started.watched.cause:
                raise started.watched.cause from None
            raise
        finally:
            self._give_back(started, sound=sound)

    def _give_back(self, started: _Started[Any], *, sound: bool) -> None:
        self._watchdog.forget(started.watched)
        if started.watched.cause or not sound or started.pool is not self._engine.pool:
            # The pool must not use it again, or it was replaced since.
            started.connection.invalidate()
        started.connection.close()
        if started.watched.silent:
            self._replace_connections()

    def _replace_connections(self) -> None:
        """Close the connections of the pool that are not in use: they are to the same host."""
        now = time.monotonic()
        if now - self._replaced > REPLACE_PERIOD_S:
            self._replaced = now
            self._engine.dispose()

    def _start(
        self, first: Callable[[Any], Result], wanted: Wanted | None, max_s: float
    ) -> _Started[Result]:
        """Run the first statement on a connection that works, and watch it."""
        try:
            return self._try_to_start(first, wanted, max_s)
        except _Dead:
            # The other connections of the pool are dead too.
            self._engine.dispose()
        try:
            return self._try_to_start(first, wanted, max_s)
        except _Dead as dead:
            raise dead.error from None

    def _try_to_start(
        self, first: Callable[[Any], Result], wanted: Wanted | None, max_s: float
    ) -> _Started[Result]:
        began = time.monotonic()
        pool = self._engine.pool
        connection = self._engine.raw_connection()
        waited = time.monotonic() - began
        if waited >= _NOTED_WAIT_S:
            CONNECTION_WAIT.observe(waited)
        driver: Any = connection.driver_connection
        watched = self._watchdog.watch(driver, wanted, max_s)
        try:
            cursor = connection.cursor()
            return _Started(pool, connection, watched, cursor, first(cursor))
        except self._error as error:
            self._watchdog.forget(watched)
            dead = getattr(driver, "closed", False)
            connection.invalidate(error)
            if watched.silent:
                self._replace_connections()
            if watched.cause:
                raise watched.cause from None
            if dead:
                raise _Dead(error) from None
            raise
        except BaseException:
            self._watchdog.forget(watched)
            if watched.cause:
                connection.invalidate()
            connection.close()
            raise


class _Dead(Exception):
    """The server has closed the connection."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
