"""Readiness of a server, which is more than being alive.

A server is ready if the database has responded recently, the newest commit is not
blocked, and the server is not stopping. (The schema is checked at startup.) One
thread queries the database and may have to wait; another one evaluates the results
and never waits.
"""

import logging
import threading
from collections.abc import Callable
from time import monotonic

from portal_server.domain.calls import Call
from portal_server.domain.errors import PortalError

log = logging.getLogger("portal.readiness")

PERIOD_S = 0.5
MAX_RESPONSE_AGE_S = 3.0
MAX_COMMIT_AGE_S = 5.0


class Readiness:
    """Checks the state every half second and reports changes.

    Args:
        query: a query on the database.
        commit_age: how long the newest commit has been running, in seconds.
        report: called when the readiness changes.
        each_time: called with every check.
    """

    def __init__(
        self,
        query: Callable[[Call], object],
        commit_age: Callable[[], float],
        report: Callable[[bool], object],
        each_time: Callable[[], object],
    ) -> None:
        self._query = query
        self._commit_age = commit_age
        self._report = report
        self._each_time = each_time
        self._responded = monotonic()
        self._ready = True
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
            for name, work in (("query", self._check_database), ("readiness", self._evaluate))
        ]

    def start(self) -> None:
        """Start both threads."""
        self._responded = monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop. There are no more queries after this, except one that hangs."""
        self._stopped.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(MAX_RESPONSE_AGE_S)

    def _run(self, work: Callable[[], None]) -> None:
        while not self._stopped.wait(PERIOD_S):
            try:
                work()
            except Exception:
                log.exception("the readiness check failed")

    def _check_database(self) -> None:
        begun = monotonic()
        try:
            self._query(Call(lambda: monotonic() - begun < MAX_RESPONSE_AGE_S))
        except PortalError:
            return
        self._responded = monotonic()

    def _evaluate(self) -> None:
        self._each_time()
        reason = self._reason()
        if (reason is None) == self._ready:
            return
        self._ready = reason is None
        self._report(self._ready)
        if reason:
            log.warning("not ready: %s", reason)
        else:
            log.info("ready again")

    def _reason(self) -> str | None:
        """Why the server is not ready."""
        silent = monotonic() - self._responded
        if silent > MAX_RESPONSE_AGE_S:
            return f"the database has not responded for {silent:.1f} s"
        age = self._commit_age()
        if age > MAX_COMMIT_AGE_S:
            return f"a commit has not returned for {age:.1f} s"
        return None
