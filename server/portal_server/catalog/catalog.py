"""What the portal does with providers and client types: the use cases.

Each method is one call of either surface: find, check, write, in one
transaction, so that what was checked is still so when it is written. Who may
call is settled before; how a call looked on the wire is not known here. What
a write returns may be what it returned when the same request came before.

`etags`, where a method takes them: one of them must be that of the stored
resource; None: any may be.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, NoReturn, TypeVar
from uuid import uuid4

from portal_server.catalog.idempotency import Retries
from portal_server.catalog.provider_details import Whole, Wholes
from portal_server.domain.client_type import (
    ClientType,
    ClientTypeDraft,
    check_becomes_okta,
    check_client_type,
)
from portal_server.domain.errors import Aborted, NotFound, Reason, Resource
from portal_server.domain.lists import Condition, PageRange
from portal_server.domain.provider import Provider, ProviderDraft, ProviderType, check_provider
from portal_server.storage.store import Lock, Store, Transaction

Item = TypeVar("Item", Provider, ClientType)
Draft = TypeVar("Draft", ProviderDraft, ClientTypeDraft)

Etags = Collection[str] | None

# How many client types a refusal names.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Rows in ascending order of id; `next_after` is None on the last page."""

    items: list[Item]
    next_after: int | None


@dataclass(frozen=True, slots=True)
class Change(Generic[Draft]):
    """What an update writes: those fields of the draft, if the stored etag is one of `etags`."""

    draft: Draft
    fields: Collection[str]
    etags: Etags = None


class Catalog:
    """The providers and client types of one portal."""

    def __init__(self, store: Store, retries: Retries | None = None) -> None:
        """Take the store that keeps them, and what does each write once."""
        self._store = store
        self._retries = retries or Retries(store)
        self._wholes = Wholes(store)

    # Providers

    def create_provider(self, draft: ProviderDraft) -> Provider:
        """Create a provider. Raises: Invalid, Precondition (there are no more ids)."""
        spec = check_provider(draft)

        def work(tx: Transaction) -> Provider:
            return tx.providers.add(spec, _uid(), _now())

        return self._retries.write(work, Provider, Resource.PROVIDER)

    def get_provider(self, id_: int) -> Provider:
        """Get a provider. Raises: NotFound."""
        return self._store.read_latest(lambda tx: _provider(tx, id_))

    def get_provider_with_client_types(self, id_: int) -> Whole:
        """Get a provider and all its client types of the same moment.

        Raises: NotFound, Precondition (too many of them), Exhausted.
        """
        return self._wholes.get(id_)

    def list_providers(self, where: Sequence[Condition], part: PageRange) -> Page[Provider]:
        """List the providers that meet all conditions."""
        return _page(
            part, lambda more: self._store.read_latest(lambda tx: tx.providers.list(where, more))
        )

    def update_provider(self, id_: int, change: Change[ProviderDraft]) -> Provider:
        """Write fields of a provider, if any.

        Raises: NotFound, Aborted (another etag), Invalid, Precondition (it
        becomes an Okta provider while one of its client types has no app type).
        """
        return self._retries.write(_provider_update(id_, change), Provider)

    def update_provider_with_client_types(self, id_: int, change: Change[ProviderDraft]) -> Whole:
        """Update a provider; the result has its client types as they are afterwards.

        Raises: what update_provider does, and before anything is written
        Precondition (too many client types to show) and Exhausted.
        """
        with self._wholes.room_for(id_):
            # Not in the transaction that writes: others wait for its end.
            return self.update_provider(id_, change), self._wholes.client_types(id_)

    def delete_provider(self, id_: int, etags: Etags = None) -> None:
        """Delete a provider with its client types. Raises: NotFound, Aborted (another etag)."""

        def work(tx: Transaction) -> None:
            _require_etag(_provider(tx, id_, "exclusive"), etags)
            tx.providers.remove(id_)

        self._retries.write(work, type(None))

    # Client types

    def create_client_type(self, provider_id: int, draft: ClientTypeDraft) -> ClientType:
        """Create a client type. Raises: NotFound, Invalid, Precondition (no more ids)."""

        def work(tx: Transaction) -> ClientType:
            provider = _provider(tx, provider_id, "shared")
            spec = check_client_type(draft, provider.type)
            return tx.client_types.add(provider_id, spec, _uid(), _now())

        return self._retries.write(work, ClientType, Resource.CLIENT_TYPE)

    def get_client_type(self, provider_id: int, id_: int) -> ClientType:
        """Get a client type of this provider. Raises: NotFound."""

        def work(tx: Transaction) -> ClientType:
            found = tx.client_types.find(provider_id, id_)
            return found or _no_client_type(tx, provider_id, id_)

        return self._store.read_latest(work)

    def list_client_types(
        self, provider_id: int, where: Sequence[Condition], part: PageRange
    ) -> Page[ClientType]:
        """List the client types of a provider that meet all conditions. Raises: NotFound."""

        def read(more: PageRange) -> list[ClientType]:
            def work(tx: Transaction) -> list[ClientType]:
                found = tx.client_types.list(provider_id, where, more)
                if not found:
                    _provider(tx, provider_id)
                return found

            return self._store.read_latest(work)

        return _page(part, read)

    def update_client_type(
        self, provider_id: int, id_: int, change: Change[ClientTypeDraft]
    ) -> ClientType:
        """Write fields of a client type, if any.

        Raises: NotFound, Aborted (another etag), Invalid.
        """

        def work(tx: Transaction) -> ClientType:
            provider = _provider(tx, provider_id, "shared")
            stored = _client_type(tx, provider_id, id_, "exclusive")
            _require_etag(stored, change.etags)
            if not change.fields:
                return stored
            merged = _merged(_draft(stored, ClientTypeDraft), change)
            spec = check_client_type(merged, provider.type)
            now = _after(stored.update_time)
            tx.client_types.update(provider_id, id_, spec, now)
            return replace(stored, **asdict(spec), update_time=now)

        return self._retries.write(work, ClientType)

    def delete_client_type(self, provider_id: int, id_: int, etags: Etags = None) -> None:
        """Delete a client type of this provider. Raises: NotFound, Aborted (another etag)."""

        def work(tx: Transaction) -> None:
            _provider(tx, provider_id)
            _require_etag(_client_type(tx, provider_id, id_, "exclusive"), etags)
            tx.client_types.remove(provider_id, id_)

        self._retries.write(work, type(None))


def _provider_update(id_: int, change: Change[ProviderDraft]) -> Callable[[Transaction], Provider]:
    def work(tx: Transaction) -> Provider:
        stored = _provider(tx, id_, "exclusive")
        _require_etag(stored, change.etags)
        if not change.fields:
            return stored
        spec = check_provider(_merged(_draft(stored, ProviderDraft), change))
        if spec.type is ProviderType.OKTA and stored.type is not ProviderType.OKTA:
            check_becomes_okta(tx.client_types.without_app_type(id_, _NAMED))
        now = _after(stored.update_time)
        tx.providers.update(id_, spec, now)
        return replace(stored, **asdict(spec), update_time=now)

    return work


def _provider(tx: Transaction, id_: int, lock: Lock | None = None) -> Provider:
    found = tx.providers.find(id_, lock)
    if found is None:
        raise NotFound(Resource.PROVIDER, id_)
    return found


def _no_client_type(tx: Transaction, provider_id: int, id_: int) -> NoReturn:
    _provider(tx, provider_id)
    raise NotFound(Resource.CLIENT_TYPE, id_)


def _client_type(
    tx: Transaction, provider_id: int, id_: int, lock: Lock | None = None
) -> ClientType:
    found = tx.client_types.find(provider_id, id_, lock)
    if found is None:
        raise NotFound(Resource.CLIENT_TYPE, id_)
    return found


def _require_etag(stored: Provider | ClientType, etags: Etags) -> None:
    if etags is not None and stored.etag not in etags:
        raise Aborted(Reason.ETAG_MISMATCH, "the etag does not match the current one")


def _draft(stored: Provider | ClientType, form: type[Draft]) -> Draft:
    """A stored resource as a caller would have asked for it."""
    return form(**{name: getattr(stored, name) for name in form.__dataclass_fields__})


def _merged(stored: Draft, change: Change[Draft]) -> Draft:
    return replace(stored, **{name: getattr(change.draft, name) for name in change.fields})


def _page(part: PageRange, read: Callable[[PageRange], list[Item]]) -> Page[Item]:
    """One row more than asked for tells whether there is another page."""
    items = read(replace(part, limit=part.limit + 1))
    more = len(items) > part.limit
    items = items[: part.limit]
    return Page(items, items[-1].id if more else None)


def _uid() -> str:
    return str(uuid4())


def _now() -> datetime:
    return datetime.now(UTC)


def _after(time: datetime) -> datetime:
    """Now, and later than that time: no two writes of a resource have the same."""
    return max(_now(), time + timedelta(microseconds=1))
