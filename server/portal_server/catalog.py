"""What the portal does with providers and client types: the use cases.

Each method is one call of either surface: find, check, write, in one
transaction, so that what was checked is still so when it is written. Who may
call is settled before; how a call looked on the wire is not known here.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import uuid4

from portal_server.domain import rules
from portal_server.domain.errors import NotFound, Resource
from portal_server.domain.model import (
    ClientType,
    ClientTypeDraft,
    Condition,
    Provider,
    ProviderDraft,
    ProviderType,
    Slice,
)
from portal_server.storage.store import Lock, Store, Transaction

Item = TypeVar("Item", Provider, ClientType)
Draft = TypeVar("Draft", ProviderDraft, ClientTypeDraft)

# How many client types a refusal names.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Rows in ascending order of id; `next_after` is None on the last page."""

    items: list[Item]
    next_after: int | None


class Catalog:
    """The providers and client types of one portal."""

    def __init__(self, store: Store) -> None:
        """Take the store that keeps them."""
        self._store = store

    # Providers

    def create_provider(self, draft: ProviderDraft) -> Provider:
        """Create a provider. Raises: Invalid."""
        spec = rules.check_provider(draft)
        return self._store.write(lambda tx: tx.add_provider(spec, _uid(), _now()))

    def get_provider(self, id_: int) -> Provider:
        """Get a provider. Raises: NotFound."""
        return self._store.read(lambda tx: _provider(tx, id_))

    def get_provider_with_client_types(self, id_: int) -> tuple[Provider, list[ClientType]]:
        """Get a provider and all its client types of the same moment. Raises: NotFound."""
        return self._store.read(lambda tx: (_provider(tx, id_), _all_client_types(tx, id_)))

    def list_providers(self, where: Sequence[Condition], part: Slice) -> Page[Provider]:
        """List the providers that meet all conditions."""
        return _page(part, lambda more: self._store.read(lambda tx: tx.list_providers(where, more)))

    def update_provider(
        self, id_: int, draft: ProviderDraft, fields: Collection[str]
    ) -> tuple[Provider, list[ClientType]]:
        """Write those fields of a provider, if any; returns it with its client types.

        Raises: NotFound, Invalid, Precondition (it becomes an Okta provider
        while one of its client types has no app type).
        """

        def work(tx: Transaction) -> tuple[Provider, list[ClientType]]:
            stored = _provider(tx, id_, "exclusive")
            if not fields:
                return stored, _all_client_types(tx, id_)
            spec = rules.check_provider(_merged(_draft(stored, ProviderDraft), draft, fields))
            if spec.type is ProviderType.OKTA and stored.type is not ProviderType.OKTA:
                rules.check_becomes_okta(tx.client_types_without_app_type(id_, _NAMED))
            now = _now()
            tx.update_provider(id_, spec, now)
            written = replace(stored, **asdict(spec), update_time=now)
            return written, _all_client_types(tx, id_)

        return self._store.write(work)

    def delete_provider(self, id_: int) -> None:
        """Delete a provider with its client types. Raises: NotFound."""

        def work(tx: Transaction) -> None:
            if not tx.remove_provider(id_):
                raise NotFound(Resource.PROVIDER, id_)

        self._store.write(work)

    # Client types

    def create_client_type(self, provider_id: int, draft: ClientTypeDraft) -> ClientType:
        """Create a client type. Raises: NotFound, Invalid."""

        def work(tx: Transaction) -> ClientType:
            provider = _provider(tx, provider_id, "shared")
            spec = rules.check_client_type(draft, provider.type)
            return tx.add_client_type(provider_id, spec, _uid(), _now())

        return self._store.write(work)

    def get_client_type(self, provider_id: int, id_: int) -> ClientType:
        """Get a client type of this provider. Raises: NotFound."""

        def work(tx: Transaction) -> ClientType:
            _provider(tx, provider_id)
            return _client_type(tx, provider_id, id_)

        return self._store.read(work)

    def list_client_types(
        self, provider_id: int, where: Sequence[Condition], part: Slice
    ) -> Page[ClientType]:
        """List the client types of a provider that meet all conditions. Raises: NotFound."""

        def read(more: Slice) -> list[ClientType]:
            def work(tx: Transaction) -> list[ClientType]:
                _provider(tx, provider_id)
                return tx.list_client_types(provider_id, where, more)

            return self._store.read(work)

        return _page(part, read)

    def update_client_type(
        self, provider_id: int, id_: int, draft: ClientTypeDraft, fields: Collection[str]
    ) -> ClientType:
        """Write those fields of a client type, if any. Raises: NotFound, Invalid."""

        def work(tx: Transaction) -> ClientType:
            provider = _provider(tx, provider_id, "shared")
            stored = _client_type(tx, provider_id, id_, "exclusive")
            if not fields:
                return stored
            merged = _merged(_draft(stored, ClientTypeDraft), draft, fields)
            spec = rules.check_client_type(merged, provider.type)
            now = _now()
            tx.update_client_type(id_, spec, now)
            return replace(stored, **asdict(spec), update_time=now)

        return self._store.write(work)

    def delete_client_type(self, provider_id: int, id_: int) -> None:
        """Delete a client type of this provider. Raises: NotFound."""

        def work(tx: Transaction) -> None:
            _provider(tx, provider_id)
            if not tx.remove_client_type(provider_id, id_):
                raise NotFound(Resource.CLIENT_TYPE, id_)

        self._store.write(work)


def _provider(tx: Transaction, id_: int, lock: Lock | None = None) -> Provider:
    found = tx.find_provider(id_, lock)
    if found is None:
        raise NotFound(Resource.PROVIDER, id_)
    return found


def _client_type(
    tx: Transaction, provider_id: int, id_: int, lock: Lock | None = None
) -> ClientType:
    found = tx.find_client_type(provider_id, id_, lock)
    if found is None:
        raise NotFound(Resource.CLIENT_TYPE, id_)
    return found


def _all_client_types(tx: Transaction, provider_id: int) -> list[ClientType]:
    return tx.all_client_types(provider_id)


def _draft(stored: Provider | ClientType, form: type[Draft]) -> Draft:
    """A stored resource as a caller would have asked for it."""
    return form(**{name: getattr(stored, name) for name in form.__dataclass_fields__})


def _merged(stored: Draft, given: Draft, fields: Collection[str]) -> Draft:
    return replace(stored, **{name: getattr(given, name) for name in fields})


def _page(part: Slice, read: Callable[[Slice], list[Item]]) -> Page[Item]:
    """One row more than asked for tells whether there is another page."""
    items = read(replace(part, limit=part.limit + 1))
    more = len(items) > part.limit
    items = items[: part.limit]
    return Page(items, items[-1].id if more else None)


def _uid() -> str:
    return str(uuid4())


def _now() -> datetime:
    return datetime.now(UTC)
