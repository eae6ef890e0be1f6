"""Reads sealed audit events in their final order, and removes old ones."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from portal_server.domain.audit import (
    MAX_EVENT_ID,
    START,
    Place,
    Placed,
    Range,
    Seal,
    StoredEvent,
    meets,
)
from portal_server.domain.calls import Call
from portal_server.domain.errors import OutOfRange, Reason
from portal_server.domain.lists import Condition
from portal_server.storage.store import Store, Transaction

MAX_EXAMINED = 2000
"""How many events a page with a filter examines."""
MAX_BYTES = 1 << 20
"""How many bytes of resources a page has; it has one event even if that is larger."""
_SEALS = 100
_EVENTS = 500
# The pause between pieces, so that the writes of the servers hardly wait.
_PAUSE_S = 0.02
PRUNED_TO = "pruned_to"
"""The fact of a removal: the last position that was removed."""
# The clocks of two servers differ by less.
_CLOCK_SKEW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in their final order; `last` is the place of the last one examined.

    `more` is whether others follow. `complete` is whether none of them was removed before.
    """

    items: Sequence[Placed]
    last: Place
    more: bool
    complete: bool


class AuditLog:
    """The audit log of one portal."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def head(self, call: Call) -> Seal | None:
        """The newest seal."""
        return self._store.read_latest(call, lambda tx: tx.audit.head())

    def list(
        self,
        call: Call,
        after: Place,
        limit: int,
        where: Sequence[Condition] = (),
        since: datetime | None = None,
    ) -> EventPage:
        """The events after a place that meet all conditions, at most `limit`.

        With `since`, only events since this time.

        A page has at most `MAX_BYTES` and examines at most `MAX_EXAMINED` events.
        """

        def work(tx: Transaction) -> EventPage:
            items: list[Placed] = []
            size, at, complete = 0, after, True
            begin = after.position
            if since:
                begin = max(begin, tx.audit.position_before(since))
            for place, stored in _following(tx, begin):
                complete = complete and stored is not None
                if stored and _is_since(stored, since) and meets(stored.event, where):
                    size += len(stored.event.before) + len(stored.event.after)
                    if len(items) == limit or (items and size > MAX_BYTES):
                        return EventPage(items, at, more=True, complete=complete)
                    items.append(Placed(place, stored.event))
                at = place
                if at.position - begin >= MAX_EXAMINED:
                    return EventPage(items, at, more=True, complete=complete)
            return EventPage(items, at, more=False, complete=complete)

        return self._store.read_latest(call, work)

    def begin(self, call: Call, after: Place | None) -> Place:
        """Where a stream of changes begins: after this place, or after the newest seal.

        Raises:
            OutOfRange: the database does not have this place, or what follows was removed.
        """

        def work(tx: Transaction) -> Place:
            if after is None:
                head = tx.audit.head()
                return Place(head.position, head.hash) if head else START
            seals = tx.audit.seals(after.position - 1, 1) if after.position else ()
            if after.position and not any(seal.hash.startswith(after.hash) for seal in seals):
                text = "the database has no change with this resume_token"
                raise OutOfRange(Reason.RESUME_TOKEN_UNKNOWN, f"{text}: list the resources again")
            for _, stored in _following(tx, after.position):
                if stored is None:
                    raise expired()
                break
            return after

        return self._store.read_latest(call, work)

    def position_before(self, call: Call, since: datetime) -> int:
        """A position after which all events since this time are."""
        return self._store.read_latest(call, lambda tx: tx.audit.position_before(since))

    def first_position(self, call: Call) -> int:
        """A position after which all remaining events are."""
        return self._store.read_latest(call, _before_the_first)

    def prune(self, call: Call, before: datetime) -> int:
        """Remove the events that were sealed before a time; returns the last position removed.

        Their seals stay. The removal is an event, which is stored first. PostgreSQL: only the
        owner of the tables may do it.
        """
        last = self.position_before(call, before)
        if last <= self.first_position(call):
            return 0
        self._store.write(call, lambda tx: tx.audit.add_maintenance(call, {PRUNED_TO: last}))
        for seal in seals_of(self._store, call, last):
            for piece in chain.from_iterable(map(pieces, seal.ids)):
                self._remove(call, piece)
        return last

    def _remove(self, call: Call, ids: Range) -> None:
        if self._store.read_latest(call, lambda tx: tx.audit.digests(ids, 1)):
            self._store.write(call, lambda tx: tx.audit.prune(ids))
            time.sleep(_PAUSE_S)


def expired() -> OutOfRange:
    """The error of a stream whose next changes were removed."""
    text = "the changes after this resume_token were removed: list the resources again"
    return OutOfRange(Reason.RESUME_TOKEN_EXPIRED, text)


def seals_of(store: Store, call: Call, last: int) -> Iterator[Seal]:
    """The seals up to the one at this position, in their order."""

    def read(after: int) -> list[Seal]:
        return store.read_latest(call, lambda tx: tx.audit.seals(after, _SEALS))

    after = 0
    while after < last and (seals := read(after)):
        for seal in seals:
            if seal.position <= last:
                yield seal
        after = seals[-1].position


def events_of(tx: Transaction, ids: Range) -> Iterator[tuple[int, StoredEvent | None]]:
    """These IDs, each with its event; None: there is none."""
    for piece in pieces(ids):
        found = {stored.id: stored for stored in tx.audit.events(piece, _EVENTS)}
        for id_ in range(piece[0], piece[1] + 1):
            yield id_, found.get(id_)


def pieces(ids: Range) -> Iterator[Range]:
    """Parts of a range that are read or deleted at once."""
    first, last = ids
    for start in range(first, last + 1, _EVENTS):
        yield start, min(last, start + _EVENTS - 1)


def _is_since(stored: StoredEvent, since: datetime | None) -> bool:
    return since is None or stored.event.create_time >= since


def _following(tx: Transaction, after: int) -> Iterator[tuple[Place, StoredEvent | None]]:
    """The places after this one, each with its event; None: it was removed.

    Of those that were removed, most are skipped.
    """
    for place, stored in _all_following(tx, after):
        yield place, stored
        if stored is None:
            yield from _all_following(tx, max(place.position, _before_the_first(tx)))
            return


def _all_following(tx: Transaction, after: int) -> Iterator[tuple[Place, StoredEvent | None]]:
    while seals := tx.audit.seals(after, _SEALS):
        for seal in seals:
            at = seal.position - seal.count
            for first, last in seal.ids:
                begin = first + max(0, after - at)
                for id_, stored in events_of(tx, (begin, last)):
                    yield Place(at + 1 + id_ - first, seal.hash), stored
                at += last - first + 1
        after = seals[-1].position


def _before_the_first(tx: Transaction) -> int:
    """A position before the first remaining event, and after most of the removed ones."""
    for stored in tx.audit.events((0, MAX_EVENT_ID), 1):
        return tx.audit.position_before(stored.event.create_time - _CLOCK_SKEW)
    head = tx.audit.head()
    return head.position if head else 0
