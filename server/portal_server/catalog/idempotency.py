"""Executes a write once, no matter how often its request is sent (AIP-155).

The result of a write with a request id is stored in the transaction that writes:
either both are stored or neither is. A retry gets this result; another request with
the same id is rejected. A write that fails stores nothing, so its caller can correct
and resend it.

The resource is stored as JSON, without its secret. Each API converts it to a message
every time.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from portal_server.catalog.background import BackgroundTask
from portal_server.catalog.quota import Quota
from portal_server.domain.api_key import ApiKey
from portal_server.domain.calls import Call, IdempotencyKey
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
from portal_server.domain.keys import Caller
from portal_server.domain.provider import Provider
from portal_server.storage.rows.responses import StoredResponse
from portal_server.storage.store import Store, Transaction

log = logging.getLogger(__name__)


class Stored(Protocol):
    """A stored resource."""

    def redacted(self) -> Self:
        """The same without its secrets."""


Result = TypeVar("Result", bound=Stored | None)


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    """The result of a request that was done before."""

    result: Result


@dataclass(frozen=True, slots=True)
class WrittenClient:
    """The result of a write of a client: its row has the current values and the secret.

    `new_secret`: an update replaced the secret, so its retries return it too.
    """

    id: int
    new_secret: bool = False

    def redacted(self) -> Self:
        """The same: an id is not a secret."""
        return self


DAY = timedelta(days=1)

# Limit of one response. The longest is a provider with CA certificates: 400 kB.
MAX_RESPONSE_BYTES = 512 << 10

# How many responses are read and deleted at once: this takes about as long as a commit, so
# other writes hardly wait.
_BATCH = 100
_BATCH_PAUSE_S = 0.05
_MAX_PERIOD_S = 60.0
# A time that is further in the future than this comes from a wrong clock.
_CLOCK_SKEW = timedelta(minutes=5)

_JSON: dict[Any, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (Provider, ClientType, WrittenClient, ApiKey, type(None))
}


class Idempotency:
    """The writes of one portal, each executed once.

    A response is kept for the time `keep`, and `quota` limits how much is kept for
    each API key.
    """

    def __init__(self, store: Store, keep: timedelta = DAY, quota: Quota | None = None) -> None:
        self._store = store
        self._keep = keep
        self._quota = quota or Quota(keep)
        self._started = datetime.now(UTC)
        self._last_id = 0

    def write(
        self,
        call: Call,
        work: Callable[[Transaction], Result],
        kind: type[Result],
        adds: Resource | None = None,
    ) -> Result:
        """Run work that writes, unless it was done before; returns its result, which is durable.

        `kind` is the type of the result; `adds`: see Store.write. The result of a request
        that was done before is redacted. A call that is only validated writes nothing, has no
        stored result and stores none.

        Raises:
            Invalid: the request's id was used for another request.
            Exhausted: too much is stored for the caller's API key.
            Precondition: it was done by the previous version.
            PortalError: see Store.write.
        """
        if call.validate_only:
            return self._store.validate(call, work)
        key = call.idempotency
        if key is None:
            return self._store.write(call, work, adds)

        def once(tx: Transaction) -> tuple[Result, int]:
            stored = tx.responses.find(key.digest)
            done = self._done(stored, key, kind)
            if done and _may_have(call.caller, done.result):
                return done.result, 0
            self._require_quota(key)
            result = work(tx)
            return result, _add(tx, key, stored, result, kind)

        result, size = self._store.write(call, once, adds)
        if size:
            self._quota.add(key.key_id, size, datetime.now(UTC))
        return result

    def done(self, call: Call, kind: type[Result]) -> "Done[Result] | None":
        """The result of this request, if it was done before.

        For work that takes several transactions: it calls this first, and `remember` in its
        last transaction.

        Raises: as `write`.
        """
        key = call.idempotency
        if key is None:
            return None
        stored = self._store.read_latest(call, lambda tx: tx.responses.find(key.digest))
        done = self._done(stored, key, kind)
        if not done:
            self._require_quota(key)
        return done

    def remember(self, tx: Transaction, call: Call, result: Result, kind: type[Result]) -> None:
        """Store the result of this request, in the transaction that ends its work.

        An existing result stays: the work is done, and must be stored. The quota counts each
        run of the transaction: it need not be exact.

        Raises:
            Aborted: another process stored a result at the same time; run the work again.
        """
        key = call.idempotency
        if key is None:
            return
        stored = tx.responses.find(key.digest)
        if self._is_fresh(stored):
            return
        size = _add(tx, key, stored, result, kind)
        self._quota.add(key.key_id, size, datetime.now(UTC))

    def forget(self, tx: Transaction, call: Call) -> None:
        """Delete the result of this request: its work was undone, and it may be sent again."""
        if call.idempotency is not None:
            tx.responses.remove(call.idempotency.digest)

    def _done(
        self, stored: StoredResponse | None, key: IdempotencyKey, kind: type[Result]
    ) -> "Done[Result] | None":
        if stored is None or not self._is_fresh(stored):
            return None
        if stored.fingerprint != key.fingerprint:
            text = "was used for another request"
            raise Invalid(Violation("request_id", Rule.ALREADY_USED, text))
        return Done(_from_json(stored.response, kind, before=stored.key_id is None))

    def _is_fresh(self, stored: StoredResponse | None) -> bool:
        return stored is not None and stored.create_time > datetime.now(UTC) - self._keep

    def _require_quota(self, key: IdempotencyKey) -> None:
        if self._quota.is_used_up(key.key_id, datetime.now(UTC)):
            text = "too many responses are stored for this API key; send it without a request id"
            raise Exhausted(Reason.KEPT_RESPONSES_QUOTA, text + " or retry later")

    def count_stored(self) -> None:
        """Add what was stored before this process began to the quota of each API key."""
        since = datetime.now(UTC) - self._keep
        usage = self._store.read_latest(Call(), lambda tx: tx.responses.usage(since))
        for key_id, minute, rows, size in usage:
            if minute < self._started:
                self._quota.add(key_id, size, minute, rows)

    def delete_expired(self) -> bool:
        """Delete some responses that have expired; returns whether there may be more.

        Reads them in the order of ids, which is that of time, and skips those with a time in
        the future, which come from a wrong clock.
        """
        now = datetime.now(UTC)
        before, after = now - self._keep, self._last_id
        oldest = self._store.read_latest(Call(), lambda tx: tx.responses.oldest(after, _BATCH))
        if any(time < before for _, time in oldest):
            up_to = oldest[-1][0]
            self._store.write(Call(), lambda tx: tx.responses.remove_old(after, up_to, before))
        fresh = any(before <= time <= now + _CLOCK_SKEW for _, time in oldest)
        more = len(oldest) == _BATCH and not fresh
        self._last_id = oldest[-1][0] if more else 0
        self._quota.forget(now)
        return more

    @property
    def period_s(self) -> float:
        """How often to look for expired responses, in seconds."""
        return min(_MAX_PERIOD_S, self._keep.total_seconds())


class ExpiryTask(BackgroundTask):
    """Deletes expired responses in the background, a few at a time."""

    def __init__(self, idempotency: Idempotency) -> None:
        super().__init__("expiry")
        self._idempotency = idempotency

    def _run(self) -> None:
        try:
            self._idempotency.count_stored()
        except PortalError as error:
            log.warning("quotas begin at 0: stored responses were not counted: %s", error.message)
        more = False
        while not self._stopped.wait(_BATCH_PAUSE_S if more else self._idempotency.period_s):
            try:
                more = self._idempotency.delete_expired()
            except PortalError as error:
                more = False
                log.warning("expired responses are not deleted for now: %s", error.message)


def _add(
    tx: Transaction,
    key: IdempotencyKey,
    expired: StoredResponse | None,
    result: Stored | None,
    kind: type[Any],
) -> int:
    """Store a result, in place of one that has expired; returns its size in bytes."""
    response = _to_json(result, kind)
    if expired:
        tx.responses.remove(key.digest)
    if not tx.responses.add(key, response, datetime.now(UTC)):
        # Another process was first. When this runs again, it finds that response.
        raise _concurrent_retry()
    return len(response)


def _may_have(caller: Caller, result: Stored | None) -> bool:
    """Whether a result is of a provider that the caller may use.

    The key may have been limited since. The work then runs, and does not find the provider.
    """
    if isinstance(result, Provider):
        provider_id = result.id
    elif isinstance(result, ClientType):
        provider_id = result.provider_id
    else:  # An id or nothing: it shows nothing of a provider.
        return True
    return not caller.provider_ids or provider_id in caller.provider_ids


def _concurrent_retry() -> Aborted:
    return Aborted(Reason.CONCURRENT_RETRY, "the same request is in progress; retry")


def _to_json(result: Stored | None, kind: type[Any]) -> bytes:
    response = _JSON[kind].dump_json(result and result.redacted())
    if len(response) > MAX_RESPONSE_BYTES:
        raise ValueError(f"a response of {len(response)} bytes")
    return response


def unreadable(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row of a stored response, for a check of the database."""
    if row["key_id"] is None:  # in the format of the previous version
        return None
    for kind in _JSON.values():
        with suppress(ValidationError):
            kind.validate_json(row["answer"])
            return None
    return "the stored response cannot be read"


def _from_json(response: bytes, kind: type[Any], *, before: bool) -> Any:
    if kind is type(None):
        return None
    if before:
        text = "it was done by an earlier version of the server, which kept the response otherwise"
        raise Precondition(Reason.RESPONSE_NOT_READABLE, text + ": get the resource instead")
    return _JSON[kind].validate_json(response)
