"""The queue in which a call waits: that of its API key.

This runs in grpcio's event thread, so it does not use the database: it looks up the
digest of the key among those that were valid when they were last checked. Calls with other keys
share queues with small limits. `KeyRing.authenticate` decides later whether a key is
valid, and reads the database for each call.
"""

import threading
from typing import Any

from portal_server.catalog.keyring import text_of
from portal_server.domain import keys
from portal_server.domain.keys import Caller
from portal_server.wire.events import Queued
from portal_server.wire.pool import Pool, Queue, Sharing
from portal_server.wire.rates import Limit, Rates
from portal_server.wire.requests import AUTHORIZATION, Metadata, values_of

MAX_KNOWN = 10_000
"""How many valid keys have their own queues; 10,000 take about 10 MiB."""
UNVERIFIED_THREADS = 2
"""How many reads, and how many writes, with unknown keys run at the same time; one of each while
calls with a valid key arrive."""
SHARED_READS = 1
"""How many reads of one key run at the same time while another key calls: with two, the other
key's calls take twice as long. A key that calls alone has half of the threads."""
PROVIDER_THREADS = 128
"""How many calls that wait for identity providers run at the same time. While they wait, they
use neither the interpreter nor the database."""
_WAITING_SHARE = 4
NO_LIMITS = Rates()


class CallerQueues:
    """The queues of one key, its limit, and the handlers of its calls by method.

    `caller` is whom the limit is for; None for the calls with unknown keys, which have none.
    """

    __slots__ = ("caller", "handlers", "limit", "providers", "reads", "writes")

    def __init__(
        self, reads: Queued, writes: Queued, providers: Queued, limit: Limit, caller: Caller | None
    ) -> None:
        self.reads = reads
        self.writes = writes
        self.providers = providers
        self.limit = limit
        self.caller = caller
        self.handlers: dict[str, Any] = {}

    @property
    def verified(self) -> bool:
        """Whether they are those of a key that was valid."""
        return self.caller is not None


class Callers:
    """The pools of a server, and the queues of each key."""

    def __init__(self, write_threads: int, max_waiting: int, rates: Rates = NO_LIMITS) -> None:
        sharing = Sharing()
        self.reads = Pool("read", read_threads(write_threads), max_waiting, sharing)
        self.writes = Pool("write", write_threads, max_waiting, sharing)
        # Other calls do not slow these down, so only these count as calls of another key.
        self.providers = Pool("provider", PROVIDER_THREADS, max_waiting)
        self._write_threads = write_threads
        self._max_waiting = max(1, max_waiting // _WAITING_SHARE)
        self._lock = threading.Lock()
        self._rates = rates
        # By digest: the caller, until its first call.
        self._known: dict[bytes, CallerQueues | Caller] = {}
        # By the id of a key, which may have several digests.
        self._queues: dict[str, CallerQueues] = {}
        few, limit = UNVERIFIED_THREADS, Limit()
        self.unverified = CallerQueues(
            self._queued(self.reads, self, 1, few, limit),
            self._queued(self.writes, self, 1, few, limit),
            self._queued(self.providers, self, 1, few, limit),
            limit,
            None,
        )

    @property
    def pools(self) -> tuple[Pool, Pool, Pool]:
        """All pools."""
        return self.reads, self.writes, self.providers

    def of(self, metadata: Metadata) -> CallerQueues:
        """The queues of a call with these headers."""
        text = text_of(values_of(metadata, AUTHORIZATION))
        if text is None:
            return self.unverified
        digest = keys.digest(text)
        found = self._known.get(digest)
        if found is None:
            return self.unverified
        return found if isinstance(found, CallerQueues) else self._first(digest, found)

    def add(self, digest: bytes, caller: Caller) -> None:
        """Note that the key with this digest is valid, and whose it is."""
        with self._lock:
            if digest not in self._known:
                _make_room(self._known)
                self._known[digest] = caller

    def note_valid(self, metadata: Metadata, queues: CallerQueues, caller: Caller) -> None:
        """Note whose key is in these headers, and apply its current limit."""
        if queues.caller is None:
            text = text_of(values_of(metadata, AUTHORIZATION))
            if text is not None:
                self.add(keys.digest(text), caller)
            return
        queues.caller = caller
        self._rates.apply(caller, queues.limit)

    def note_invalid(self, metadata: Metadata) -> None:
        """Note that the key in these headers is not valid."""
        text = text_of(values_of(metadata, AUTHORIZATION))
        if text is not None:
            with self._lock:
                self._known.pop(keys.digest(text), None)

    def _first(self, digest: bytes, caller: Caller) -> CallerQueues:
        """The queues of a valid key, at its first call with this digest."""
        with self._lock:
            queues = self._queues.get(caller.key_id)
            if queues is None:
                queues = self._new(caller)
                _make_room(self._queues)
                self._queues[caller.key_id] = queues
            if digest in self._known:
                self._known[digest] = queues
        return queues

    def _new(self, caller: Caller) -> CallerQueues:
        half = max(1, read_threads(self._write_threads) // 2)
        eighth = max(1, self._write_threads // 8)
        owner, limit = caller.key_id, Limit()
        self._rates.apply(caller, limit)
        waiting, alone = PROVIDER_THREADS // 8, PROVIDER_THREADS // 2
        return CallerQueues(
            self._queued(self.reads, owner, min(SHARED_READS, half), half, limit),
            self._queued(self.writes, owner, eighth, self._write_threads, limit),
            self._queued(self.providers, owner, waiting, alone, limit),
            limit,
            caller,
        )

    def _queued(
        self, pool: Pool, owner: object, running: int, running_alone: int, limit: Limit
    ) -> Queued:
        queue = Queue(
            owner=owner,
            running=running,
            running_alone=running_alone,
            max_waiting=self._max_waiting,
        )
        return Queued(pool, queue, limit)


def _make_room(known: dict[Any, Any]) -> None:
    """Forget the oldest entry if there are too many."""
    if len(known) >= MAX_KNOWN:
        del known[next(iter(known))]


def read_threads(write_threads: int) -> int:
    """How many threads serve reads, for this number of threads that serve writes.

    A key that calls alone gets half of them: six concurrent reads in PostgreSQL keep the
    interpreter busy. SQLite needs fewer. Each thread has a connection.
    """
    return max(2, write_threads * 3 // 4)
