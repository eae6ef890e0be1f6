"""A standby of PostgreSQL for reads that may be a little old.

A thread notes the position of the primary's log, with the time before it asked for it. When
the standby has replayed a position, its rows are at most as old as that time. This needs no
synchronized clocks, and works when the primary is idle, and when the standby receives nothing.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Engine

from portal_server.domain.calls import Call
from portal_server.domain.errors import Abandoned, PortalError
from portal_server.storage.sql.transactions import Transactions
from portal_server.storage.sql.watchdog import Watchdog

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PERIOD_S = 0.2
# A read that takes longer is repeated at the primary.
MAX_READ_S = 2.0
_MAX_POSITIONS = 1000
_PRIMARY = "SELECT pg_current_wal_lsn()::text"
# Null if it is not a standby, or not any more.
_STANDBY = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END"


class Standby:
    """Reads from a standby while its rows are at most `max_age_s` old."""

    def __init__(
        self, engine: Engine, primary: Transactions, watchdog: Watchdog, max_age_s: float
    ) -> None:
        self._engine = engine
        self._primary = primary
        self._transactions = Transactions(engine, watchdog, MAX_READ_S)
        self._max_age_s = max_age_s
        self._positions: deque[tuple[float, int]] = deque(maxlen=_MAX_POSITIONS)
        self._as_of = float("-inf")
        self._used = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="standby", daemon=True)
        self._thread.start()

    @property
    def is_fresh(self) -> bool:
        """Whether its rows are known to be recent enough now."""
        return time.monotonic() - self._as_of < self._max_age_s

    def read(self, call: Call, work: Callable[[Any], Result]) -> Result | None:
        """Run work that only reads with a cursor; None: run it at the primary.

        A resource that is not found may be newer than the rows of the standby.

        Raises:
            Abandoned: the caller is gone.
        """
        if not self.is_fresh:
            return None
        try:
            return self._transactions.read_latest(call, work)
        except Abandoned:
            raise
        except PortalError:
            return None

    def close(self) -> None:
        """Close the connections."""
        self._closed.set()
        self._thread.join(MAX_READ_S)
        self._engine.dispose()

    def _run(self) -> None:
        while not self._closed.wait(PERIOD_S):
            try:
                self._look()
            except PortalError:  # the storage has logged it
                pass
            except Exception:
                log.exception("the standby cannot be checked")
            if self.is_fresh != self._used:
                self._used = self.is_fresh
                if self._used:
                    log.info("reads use the standby")
                else:
                    log.warning(
                        "reads use the primary: the standby is away or more than %g s behind",
                        self._max_age_s,
                    )

    def _look(self) -> None:
        asked = time.monotonic()
        if position := self._position(self._primary, _PRIMARY):
            self._positions.append((asked, position))
        replayed = self._position(self._transactions, _STANDBY)
        while replayed and self._positions and self._positions[0][1] <= replayed:
            self._as_of = self._positions.popleft()[0]

    def _position(self, transactions: Transactions, query: str) -> int | None:
        end = time.monotonic() + MAX_READ_S

        def read(cursor: Any) -> str | None:
            cursor.execute(query)
            found: str | None = cursor.fetchone()[0]
            return found

        text = transactions.read_latest(Call(lambda: time.monotonic() < end), read)
        if text is None:
            return None
        # Two hexadecimal numbers of 32 bits (PostgreSQL documentation, section 8.20).
        high, _, low = text.partition("/")
        return int(high, 16) << 32 | int(low, 16)
