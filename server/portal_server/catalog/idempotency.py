"""Does a write once, however often its request is sent (AIP-155).

The result of a write with a request id is kept in the transaction that writes:
either both are stored or neither is. The same request again gets it; another
request under the same id is refused. A refused write keeps nothing, so that
its caller may fix it and send it again.

What is kept is the resource as JSON, without its secret. How a surface shows it
is made anew each time.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import TypeAdapter

from portal_server.catalog.quota import Quota
from portal_server.domain import calls
from portal_server.domain.client_type import ClientType
from portal_server.domain.errors import (
    Aborted,
    Exhausted,
    Invalid,
    PortalError,
    Precondition,
    Reason,
    Resource,
    Rule,
    Violation,
)
from portal_server.domain.provider import Provider
from portal_server.storage.store import Store, Transaction

log = logging.getLogger(__name__)

Result = TypeVar("Result", bound=Provider | ClientType | None)

DAY = timedelta(days=1)

# Of one response. The longest resource takes less than half of it.
MAX_RESPONSE_BYTES = 64 << 10

# Looked at, and deleted, in one piece of work: as long as a commit takes, so that
# writes hardly wait.
_BATCH = 100
_BATCH_PAUSE_S = 0.05
_MAX_PERIOD_S = 60.0
# A time later than now by more than this is that of a clock that was wrong.
_CLOCK_SKEW = timedelta(minutes=5)

_FORMS: dict[Any, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (Provider, ClientType, type(None))
}


class Retries:
    """The writes of one portal, each done once."""

    def __init__(self, store: Store, keep: timedelta = DAY, quota: Quota | None = None) -> None:
        """Take the store, how long a response is kept, and how much of each key."""
        self._store = store
        self._keep = keep
        self._quota = quota or Quota(keep)
        self._started = datetime.now(UTC)
        self._walked = 0

    def write(
        self,
        work: Callable[[Transaction], Result],
        kind: type[Result],
        adds: Resource | None = None,
    ) -> Result:
        """Run work that writes, unless it was done before; its result, durable.

        A result that was kept has no secret, only whether there is one. `adds`:
        see Store.write.

        Raises:
            Invalid: the request's id was used for another request.
            Exhausted: too much is kept for the caller's key.
            Precondition: it was done, but by the version before.
            PortalError: see Store.write.
        """
        request = calls.current().request
        if request is None:
            return self._store.write(work, adds)

        def once(tx: Transaction) -> tuple[Result, int]:
            now = datetime.now(UTC)
            kept = tx.responses.find(request.digest)
            if kept and kept.create_time > now - self._keep:
                if kept.fingerprint != request.fingerprint:
                    text = "was used for another request"
                    raise Invalid(Violation("request_id", Rule.ALREADY_USED, text))
                return _unpacked(kept.response, kind, of_before=kept.key_id is None), 0
            if self._quota.is_used_up(request.key_id, now):
                text = "too many responses are kept for this key; send it without a request id"
                raise Exhausted(Reason.KEPT_RESPONSES_QUOTA, text + " or try again later")
            result = work(tx)
            packed = _packed(result, kind)
            if kept:
                tx.responses.remove(request.digest)
            if not tx.responses.add(request, packed, now):
                # Another process was faster. Run again, this finds its answer.
                raise Aborted(Reason.CONCURRENT_RETRY, "the same request is in progress; retry")
            return result, len(packed)

        result, size = self._store.write(once, adds)
        if size:
            self._quota.add(request.key_id, size, datetime.now(UTC))
        return result

    def count_kept(self) -> None:
        """Count what was kept before this process began, for the quota of each key."""
        since = datetime.now(UTC) - self._keep
        for key_id, minute, rows, size in self._store.read_latest(
            lambda tx: tx.responses.usage(since)
        ):
            if minute < self._started:
                self._quota.add(key_id, size, minute, rows)

    def forget_expired(self) -> bool:
        """Delete some responses that need not be kept any longer; whether there may be more.

        Goes by id, which is by time, and passes over those with a time in the
        future, of a clock that was wrong.
        """
        now = datetime.now(UTC)
        before, after = now - self._keep, self._walked
        oldest = self._store.read_latest(lambda tx: tx.responses.oldest(after, _BATCH))
        if any(time < before for _, time in oldest):
            upto = oldest[-1][0]
            self._store.write(lambda tx: tx.responses.remove_old(after, upto, before))
        fresh = any(before <= time <= now + _CLOCK_SKEW for _, time in oldest)
        more = len(oldest) == _BATCH and not fresh
        self._walked = oldest[-1][0] if more else 0
        self._quota.forget(now)
        return more

    @property
    def period_s(self) -> float:
        """How often to look for responses to forget, in seconds."""
        return min(_MAX_PERIOD_S, self._keep.total_seconds())


class Forgetting:
    """Forgets expired responses in the background, a few at a time."""

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
        try:
            self._retries.count_kept()
        except PortalError as error:
            log.warning("kept responses are counted from now on: %s", error.message)
        more = False
        while not self._stopped.wait(_BATCH_PAUSE_S if more else self._retries.period_s):
            try:
                more = self._retries.forget_expired()
            except PortalError as error:
                more = False
                log.warning("expired responses stay for now: %s", error.message)


def _packed(result: Provider | ClientType | None, kind: Any) -> bytes:
    """What is kept of a result."""
    shown = result.redacted() if isinstance(result, Provider) else result
    packed = _FORMS[kind].dump_json(shown)
    if len(packed) > MAX_RESPONSE_BYTES:
        raise ValueError(f"a response of {len(packed)} bytes")
    return packed


def _unpacked(packed: bytes, kind: Any, *, of_before: bool) -> Any:
    if kind is type(None):
        return None
    if of_before:
        text = "it was done by an earlier version of the server, which kept the response otherwise"
        raise Precondition(Reason.RESPONSE_NOT_READABLE, text + ": get the resource instead")
    return _FORMS[kind].validate_json(packed)
