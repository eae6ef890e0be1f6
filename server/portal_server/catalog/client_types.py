"""The use cases of client types. See `catalog.providers` for what they have in common."""

from collections.abc import Sequence
from dataclasses import replace

from portal_server.catalog.idempotency import Idempotency
from portal_server.catalog.in_use import ClientRemoval, require_no_clients
from portal_server.catalog.updates import Change, Etags, merged, now, now_after, require_etag
from portal_server.domain.calls import Call
from portal_server.domain.client_type import (
    CLIENT_TYPE,
    ClientType,
    ClientTypeDraft,
    check_client_type,
)
from portal_server.domain.errors import Invalid, NotFound, Resource, Rule, Violation
from portal_server.domain.fields import Unknown, Word, missing, values_of
from portal_server.domain.identity import Ref, check_uid, new_uid
from portal_server.domain.lists import Condition, Page, PageRange
from portal_server.domain.provider import ProviderType
from portal_server.domain.registration_shape import findings_of
from portal_server.storage.store import Store, Transaction


class ClientTypes:
    """The client types of one portal."""

    def __init__(self, store: Store, idempotency: Idempotency, clients: ClientRemoval) -> None:
        self._store = store
        self._clients = clients
        self._idempotency = idempotency

    def create(
        self,
        call: Call,
        provider: Ref,
        draft: ClientTypeDraft,
        uid: str | None = None,
        planned: ProviderType | Unknown | None = None,
    ) -> ClientType:
        """Create a client type, with this uid or a new one; provider 0 means "not given".

        The result has the findings about its clients. `planned` is the type that the provider
        will have: a client type that is only validated need not have a provider yet.

        Raises: NotFound, Invalid, AlreadyExists (the uid), Precondition (there are no
        more ids).
        """
        violations = check_uid(uid)
        planned_type = _check_planned(call, planned)
        if not (provider or planned_type):  # reported with all other violations
            check_client_type(draft, None, [missing("provider_id"), *violations])

        def work(tx: Transaction) -> ClientType:
            parent_id, type_ = 0, planned_type
            if provider or type_ is None:
                parent = tx.providers.get(provider, "shared")
                parent_id, type_ = parent.id, type_ or parent.type
            spec = check_client_type(draft, type_, violations)
            if uid:
                tx.client_types.require_unused(uid.lower())
            new = uid.lower() if uid else new_uid()
            added = tx.client_types.add(parent_id, spec, new, now(), findings_of(spec, type_))
            tx.audit.add(call, None, added)
            return added

        return self._idempotency.write(call, work, ClientType, Resource.CLIENT_TYPE)

    def get(self, call: Call, provider: Ref, ref: Ref) -> ClientType:
        """Get a client type of this provider. Raises: NotFound."""

        def work(tx: Transaction) -> ClientType:
            parent_id = tx.providers.id_of(provider)
            try:
                return tx.client_types.get(parent_id, ref)
            except NotFound:
                tx.providers.get(parent_id)
                raise

        return self._store.read_recent(call, work)

    def list(
        self, call: Call, provider: Ref, where: Sequence[Condition], rows: PageRange
    ) -> Page[ClientType]:
        """List the client types of a provider that meet all conditions. Raises: NotFound."""

        def work(tx: Transaction) -> Page[ClientType]:
            parent_id = tx.providers.id_of(provider)
            page = tx.client_types.list(parent_id, where, rows)
            if not page.items:
                tx.providers.get(parent_id)
            return page

        return self._store.read_recent(call, work)

    def update(
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        change: Change[ClientTypeDraft],
        planned: ProviderType | Unknown | None = None,
    ) -> ClientType:
        """Write fields of a client type; a change without fields writes nothing.

        The result has the findings about its clients. `planned` is as in `create`.

        Raises: NotFound, Aborted (another etag), Invalid.
        """
        planned_type = _check_planned(call, planned)

        def work(tx: Transaction) -> ClientType:
            parent = tx.providers.get(provider, "shared")
            stored = tx.client_types.get(parent.id, ref, "exclusive")
            require_etag(stored, change.etags)
            type_ = planned_type or parent.type
            if not change.fields:
                return replace(stored, findings=findings_of(stored, type_))
            spec = check_client_type(merged(stored, change), type_)
            time = now_after(stored.update_time)
            tx.client_types.update(parent.id, stored.id, spec, time)
            written = replace(stored, **values_of(spec, CLIENT_TYPE), update_time=time)
            tx.audit.add(call, stored, written)
            return replace(written, findings=findings_of(spec, type_))

        return self._idempotency.write(call, work, ClientType)

    def delete(
        self, call: Call, provider: Ref, ref: Ref, etags: Etags = None, *, force: bool = False
    ) -> None:
        """Delete a client type of this provider; with `force`, delete its clients first.

        Whether its clients can be deleted is not validated: that takes calls to the provider.

        Raises: NotFound, Aborted (another etag), Precondition (it has clients), and what
            the deletion of a client raises.
        """
        removes = force and not call.validate_only
        if removes and not self._idempotency.done(call, type(None)):
            require_etag(self.get(call, provider, ref), etags)
            self._clients.remove_all(call, provider, ref)

        def work(tx: Transaction) -> None:
            parent = tx.providers.get(provider)
            stored = tx.client_types.get(parent.id, ref, "exclusive")
            require_etag(stored, etags)
            if not (force and call.validate_only):
                require_no_clients(tx, f"client type {stored.id}", parent.id, stored.id)
            tx.client_types.remove(parent.id, stored.id)
            tx.audit.add(call, stored, None)

        self._idempotency.write(call, work, type(None))


def _check_planned(call: Call, planned: ProviderType | Unknown | None) -> ProviderType | None:
    """The type that a provider will have, if a request that is only validated gives it.

    Raises: Invalid.
    """
    name = "planned_provider_type"
    violations: list[Violation] = []
    if planned is not None and not call.validate_only:
        violations.append(Violation(name, Rule.MALFORMED, "is valid only with validate_only"))
    if isinstance(planned, Unknown):
        Word(vocabulary=ProviderType).check(name, planned, violations)
    if violations:
        raise Invalid(*violations)
    return None if isinstance(planned, Unknown) else planned
