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
from portal_server.wire.events import Queued
from portal_server.wire.pool import Pool, Queue, Sharing
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


class CallerQueues:
    """The queues of one key, and the handlers of its calls by method."""

    __slots__ = ("handlers", "providers", "reads", "verified", "writes")

    def __init__(self, reads: Queued, writes: Queued, providers: Queued, *, verified: bool) -> None:
        self.reads = reads
        self.writes = writes
        self.providers = providers
        self.verified = verified
        self.handlers: dict[str, Any] = {}


class Callers:
    """The pools of a server, and the queues of each key."""

    def __init__(self, write_threads: int, max_waiting: int) -> None:
        sharing = Sharing()
        self.reads = Pool("read", read_threads(write_threads), max_waiting, sharing)
        self.writes = Pool("write", write_threads, max_waiting, sharing)
        # Other calls do not slow these down, so only these count as calls of another key.
        self.providers = Pool("provider", PROVIDER_THREADS, max_waiting)
        self._write_threads = write_threads
        self._max_waiting = max(1, max_waiting // _WAITING_SHARE)
        self._lock = threading.Lock()
        self._known: dict[bytes, CallerQueues | None] = {}
        few = UNVERIFIED_THREADS
        self.unverified = CallerQueues(
            self._queued(self.reads, self, 1, few),
            self._queued(self.writes, self, 1, few),
            self._queued(self.providers, self, 1, few),
            verified=False,
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
        try:
            return self._known[digest] or self._first(digest)
        except KeyError:
            return self.unverified

    def add(self, digest: bytes) -> None:
        """Note that the key with this digest is valid."""
        with self._lock:
            if digest in self._known:
                return
            if len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[digest] = None

    def note(self, metadata: Metadata, *, valid: bool) -> None:
        """Note whether the key in these headers is valid."""
        text = text_of(values_of(metadata, AUTHORIZATION))
        if text is None:
            return
        if valid:
            self.add(keys.digest(text))
        else:
            with self._lock:
                self._known.pop(keys.digest(text), None)

    def _first(self, digest: bytes) -> CallerQueues:
        """The queues of a valid key, at its first call."""
        half = max(1, read_threads(self._write_threads) // 2)
        eighth = max(1, self._write_threads // 8)
        queues = CallerQueues(
            self._queued(self.reads, digest, min(SHARED_READS, half), half),
            self._queued(self.writes, digest, eighth, self._write_threads),
            self._queued(self.providers, digest, PROVIDER_THREADS // 8, PROVIDER_THREADS // 2),
            verified=True,
        )
        with self._lock:
            if digest in self._known:
                self._known[digest] = queues
        return queues

    def _queued(self, pool: Pool, owner: object, running: int, running_alone: int) -> Queued:
        queue = Queue(
            owner=owner,
            running=running,
            running_alone=running_alone,
            max_waiting=self._max_waiting,
        )
        return Queued(pool, queue)


def read_threads(write_threads: int) -> int:
    """How many threads serve reads, for this number of threads that serve writes.

    A key that calls alone gets half of them: six concurrent reads in PostgreSQL keep the
    interpreter busy. SQLite needs fewer. Each thread has a connection.
    """
    return max(2, write_threads * 3 // 4)
