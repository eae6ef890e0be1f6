"""Does a write once, however often its request is sent (AIP-155).

The answer of a write with a request id is kept in the transaction that writes:
either both are stored or neither is. The same request again gets it; another
request under the same id is refused. A refused write keeps nothing, so that
its caller may mend it and send it again.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, Protocol, TypeVar

from portal_server.domain import calls
from portal_server.domain.errors import Aborted, Invalid, PortalError, Rule, Violation
from portal_server.storage.store import Store, Transaction

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Answer = TypeVar("Answer")
Result_contra = TypeVar("Result_contra", contravariant=True)

DAY = timedelta(days=1)

# Deleted in one piece of work: as long as a commit takes, so that writes hardly wait.
_BATCH = 100
_BATCH_PAUSE_S = 0.05
_MAX_PERIOD_S = 60.0


class Form(Protocol[Result_contra, Answer]):
    """How a surface answers with a result, and how that answer is kept.

    What is kept is what the caller may see: no secret.
    """

    def make(self, result: Result_contra, /) -> Answer:
        """The answer."""

    def pack(self, answer: Answer, /) -> bytes:
        """The answer to be kept."""

    def unpack(self, kept: bytes, /) -> Answer:
        """The answer that was kept."""


class AsIs(Generic[Result]):
    """The result itself, for writes of this process: they have no request id to be kept under."""

    def make(self, result: Result) -> Result:
        """The result."""
        return result

    def pack(self, answer: Result) -> bytes:
        """Not to be done."""
        raise NotImplementedError

    def unpack(self, kept: bytes) -> Result:
        """Not to be done."""
        raise NotImplementedError


class Retries:
    """The writes of one portal, each done once."""

    def __init__(self, store: Store, keep: timedelta = DAY) -> None:
        """Take the store, and how long an answer is kept."""
        self._store = store
        self._keep = keep

    def write(self, work: Callable[[Transaction], Result], form: Form[Result, Answer]) -> Answer:
        """Run work that writes, unless it was done before; the answer, durable.

        Raises:
            Invalid: the request's id was used for another request.
            PortalError: see Store.write.
        """
        request = calls.current().request
        if request is None:
            return form.make(self._store.write(work))

        def once(tx: Transaction) -> Answer:
            now = datetime.now(UTC)
            kept = tx.find_answer(request.digest)
            if kept and kept.create_time > now - self._keep:
                if kept.fingerprint != request.fingerprint:
                    text = "was used for another request"
                    raise Invalid(Violation("request_id", Rule.ALREADY_USED, text))
                return form.unpack(kept.answer)
            answer = form.make(work(tx))
            if kept:
                tx.remove_answer(request.digest)
            if not tx.add_answer(request, form.pack(answer), now):
                # Another process was faster. Run again, this finds its answer.
                raise Aborted("CONCURRENT_RETRY", "the same request is being served; try again")
            return answer

        return self._store.write(once)

    def forget_expired(self) -> bool:
        """Delete some answers that need not be kept any longer; whether there may be more."""
        before = datetime.now(UTC) - self._keep
        return self._store.write(lambda tx: tx.remove_old_answers(before, _BATCH)) == _BATCH

    @property
    def period_s(self) -> float:
        """How often to look for answers to forget, in seconds."""
        return min(_MAX_PERIOD_S, self._keep.total_seconds())


class Forgetting:
    """Forgets expired answers in the background, a few at a time."""

    def __init__(self, retries: Retries) -> None:
        """Take whose."""
        self._retries = retries
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forgetting", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the store is not used after this."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        more = False
        while not self._stopped.wait(_BATCH_PAUSE_S if more else self._retries.period_s):
            try:
                more = self._retries.forget_expired()
            except PortalError as error:
                more = False
                log.warning("expired answers stay for now: %s", error.message)
