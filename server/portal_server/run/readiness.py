"""Whether the server can do its work: alive is not ready.

Ready: the database has answered lately, the newest commit is not stuck, and
the server is not about to end. (That it knows the schema is checked at the
start.) One thread asks the database and may have to wait for it; another one
judges, and so never waits.
"""

import logging
import threading
from collections.abc import Callable
from time import monotonic

from portal_server.domain.calls import Call
from portal_server.domain.errors import PortalError

log = logging.getLogger("portal.readiness")

PERIOD_S = 0.5
MAX_ANSWER_AGE_S = 3.0
MAX_COMMIT_AGE_S = 5.0


class Readiness:
    """Looks every half second and tells when the answer changes."""

    def __init__(
        self,
        ask: Callable[[Call], object],
        commit_age: Callable[[], float],
        tell: Callable[[bool], object],
        each_time: Callable[[], object],
    ) -> None:
        """Take a question to the database, and how many seconds the newest commit runs.

        `tell` hears of each change, and `each_time` is called with each look.
        """
        self._ask = ask
        self._commit_age = commit_age
        self._tell = tell
        self._each_time = each_time
        self._answered = monotonic()
        self._ready = True
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
            for name, work in (("asking", self._look), ("judging", self._judge))
        ]

    def start(self) -> None:
        """Begin."""
        self._answered = monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; the database is not asked after this, unless a question hangs."""
        self._stopped.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(MAX_ANSWER_AGE_S)

    def _run(self, work: Callable[[], None]) -> None:
        while not self._stopped.wait(PERIOD_S):
            try:
                work()
            except Exception:
                log.exception("a look at the server's state failed")

    def _look(self) -> None:
        begun = monotonic()
        try:
            self._ask(Call(lambda: monotonic() - begun < MAX_ANSWER_AGE_S))
        except PortalError:
            return
        self._answered = monotonic()

    def _judge(self) -> None:
        self._each_time()
        reason = self._reason()
        if (reason is None) == self._ready:
            return
        self._ready = reason is None
        self._tell(self._ready)
        if reason:
            log.warning("not ready: %s", reason)
        else:
            log.info("ready again")

    def _reason(self) -> str | None:
        """Why the server is not ready."""
        silent = monotonic() - self._answered
        if silent > MAX_ANSWER_AGE_S:
            return f"the database has not answered for {silent:.1f} s"
        age = self._commit_age()
        if age > MAX_COMMIT_AGE_S:
            return f"a commit has not returned for {age:.1f} s"
        return None
