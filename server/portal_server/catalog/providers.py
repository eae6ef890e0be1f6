"""The use cases of providers.

Each method is one call of either surface: it reads, checks and writes in one
transaction, so that what was checked still holds when it is written. Authorization
comes before, and messages are not known here. A write whose request was done before
returns the result of that time.
"""

from collections.abc import Sequence

from portal_server.catalog.idempotency import Idempotency
from portal_server.catalog.provider_details import ProviderDetail, ProviderDetails
from portal_server.catalog.updates import Change, Etags, merged, now, now_after, require_etag
from portal_server.domain.calls import Call
from portal_server.domain.client_type import check_becomes_okta
from portal_server.domain.errors import Resource
from portal_server.domain.identity import Ref, check_uid, new_uid
from portal_server.domain.lists import Condition, Page, PageRange, read_page
from portal_server.domain.provider import (
    Provider,
    ProviderDraft,
    ProviderType,
    check_provider,
)
from portal_server.storage.store import Store, Transaction

# How many client types an error names.
_NAMED = 5


class Providers:
    """The providers of one portal."""

    def __init__(self, store: Store, idempotency: Idempotency, details: ProviderDetails) -> None:
        self._store = store
        self._idempotency = idempotency
        self._details = details

    def create(self, call: Call, draft: ProviderDraft, uid: str | None = None) -> Provider:
        """Create a provider, with this uid or a new one.

        Raises: Invalid, AlreadyExists (the uid), Precondition (there are no more ids).
        """
        spec = check_provider(draft, check_uid(uid))

        def work(tx: Transaction) -> Provider:
            if uid:
                tx.providers.require_unused(uid.lower())
            return tx.providers.add(spec, uid.lower() if uid else new_uid(), now())

        return self._idempotency.write(call, work, Provider, Resource.PROVIDER)

    def get(self, call: Call, ref: Ref) -> Provider:
        """Get a provider. Raises: NotFound."""
        return self._store.read_latest(call, lambda tx: tx.providers.get(ref))

    def list(self, call: Call, where: Sequence[Condition], rows: PageRange) -> Page[Provider]:
        """List the providers that meet all conditions."""

        def work(tx: Transaction) -> Page[Provider]:
            return read_page(rows, lambda part: tx.providers.list(where, part))

        return self._store.read_latest(call, work)

    def update(self, call: Call, ref: Ref, change: Change[ProviderDraft]) -> Provider:
        """Write fields of a provider; a change without fields writes nothing.

        Raises: NotFound, Aborted (another etag), Invalid, Precondition (it becomes an
        Okta provider, but one of its client types has no app type).
        """

        def work(tx: Transaction) -> Provider:
            stored = tx.providers.get(ref, "exclusive")
            require_etag(stored, change.etags)
            if not change.fields:
                return stored
            spec = check_provider(merged(stored, change))
            if spec.type is ProviderType.OKTA and stored.type is not ProviderType.OKTA:
                check_becomes_okta(tx.client_types.without_app_type(stored.id, _NAMED))
            return tx.providers.update(stored, spec, now_after(stored.update_time))

        return self._idempotency.write(call, work, Provider)

    def delete(self, call: Call, ref: Ref, etags: Etags = None) -> None:
        """Delete a provider with its client types. Raises: NotFound, Aborted (another etag)."""

        def work(tx: Transaction) -> None:
            stored = tx.providers.get(ref, "exclusive")
            require_etag(stored, etags)
            tx.providers.remove(stored.id)

        self._idempotency.write(call, work, type(None))

    def get_detail(self, call: Call, ref: Ref) -> ProviderDetail:
        """Get a provider and all its client types of the same moment.

        Raises: NotFound, Precondition (too many client types), Exhausted.
        """
        return self._details.get(call, ref)

    def update_detail(self, call: Call, ref: Ref, change: Change[ProviderDraft]) -> ProviderDetail:
        """Update a provider; the result has its client types as they are afterwards.

        Raises: as `update`, and before anything is written Precondition (too many
        client types) and Exhausted.
        """
        with self._details.reserved(call, ref):
            provider = self.update(call, ref, change)
            # Not in the transaction that writes: others wait for its end.
            return ProviderDetail(provider, self._details.client_types(call, provider.id))
