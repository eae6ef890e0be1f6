"""The use cases of providers.

Each method is one call of either API: it reads, checks and writes in one transaction,
so what was checked still holds when it is written. Calls are authorized before, and
this module does not depend on messages. A retry of a write returns the stored result.
"""

from collections.abc import Callable, Sequence
from functools import partial

from portal_server.catalog.idempotency import Idempotency
from portal_server.catalog.in_use import ClientRemoval, require_no_clients
from portal_server.catalog.provider_details import ProviderDetail, ProviderDetails
from portal_server.catalog.updates import Change, Etags, merged, now, now_after, require_etag
from portal_server.domain.calls import Call
from portal_server.domain.client import Client
from portal_server.domain.client_type import check_becomes_okta
from portal_server.domain.errors import Precondition, Reason, Resource
from portal_server.domain.identity import Ref, check_uid, new_uid
from portal_server.domain.lists import Condition, Page, PageRange
from portal_server.domain.provider import (
    Provider,
    ProviderDraft,
    ProviderType,
    check_provider,
)
from portal_server.storage.store import Store, Transaction

# How many client types an error names.
_NAMED = 5
MAX_FORGOTTEN = 1000
"""How many clients a provider may have to be forgotten: the response has all of them."""

PIECE = 150
"""How many client types of a provider are deleted at once: other writers wait for that."""


class Providers:
    """The providers of one portal."""

    def __init__(
        self,
        store: Store,
        idempotency: Idempotency,
        details: ProviderDetails,
        clients: ClientRemoval,
    ) -> None:
        self._store = store
        self._idempotency = idempotency
        self._details = details
        self._clients = clients

    def create(self, call: Call, draft: ProviderDraft, uid: str | None = None) -> Provider:
        """Create a provider, with this uid or a new one.

        Raises: Forbidden (the key is limited to other providers), Invalid, AlreadyExists (the
        uid), Precondition (there are no more ids).
        """
        call.caller.require_all_providers()
        spec = check_provider(draft, check_uid(uid))

        def work(tx: Transaction) -> Provider:
            if uid:
                tx.providers.require_unused(uid.lower())
            added = tx.providers.add(spec, uid.lower() if uid else new_uid(), now())
            tx.audit.add(call, None, added)
            return added

        return self._idempotency.write(call, work, Provider, Resource.PROVIDER)

    def get(self, call: Call, ref: Ref) -> Provider:
        """Get a provider. Raises: NotFound."""
        return self._store.read_recent(call, lambda tx: tx.providers.get(ref))

    def list(self, call: Call, where: Sequence[Condition], rows: PageRange) -> Page[Provider]:
        """List the providers that meet all conditions."""
        return self._store.read_recent(call, lambda tx: tx.providers.list(where, rows))

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
            updated = tx.providers.update(stored, spec, now_after(stored.update_time))
            tx.audit.add(call, stored, updated)
            return updated

        return self._idempotency.write(call, work, Provider)

    def delete(self, call: Call, ref: Ref, etags: Etags = None, *, force: bool = False) -> None:
        """Delete a provider with its client types; with `force`, delete its clients first.

        If it fails and there are more than `PIECE` client types, some may be deleted. Whether
        its clients can be deleted is not validated: that takes calls to the provider.

        Raises: NotFound, Aborted (another etag), Precondition (it has clients), and what
            the deletion of a client raises.
        """

        def unused(tx: Transaction) -> Provider:
            stored = tx.providers.get(ref, "exclusive")
            require_etag(stored, etags)
            if not (force and call.validate_only):
                require_no_clients(tx, f"provider {stored.id}", stored.id)
            return stored

        def work(tx: Transaction) -> None:
            _remove(tx, call, unused(tx))

        if not (call.validate_only or self._idempotency.done(call, type(None))):
            if force:
                require_etag(self.get(call, ref), etags)
                self._clients.remove_all(call, ref)
            self._remove_pieces(call, ref, unused)
        self._idempotency.write(call, work, type(None))

    def forget(self, call: Call, ref: Ref, etags: Etags = None) -> Sequence[Client]:
        """Delete a provider that no longer exists, with all its rows and without calling it.

        Returns the clients that may still exist there, at most `MAX_FORGOTTEN`. If it fails and
        there are more than `PIECE` client types, some without clients may be deleted.

        Raises: NotFound, Aborted (another etag), Precondition (more clients than that).
        """

        def checked(tx: Transaction) -> Provider:
            stored = tx.providers.get(ref, "exclusive")
            require_etag(stored, etags)
            if tx.clients.in_use(stored.id, None, 0)[0] > MAX_FORGOTTEN:
                text = f"provider {stored.id} has more than {MAX_FORGOTTEN} clients; delete some"
                raise Precondition(Reason.CLIENTS_EXIST, text)
            return stored

        def work(tx: Transaction) -> Sequence[Client]:
            stored = checked(tx)
            found = tx.clients.list(stored.id, None, (), PageRange(limit=MAX_FORGOTTEN)).items
            for client in found:
                tx.audit.add(call, client, None)
            tx.clients.remove_all(stored.id)
            _remove(tx, call, stored)
            return found

        self._remove_pieces(call, ref, checked)
        return self._store.write(call, work)

    def _remove_pieces(
        self, call: Call, ref: Ref, checked: Callable[[Transaction], Provider]
    ) -> None:
        """Delete the client types without clients of a provider, in separate transactions.

        The last ones stay. `checked` returns the provider if it may be deleted.
        """

        def are_many(tx: Transaction) -> bool:
            return tx.client_types.measure(tx.providers.id_of(ref), PIECE + 1)[0] > PIECE

        def work(tx: Transaction, after: int) -> int | None:
            provider = checked(tx)
            page = tx.client_types.list(provider.id, (), PageRange(limit=PIECE, after=after))
            if page.next_after is None:
                return None
            used = tx.clients.types_in_use(provider.id)
            for client_type in page.items:
                if client_type.id not in used:
                    tx.audit.add(call, client_type, None)
            tx.client_types.remove_unused(provider.id, after, page.next_after)
            return page.next_after

        after: int | None = 0 if self._store.read_latest(call, are_many) else None
        while after is not None:
            after = self._store.write(call, partial(work, after=after))

    def get_detail(self, call: Call, ref: Ref) -> ProviderDetail:
        """Get a provider and all its client types, in one snapshot.

        Raises: NotFound, Precondition (too many client types), Exhausted.
        """
        return self._details.get(call, ref)

    def update_detail(self, call: Call, ref: Ref, change: Change[ProviderDraft]) -> ProviderDetail:
        """Update a provider; the result has its current client types.

        Raises: as `update`, and before anything is written Precondition (too many
        client types) and Exhausted.
        """
        with self._details.reserved(call, ref):
            provider = self.update(call, ref, change)
            # Not in the transaction that writes: others wait for its end.
            return ProviderDetail(provider, self._details.client_types(call, provider.id))


def _remove(tx: Transaction, call: Call, provider: Provider) -> None:
    """Delete a provider that is locked, and its client types."""
    after: int | None = 0
    while after is not None:
        page = tx.client_types.list(provider.id, (), PageRange(limit=PIECE, after=after))
        for client_type in page.items:
            tx.audit.add(call, client_type, None)
        after = page.next_after
    tx.providers.remove(provider.id)
    tx.audit.add(call, provider, None)
