"""Providers with all their client types, as REST returns them: reads that may be large.

Most providers have a few dozen client types. For those that have thousands, the
size of a response is bounded, and they are read one at a time.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from portal_server.domain.calls import Call
from portal_server.domain.client_type import ClientType
from portal_server.domain.errors import Exhausted, NotFound, Precondition, Reason
from portal_server.domain.identity import Ref
from portal_server.domain.lists import PageRange
from portal_server.domain.provider import Provider
from portal_server.storage.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class ProviderDetail:
    """A provider with all its client types."""

    provider: Provider
    client_types: list[ClientType]


# A response of that many client types takes about a second of the server's one core, and
# Envoy holds all of it while it converts it to JSON.
MAX_CLIENT_TYPES = 10_000
# The bytes of all texts: a few responses of this size fit into the memory of a small machine.
MAX_TEXT_BYTES = 32 << 20
# Providers with more client types than this are read one at a time, with pauses.
LARGE = 100
# How long a large read waits to begin: less than callers wait.
WAIT_S = 2.0
# Envoy converts a response to JSON in one step, in the one thread that serves all callers:
# about 40 ms for a megabyte of text and 15 us for each client type. The pause after a
# large read leaves half of that thread to other calls.
PAUSE_PER_BYTE_S = 80e-9
PAUSE_PER_CLIENT_TYPE_S = 30e-6
MAX_PAUSE_S = 1.0


class _Pace:
    """Large reads, one at a time, each followed by a pause in proportion to its size."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0

    @contextmanager
    def turn(self, rows: int, size: int) -> Iterator[None]:
        """Wait for the previous read and its pause. Raises: Exhausted, after WAIT_S."""
        if not self._lock.acquire(timeout=WAIT_S):
            text = f"too many providers with over {LARGE} client types are being read; retry later"
            raise Exhausted(Reason.TOO_MANY_LARGE_READS, text)
        try:
            time.sleep(max(0.0, self._free_at - time.monotonic()))
            yield
            pause = rows * PAUSE_PER_CLIENT_TYPE_S + size * PAUSE_PER_BYTE_S
            self._free_at = time.monotonic() + min(pause, MAX_PAUSE_S)
        finally:
            self._lock.release()


class ProviderDetails:
    """Reads providers with their client types."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pace = _Pace()

    def get(self, call: Call, ref: Ref) -> ProviderDetail:
        """A provider and all its client types, in one snapshot.

        Raises:
            NotFound: there is no such provider.
            Precondition: it has more client types than are returned at once.
            Exhausted: too many large ones are being read.
        """

        def read(tx: Transaction, limit: int) -> ProviderDetail:
            provider, rows = tx.providers.get(ref), PageRange(limit=limit)
            return ProviderDetail(provider, tx.client_types.list(provider.id, (), rows).items)

        found = self._store.read_snapshot(call, lambda tx: read(tx, LARGE + 1))
        if len(found.client_types) <= LARGE:
            return found

        def work(tx: Transaction) -> ProviderDetail:
            _check(*tx.client_types.measure(found.provider.id, MAX_CLIENT_TYPES + 1))
            return read(tx, MAX_CLIENT_TYPES)

        with self.reserved(call, ref):
            return self._store.read_snapshot(call, work)

    @contextmanager
    def reserved(self, call: Call, ref: Ref) -> Iterator[None]:
        """Reserve the resources to read a provider's client types in this block.

        A provider that does not exist needs none: its request may be a retry.

        Raises:
            Precondition: it has more than are returned at once.
            Exhausted: too many large ones are being read.
        """

        def measure(tx: Transaction) -> tuple[int, int]:
            try:
                id_ = tx.providers.id_of(ref)
            except NotFound:
                return 0, 0
            return tx.client_types.measure(id_, MAX_CLIENT_TYPES + 1)

        rows, size = self._store.read_latest(call, measure)
        _check(rows, size)
        if rows <= LARGE:
            yield
            return
        with self._pace.turn(rows, size):
            yield

    def client_types(self, call: Call, id_: int) -> list[ClientType]:
        """All client types of a provider, including those that were created after `reserved`."""
        rows = PageRange(limit=2 * MAX_CLIENT_TYPES)
        return self._store.read_latest(call, lambda tx: tx.client_types.list(id_, (), rows).items)


def _check(rows: int, size: int) -> None:
    if rows > MAX_CLIENT_TYPES:
        raise _too_large(f"more than {MAX_CLIENT_TYPES} client types")
    if size > MAX_TEXT_BYTES:
        raise _too_large(f"client types with more than {MAX_TEXT_BYTES >> 20} MiB of text")


def _too_large(what: str) -> Precondition:
    text = f"the provider has {what}: list its client types in pages instead"
    return Precondition(Reason.PROVIDER_TOO_LARGE, text)
