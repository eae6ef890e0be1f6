"""Verifies that no audit event and no seal was changed after it was sealed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from portal_server.catalog.audit_log import PRUNED_TO, events_of, pieces, seals_of
from portal_server.domain.audit import (
    GENESIS,
    MAX_EVENT_ID,
    AuditKind,
    Range,
    Seal,
    StoredEvent,
    content_hash,
)
from portal_server.domain.calls import Call
from portal_server.domain.errors import OperatorError
from portal_server.storage.store import Store


class InvalidHead(OperatorError):
    """A head that `--expect` gives is not one that a report has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a verification; there are no `problems` if nothing was changed."""

    head: str
    """The position and the hash of the newest seal, to keep in another place."""
    verified: int
    removed: int
    """How many events were removed by a recorded command."""
    unsealed: int
    problems: Sequence[str]


def verify(store: Store, call: Call, expect: str = "") -> Report:
    """Compute all hashes again, up to the newest seal.

    `expect` is the head of an earlier report: its seal must still be there.

    Raises:
        InvalidHead: `expect` is not a head.
        PortalError: the storage failed.
    """
    verification = _Verification(store, call, expect)
    head = store.read_latest(call, lambda tx: tx.audit.head())
    previous, after = GENESIS, 0
    for seal in seals_of(store, call, head.position if head else 0):
        verification.check(seal, previous, after)
        previous, after = seal.hash, seal.position
    return verification.report(head)


class _Verification:
    """One pass over all seals and events."""

    def __init__(self, store: Store, call: Call, expect: str) -> None:
        self._store = store
        self._call = call
        self._expected = _parsed(expect) if expect else None
        self._found = self._removed = 0
        self._missing: list[Range] = []
        self._removed_to = 0
        self._problems: list[str] = []

    def check(self, seal: Seal, previous: str, after: int) -> None:
        """Verify a seal that follows the one with this hash, at this position."""
        size = sum(last - first + 1 for first, last in seal.ids)
        at = f"position {seal.position}"
        if seal.position != after + seal.count or seal.count != size:
            self._problems.append(f"seals are missing between position {after} and {at}")
        elif seal.hash != seal.expected_hash(previous):
            self._problems.append(f"the seal at {at} was changed, or one before it")
        if self._expected and self._expected[0] == seal.position:
            if self._expected[1] != seal.hash:
                self._problems.append(f"the seal at {at} is not the expected one")
            self._expected = None
        self._check_events(seal)

    def _check_events(self, seal: Seal) -> None:
        before = self._removed, len(self._problems)
        digests: list[str] = []
        for position, stored in enumerate(self._events(seal), seal.position - seal.count + 1):
            if stored is None:
                self._add_missing(position)
                continue
            digests.append(self._check_event(position, stored))
        unchanged = before == (self._removed, len(self._problems))
        if unchanged and content_hash(digests) != seal.content_hash:
            text = f"events of the seal at position {seal.position} were changed"
            self._problems.append(text)

    def _events(self, seal: Seal) -> Iterator[StoredEvent | None]:
        for piece in chain.from_iterable(map(pieces, seal.ids)):
            yield from self._read(piece)

    def _read(self, ids: Range) -> list[StoredEvent | None]:
        return self._store.read_latest(
            self._call, lambda tx: [stored for _, stored in events_of(tx, ids)]
        )

    def _check_event(self, position: int, stored: StoredEvent) -> str:
        self._found += 1
        digest = stored.event.digest()
        if digest != stored.digest:
            self._problems.append(f"the event at position {position} was changed")
        if stored.event.kind is AuditKind.DATABASE:
            facts = json.loads(stored.event.after)
            self._removed_to = max(self._removed_to, facts.get(PRUNED_TO, 0))
        return digest

    def _add_missing(self, position: int) -> None:
        self._removed += 1
        if self._missing and self._missing[-1][1] == position - 1:
            self._missing[-1] = self._missing[-1][0], position
        else:
            self._missing.append((position, position))

    def report(self, head: Seal | None) -> Report:
        """The result."""
        for first, last in self._missing:
            if last > self._removed_to:
                begin = max(first, self._removed_to + 1)
                self._problems.append(f"the events at positions {begin} to {last} are missing")
        if self._expected:
            text = f"there is no seal at the expected position {self._expected[0]}"
            self._problems.append(text)
        last_id = head.last_id if head else 0
        open_ = sum(map(self._count, head.missing)) if head else 0
        inserted = self._count((-MAX_EVENT_ID, last_id)) - open_ - self._found
        if inserted > 0:
            self._problems.append(f"{inserted} events are in no seal: they were inserted later")
        return Report(
            head=f"{head.position}:{head.hash}" if head else f"0:{GENESIS}",
            verified=self._found,
            removed=self._removed,
            unsealed=self._count((last_id + 1, MAX_EVENT_ID)) + open_,
            problems=self._problems,
        )

    def _count(self, ids: Range) -> int:
        return self._store.read_latest(self._call, lambda tx: tx.audit.count(ids))


def _parsed(head: str) -> tuple[int, str]:
    position, _, hash_ = head.partition(":")
    if not position.isdecimal() or len(hash_) != len(GENESIS):
        raise InvalidHead(f"{head} is not a head as `portal audit verify` prints it")
    return int(position), hash_
