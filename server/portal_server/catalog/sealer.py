"""Seals audit events: gives committed events their final order, one server at a time.

An event gets its ID at the end of its transaction, and transactions are not committed in the
order of IDs. So a seal has the events that were committed since the previous one, in ascending
order of ID. An ID that is skipped is looked for again until all transactions that could have it
have ended.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from portal_server.catalog.background import BackgroundTask
from portal_server.catalog.updates import now
from portal_server.domain.audit import GENESIS, MAX_EVENT_ID, Range, Seal, content_hash, ranges_of
from portal_server.domain.calls import Call, Origin
from portal_server.domain.errors import PortalError
from portal_server.domain.identity import new_uid
from portal_server.storage.store import Store, Transaction

log = logging.getLogger(__name__)

PERIOD_S = 1.0
"""How often events are sealed."""
LEASE = timedelta(seconds=5)
"""How long the other servers wait after the one that seals has exited."""
MAX_EVENTS = 5000
"""How many new events a seal has at most."""
_NAME = "audit sealer"
_CALL = Call(origin=Origin(_NAME))


class Sealer(BackgroundTask):
    """The background task of one server. When it is stopped, it seals what there is."""

    def __init__(self, store: Store) -> None:
        super().__init__("sealer")
        self._store = store
        self._holder = new_uid()
        # For each range of missing IDs: when all transactions before this one have ended, they
        # are gone.
        self._decided_at: dict[Range, int] = {}
        self._held = False

    def seal(self) -> int:
        """Seal the events that were committed; returns how many."""
        if not self._store.read_latest(_CALL, self._is_due):
            return 0
        return self._store.write(_CALL, self._seal)

    def _run(self) -> None:
        more = False
        while not self._stopped.wait(0 if more else PERIOD_S):
            more = self._try_to_seal() >= MAX_EVENTS
        self._try_to_seal()
        self.release()

    def _try_to_seal(self) -> int:
        try:
            return self.seal()
        except PortalError as error:
            log.warning("audit events are not sealed for now: %s", error.message)
        except Exception:
            log.exception("audit events are not sealed for now")
        return 0

    def release(self) -> None:
        """Let another server seal, if this one does."""
        if not self._held:
            return
        try:
            self._store.write(_CALL, lambda tx: tx.leases.release(_NAME, self._holder))
        except PortalError as error:
            log.warning("the lease is not released and expires later: %s", error.message)

    def _is_due(self, tx: Transaction) -> bool:
        head = tx.audit.head()
        if head is None:
            return tx.audit.last_id() > 0
        return tx.audit.last_id() > head.last_id or any(
            tx.audit.digests(ids, 1) for ids in head.missing
        )

    def _seal(self, tx: Transaction) -> int:
        present = now()
        self._held = tx.leases.acquire(_NAME, self._holder, present, present + LEASE)
        if not self._held:
            return 0
        head = tx.audit.head()
        last_id, missing = (head.last_id, head.missing) if head else (0, ())
        gone = self._gone(tx, missing)
        found = tx.audit.digests((last_id + 1, MAX_EVENT_ID), MAX_EVENTS)
        # The lower IDs later: PostgreSQL shows each statement what was committed before it, so an
        # event that is found has all earlier events of its resource with it or before it.
        for ids in reversed(missing):
            found = tx.audit.digests(ids, ids[1] - ids[0] + 1) + found
        if not found:
            return 0
        tx.audit.add_seal(_seal_after(head, missing, gone, found))
        return len(found)

    def _gone(self, tx: Transaction, missing: Sequence[Range]) -> set[Range]:
        """The missing IDs that will never be committed, if they are not there now.

        Call it before the events are read: a transaction may be committed in between.
        """
        if not missing:
            self._decided_at.clear()
            return set()
        oldest, next_ = tx.audit.transactions()
        self._decided_at = {ids: self._decided_at.get(ids, next_) for ids in missing}
        return {ids for ids, decided_at in self._decided_at.items() if decided_at <= oldest}


def _seal_after(
    head: Seal | None,
    missing: Sequence[Range],
    gone: Collection[Range],
    found: Sequence[tuple[int, str]],
) -> Seal:
    ids = [id_ for id_, _ in found]
    last_id = head.last_id if head else 0
    newest = max(last_id, ids[-1])
    # Of ranges that are gone, some events may have been found: they were committed last.
    rest = _without([*missing, (last_id + 1, newest)], ids)
    remaining = [each for each in rest if not any(a <= each[0] <= b for a, b in gone)]
    seal = Seal(
        position=(head.position if head else 0) + len(found),
        count=len(found),
        ids=ranges_of(ids),
        last_id=newest,
        missing=remaining,
        create_time=now(),
        content_hash=content_hash([digest for _, digest in found]),
        hash="",
    )
    return replace(seal, hash=seal.expected_hash(head.hash if head else GENESIS))


def _without(ranges: Sequence[Range], ids: Sequence[int]) -> list[Range]:
    """What remains of ascending ranges without these ascending IDs."""
    rest: list[Range] = []
    at = 0
    for first, last in ranges:
        start = first
        while at < len(ids) and ids[at] <= last:
            if ids[at] > start:
                rest.append((start, ids[at] - 1))
            start = ids[at] + 1
            at += 1
        if start <= last:
            rest.append((start, last))
    return rest
