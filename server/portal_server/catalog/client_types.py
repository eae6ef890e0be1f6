"""The use cases of client types. See `catalog.providers` for what they have in common."""

from collections.abc import Sequence
from dataclasses import replace

from portal_server.catalog.idempotency import Idempotency
from portal_server.catalog.updates import Change, Etags, merged, now, now_after, require_etag
from portal_server.domain.calls import Call
from portal_server.domain.client_type import (
    CLIENT_TYPE,
    ClientType,
    ClientTypeDraft,
    check_client_type,
)
from portal_server.domain.errors import NotFound, Resource
from portal_server.domain.fields import missing, values_of
from portal_server.domain.identity import check_uid, new_uid
from portal_server.domain.lists import Condition, Page, PageRange, read_page
from portal_server.storage.store import Store, Transaction


class ClientTypes:
    """The client types of one portal."""

    def __init__(self, store: Store, idempotency: Idempotency) -> None:
        self._store = store
        self._idempotency = idempotency

    def create(
        self, call: Call, provider_id: int, draft: ClientTypeDraft, uid: str | None = None
    ) -> ClientType:
        """Create a client type, with this uid or a new one; `provider_id` 0 is "not given".

        Raises: NotFound, Invalid, AlreadyExists (the uid), Precondition (there are no
        more ids).
        """
        violations = check_uid(uid)
        if not provider_id:  # reported with all other violations
            check_client_type(draft, None, [missing("provider_id"), *violations])

        def work(tx: Transaction) -> ClientType:
            provider = tx.providers.get(provider_id, "shared")
            spec = check_client_type(draft, provider.type, violations)
            if uid:
                tx.client_types.require_unused(uid.lower())
            return tx.client_types.add(provider_id, spec, uid.lower() if uid else new_uid(), now())

        return self._idempotency.write(call, work, ClientType, Resource.CLIENT_TYPE)

    def get(self, call: Call, provider_id: int, id_: int) -> ClientType:
        """Get a client type of this provider. Raises: NotFound."""

        def work(tx: Transaction) -> ClientType:
            try:
                return tx.client_types.get(provider_id, id_)
            except NotFound:
                tx.providers.get(provider_id)
                raise

        return self._store.read_latest(call, work)

    def id_of(self, call: Call, provider_id: int, uid: str) -> int:
        """The id of the client type of this provider with this uid. Raises: NotFound."""
        return self._store.read_latest(
            call, lambda tx: tx.client_types.id_of(provider_id, uid.lower())
        )

    def list(
        self, call: Call, provider_id: int, where: Sequence[Condition], rows: PageRange
    ) -> Page[ClientType]:
        """List the client types of a provider that meet all conditions. Raises: NotFound."""

        def work(tx: Transaction) -> Page[ClientType]:
            page = read_page(rows, lambda part: tx.client_types.list(provider_id, where, part))
            if not page.items:
                tx.providers.get(provider_id)
            return page

        return self._store.read_latest(call, work)

    def update(
        self, call: Call, provider_id: int, id_: int, change: Change[ClientTypeDraft]
    ) -> ClientType:
        """Write fields of a client type; a change without fields writes nothing.

        Raises: NotFound, Aborted (another etag), Invalid.
        """

        def work(tx: Transaction) -> ClientType:
            provider = tx.providers.get(provider_id, "shared")
            stored = tx.client_types.get(provider_id, id_, "exclusive")
            require_etag(stored, change.etags)
            if not change.fields:
                return stored
            spec = check_client_type(merged(stored, change), provider.type)
            time = now_after(stored.update_time)
            tx.client_types.update(provider_id, id_, spec, time)
            return replace(stored, **values_of(spec, CLIENT_TYPE), update_time=time)

        return self._idempotency.write(call, work, ClientType)

    def delete(self, call: Call, provider_id: int, id_: int, etags: Etags = None) -> None:
        """Delete a client type of this provider. Raises: NotFound, Aborted (another etag)."""

        def work(tx: Transaction) -> None:
            tx.providers.get(provider_id)
            require_etag(tx.client_types.get(provider_id, id_, "exclusive"), etags)
            tx.client_types.remove(provider_id, id_)

        self._idempotency.write(call, work, type(None))
