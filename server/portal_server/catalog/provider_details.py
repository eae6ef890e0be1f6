"""Providers with all their client types, as REST shows them: reads that may be large.

Most providers have a few dozen client types. One that has thousands would be a
response of any size, so there is an end to it, and to how many are read at once.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from portal_server.domain.errors import Exhausted, NotFound, Precondition, Resource
from portal_server.domain.model import ClientType, Provider
from portal_server.storage.store import Store, Transaction

Whole = tuple[Provider, list[ClientType]]

# A response of that many client types takes the server about a second of its one
# core, and Envoy holds it whole while it becomes JSON.
MAX_CLIENT_TYPES = 10_000
# Of names and descriptions: a few such responses fit into the memory of a small machine.
MAX_TEXT_BYTES = 32 << 20
# Of more than LARGE client types at the same time: two take the core long enough.
MAX_LARGE_READS = 2
LARGE = 1_000
# For one of those reads to end: shorter than callers wait.
WAIT_S = 2.0


class Wholes:
    """Reads providers with their client types."""

    def __init__(self, store: Store) -> None:
        """Take the store."""
        self._store = store
        self._large = threading.BoundedSemaphore(MAX_LARGE_READS)

    def get(self, id_: int) -> Whole:
        """A provider and all its client types of the same moment.

        Raises:
            NotFound: there is no such provider.
            Precondition: it has more client types than are shown at once.
            Exhausted: too many large ones are being read.
        """
        provider, client_types = self._store.read(
            lambda tx: (_provider(tx, id_), tx.all_client_types(id_, LARGE + 1))
        )
        if len(client_types) <= LARGE:
            return provider, client_types

        def all_(tx: Transaction) -> Whole:
            found = _provider(tx, id_)
            _check(*tx.measure_client_types(id_, MAX_CLIENT_TYPES + 1))
            return found, tx.all_client_types(id_, MAX_CLIENT_TYPES)

        del client_types
        with self._place():
            return self._store.read(all_)

    @contextmanager
    def room_for(self, id_: int) -> Iterator[None]:
        """Accept that a provider's client types are read with `client_types` before this ends.

        Raises:
            Precondition: it has more than are shown at once.
            Exhausted: too many large ones are being read.
        """
        rows, size = self._store.look(lambda tx: tx.measure_client_types(id_, MAX_CLIENT_TYPES + 1))
        _check(rows, size)
        if rows <= LARGE:
            yield
            return
        with self._place():
            yield

    def client_types(self, id_: int) -> list[ClientType]:
        """All client types of a provider, with those that came since there was room for them."""
        return self._store.look(lambda tx: tx.all_client_types(id_, 2 * MAX_CLIENT_TYPES))

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._large.acquire(timeout=WAIT_S):
            text = f"too many providers with over {LARGE} client types are read; try again later"
            raise Exhausted("TOO_MANY_LARGE_READS", text)
        try:
            yield
        finally:
            self._large.release()


def _provider(tx: Transaction, id_: int) -> Provider:
    found = tx.find_provider(id_)
    if found is None:
        raise NotFound(Resource.PROVIDER, id_)
    return found


def _check(rows: int, size: int) -> None:
    if rows > MAX_CLIENT_TYPES:
        raise _too_large(f"more than {MAX_CLIENT_TYPES} client types")
    if size > MAX_TEXT_BYTES:
        raise _too_large(f"client types with more than {MAX_TEXT_BYTES >> 20} MiB of text")


def _too_large(what: str) -> Precondition:
    text = f"the provider has {what}: read them by pages, from the list of its client types"
    return Precondition("PROVIDER_TOO_LARGE", text)
