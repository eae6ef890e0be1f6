"""The use cases of clients: each is an intent, a call to the provider, and its outcome.

docs/clients.md has the states and what each outcome means.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from portal_server.catalog.idempotency import Idempotency, WrittenClient
from portal_server.catalog.registrations import (
    IN_PROGRESS,
    SEARCH_AFTER,
    Registrations,
    back,
    is_busy,
    is_confidential,
    moved,
    remove,
    returned,
    save,
)
from portal_server.catalog.updates import Change, Etags, merged, now, require_etag
from portal_server.domain import registration
from portal_server.domain.audit import AuditOutcome
from portal_server.domain.calls import Call
from portal_server.domain.client import (
    CLIENT,
    Client,
    ClientDraft,
    ClientResolution,
    ClientSpec,
    ClientState,
    Found,
    Metadata,
    Preview,
    ProviderClient,
    Registration,
    check_client,
)
from portal_server.domain.client_type import ClientType
from portal_server.domain.discovery import Discovery, Finding, FindingSeverity
from portal_server.domain.errors import (
    Aborted,
    DeadlineExceeded,
    Invalid,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PortalError,
    Precondition,
    ProviderError,
    Reason,
    Rejected,
    Resource,
    Rule,
    Unimplemented,
    Violation,
)
from portal_server.domain.fields import Unknown, missing, values_of
from portal_server.domain.identity import Ref, new_uid
from portal_server.domain.lists import Condition, Page, PageRange
from portal_server.domain.provider import Provider
from portal_server.idp.access import Access, Handle
from portal_server.idp.registrar import Registrar
from portal_server.storage.store import Store, Transaction

log = logging.getLogger(__name__)

Result = TypeVar("Result")

# How long a retry waits for the registration that is in progress.
_WAIT_S = 10.0
_WAIT_STEP_S = 0.1
# How long a forced deletion of a client type or provider may take to remove clients.
_REMOVE_ALL_S = 9.0
_PAGE = 100

_BUSY = (ClientState.REGISTERING, ClientState.UPDATING)
_REMOVABLE = (ClientState.ACTIVE, ClientState.EXPIRED, ClientState.DELETING)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parents:
    """The provider and the client type of a client, and the provider with its secrets."""

    provider: Provider
    client_type: ClientType
    access: Access


class Clients:
    """The clients of one portal."""

    def __init__(
        self,
        store: Store,
        idempotency: Idempotency,
        registrations: Registrations,
        registrar: Registrar,
    ) -> None:
        self._store = store
        self._idempotency = idempotency
        self._registrations = registrations
        self._registrar = registrar

    def preview(self, call: Call, provider: Ref, client_type: Ref, draft: ClientDraft) -> Preview:
        """What `register` would send, and what is wrong or surprising about it.

        Raises: NotFound, Invalid, Precondition (no encryption key).
        """
        parents = self._parents(call, provider, client_type)
        spec = check_client(draft)
        discovery, uri = None, parents.provider.registration_endpoint
        failed: tuple[Finding, ...] = ()
        try:
            discovery = self._registrar.discover(parents.access)
            uri = self._registrar.endpoint(parents.access)
        except ProviderError as error:
            severity = FindingSeverity.WARNING if uri else FindingSeverity.ERROR
            failed = (Finding(severity, "well_known_uri", error.message, "RFC 8414, section 3"),)
        plan = _plan(parents, spec, new_uid(), discovery)
        return Preview(uri=uri, metadata=plan.metadata, findings=(*failed, *plan.findings))

    def register(
        self, call: Call, provider: Ref, client_type: Ref, draft: ClientDraft
    ) -> Registration:
        """Register a client at the provider.

        Raises:
            NotFound, Invalid: nothing was registered.
            Precondition: the client type cannot be registered.
            NotSent, Rejected: nothing was registered, and nothing is stored.
            OutcomeUnknown: the client is stored as UNKNOWN; the error has its id.
        """
        done = self._idempotency.done(call, WrittenClient)
        if done:
            return self._registered_before(call, provider, done.result.id)
        self._registrations.require_key()
        parents = self._parents(call, provider, client_type)
        spec = _checked(parents, draft)
        with self._registrar.admitted(parents.access):
            discovery = self._discover(parents)
            uid = new_uid()
            plan = _plan(parents, spec, uid, discovery)
            _require_registrable(plan.findings)
            self._registrar.endpoint(parents.access)  # raises if there is none
            client = self._intend(call, parents, spec, uid, plan.metadata)
            if client is None:
                return self._registered_before(call, provider, self._written(call))
            found = self._post(call, parents, client, plan.metadata)
        # Other calls may use the provider while this one stores the outcome.
        client = self._adopt(call, parents, client, found)
        return Registration(
            client=client, client_secret=found.client_secret, findings=plan.findings
        )

    def get(self, call: Call, provider: Ref, ref: Ref, client_type: Ref | None = None) -> Client:
        """Get a client of this provider, and of this client type if it is given.

        Raises: NotFound.
        """

        def work(tx: Transaction) -> Client:
            parent_id = tx.providers.id_of(provider)
            try:
                client = tx.clients.get(parent_id, ref)
            except NotFound:
                tx.providers.get(parent_id)
                if client_type is not None:
                    tx.client_types.get(parent_id, client_type)
                raise
            if client_type is not None:
                type_ = tx.client_types.get(parent_id, client_type)
                if type_.id != client.client_type_id:
                    raise NotFound(Resource.CLIENT, ref)
            return client

        return self._store.read_recent(call, work)

    def list(
        self,
        call: Call,
        provider: Ref,
        client_type: Ref | None,
        where: Sequence[Condition],
        rows: PageRange,
    ) -> Page[Client]:
        """List the clients of a provider, or of a client type, that meet all conditions.

        Raises: NotFound.
        """

        def work(tx: Transaction) -> Page[Client]:
            parent_id = tx.providers.id_of(provider)
            type_id = None
            if client_type is not None:
                type_id = tx.client_types.get(parent_id, client_type).id
            page = tx.clients.list(parent_id, type_id, where, rows)
            if not page.items:
                tx.providers.get(parent_id)
            return page

        return self._store.read_recent(call, work)

    def update(
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        change: Change[ClientDraft],
        client_type: Ref | None = None,
    ) -> Registration:
        """Write fields of a client, here and at the provider.

        The provider gets the complete metadata, derived from the current client type, and only
        if they have changed. An update that changes nothing is also sent if the provider
        has something else: it restores what was requested. The result has the secret if the
        provider replaced it, which it may (RFC 7592, section 2.2).

        Raises:
            NotFound, Invalid, Aborted (another etag).
            Precondition: the state or the client type does not allow it.
            NotSent, Rejected: nothing was changed.
            OutcomeUnknown: the client is UPDATING until its state is known.
        """
        done = self._idempotency.done(call, WrittenClient)
        if done:
            client = self.get(call, provider, done.result.id)
            secret = self._registrations.secret(client) if done.result.new_secret else ""
            return Registration(client=client, client_secret=secret)
        stored = self.get(call, provider, ref, client_type)
        require_etag(stored, change.etags)
        if not change.fields:
            return Registration(client=stored)
        parents = self._parents(call, stored.provider_id, stored.client_type_id)
        spec = _checked(parents, merged(stored, change))
        with self._registrar.admitted(parents.access):
            plan = _plan(parents, spec, stored.uid, self._discover(parents))
            restores = stored.differences and values_of(stored, CLIENT) == values_of(spec, CLIENT)
            if plan.metadata == stored.requested and not restores:
                saved = self._save(call, stored, lambda current: _with_spec(current, spec))
                return Registration(client=saved)
            _require_registrable(plan.findings)
            self._require_secret(parents, stored, plan.metadata)
            stored = self._begin(call, stored, ClientState.UPDATING, (ClientState.ACTIVE,))
            handle = self._registrations.handle(stored)
            found = self._change(
                call, stored, lambda: self._registrar.update(parents.access, handle, plan.metadata)
            )

        replaced = self._registrations.has_replaced_secret(stored, found)

        def outcome(current: Client) -> Client:
            changed = replace(current, **values_of(spec, CLIENT), requested=plan.metadata)
            if replaced:
                return self._with_new_secret(call, changed, found, parents)
            return self._registrations.confirmed(changed, found, parents.provider)

        client = self._end(call, stored, outcome, new_secret=replaced)
        return Registration(client=client, client_secret=found.client_secret if replaced else "")

    def rotate(
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        etags: Etags = None,
        client_type: Ref | None = None,
    ) -> Registration:
        """Replace the secret of a client with a new one from the provider.

        Raises:
            NotFound, Aborted (another etag).
            Precondition: the state does not allow it, or the client has no secret.
            Unimplemented: the provider has no way to do it.
            NotSent, Rejected: nothing was changed.
            OutcomeUnknown: the secret may have been replaced.
        """
        done = self._idempotency.done(call, WrittenClient)
        if done:
            client = self.get(call, provider, done.result.id)
            return Registration(client=client, client_secret=self._registrations.secret(client))
        stored = self.get(call, provider, ref, client_type)
        require_etag(stored, etags)
        if not is_confidential(stored.registered or stored.requested):
            raise Precondition(
                Reason.CLIENT_STATE, f"client {stored.id} is public: it has no secret"
            )
        parents = self._parents(call, stored.provider_id, stored.client_type_id)
        with self._registrar.admitted(parents.access):
            stored = self._begin(call, stored, ClientState.UPDATING, (ClientState.ACTIVE,))
            handle = self._registrations.handle(stored)
            found = self._change(
                call,
                stored,
                lambda: self._registrar.rotate(parents.access, handle, stored.requested),
            )
        client = self._end(
            call, stored, lambda current: self._with_new_secret(call, current, found, parents)
        )
        return Registration(client=client, client_secret=found.client_secret)

    def delete(  # noqa: PLR0913 - what a caller says about a deletion
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        *,
        force: bool = False,
        etags: Etags = None,
        client_type: Ref | None = None,
    ) -> None:
        """Delete a client at the provider, then here.

        `force` deletes it here even if the provider rejects the deletion, but not if the
        provider does not respond.

        Raises:
            NotFound, Aborted (another etag).
            Precondition: the state does not allow it.
            Rejected: the provider does not accept the deletion; the client is DETACHED or
                ACTIVE. If the provider is busy, the client is DELETING.
            NotSent, OutcomeUnknown: the client is DELETING, and the deletion is repeated.
        """
        if self._idempotency.done(call, type(None)):
            return
        stored = self.get(call, provider, ref, client_type)
        require_etag(stored, etags)
        if stored.state in _BUSY and not _overdue(stored):
            raise _wrong_state(stored, "wait until the state changes")
        if stored.state not in _REMOVABLE:
            if not force:
                raise _wrong_state(stored, "resolve it, or delete it with force")
            self._end_deletion(call, stored)
            return
        parents = self._parents(call, stored.provider_id, stored.client_type_id)
        stored = self._begin(call, stored, ClientState.DELETING, _REMOVABLE)
        try:
            self._registrations.remove_at_provider(call, parents.access, stored)
        except Rejected as error:
            if not force or is_busy(error):
                raise
        self._end_deletion(call, stored)

    def check(self, call: Call, provider: Ref, ref: Ref) -> Client:
        """Read a client at its provider, and store what is different there.

        Raises:
            NotFound.
            Precondition: a call to the provider is in progress.
            NotSent, OutcomeUnknown, Rejected: the provider did not return it.
        """
        stored = self.get(call, provider, ref)
        if stored.state in (*_BUSY, ClientState.DELETING):
            raise _wrong_state(stored, "wait until the state changes")
        parents = self._parents(call, stored.provider_id, stored.client_type_id)
        if not stored.client_id:
            return self._registrations.search(call, parents.provider, parents.access, stored)
        return self._registrations.read_again(call, parents.provider, parents.access, stored)

    def resolve(
        self, call: Call, provider: Ref, ref: Ref, found: Found, etags: Etags = None
    ) -> Client:
        """End a state that only a person can end: report what the provider has.

        Raises:
            NotFound, Invalid, Aborted (another etag).
            Precondition: the state does not allow it, or the provider has another client.
            ProviderError: the provider did not return the client to adopt.
        """
        resolution = _known(found.resolution)
        done = self._idempotency.done(call, WrittenClient)
        if done and resolution is ClientResolution.ADOPT:
            return self.get(call, provider, done.result.id)
        stored = self.get(call, provider, ref)
        require_etag(stored, etags)
        if stored.state in _BUSY and not _overdue(stored):
            raise _wrong_state(stored, "wait until the state changes")
        if resolution is not ClientResolution.ADOPT:
            if resolution is ClientResolution.GONE and stored.state is ClientState.ACTIVE:
                raise _wrong_state(stored, "check the client first, or forget it")
            self._registrations.change(call, stored, partial(remove, call=call))
            return stored
        parents = self._parents(call, stored.provider_id, stored.client_type_id)
        handle = self._given_handle(stored, found)
        with self._registrar.admitted(parents.access):
            read = self._registrar.read(parents.access, handle)
        _require_same(stored, read)
        if not read.registration_access_token:
            read = replace(read, registration_access_token=handle.registration_access_token)
        if not read.registration_client_uri:
            read = replace(read, registration_client_uri=handle.registration_client_uri)
        return self._end(
            call,
            stored,
            lambda current: self._registrations.confirmed(current, read, parents.provider),
        )

    def remove_all(self, call: Call, provider: Ref, client_type: Ref | None = None) -> None:
        """Delete all clients of a provider or client type at the provider, then here.

        Raises:
            NotFound.
            ProviderError, Precondition: a client could not be deleted; earlier ones were.
            DeadlineExceeded: there are more than can be deleted in time; retry.
        """
        end = time.monotonic() + _REMOVE_ALL_S
        deleted = 0
        quiet = replace(call, idempotency=None)
        while clients := self.list(quiet, provider, client_type, (), PageRange(limit=_PAGE)).items:
            for client in clients:
                if time.monotonic() > end or not call.still_wanted():
                    text = f"deleted {deleted} clients, but not all in time; retry"
                    raise DeadlineExceeded(Reason.PROVIDER_TIMEOUT, text)
                try:
                    self.delete(quiet, client.provider_id, client.id)
                except NotFound:
                    continue
                except PortalError as error:
                    error.message = f"client {client.id} was not deleted: {error.message}"
                    if isinstance(error, ProviderError):
                        error.description = error.message  # callers see this
                    raise
                deleted += 1

    def _parents(self, call: Call, provider: Ref, client_type: Ref) -> _Parents:
        def work(tx: Transaction) -> tuple[Provider, ClientType]:
            parent = tx.providers.get(provider)
            return parent, tx.client_types.get(parent.id, client_type)

        parent, type_ = self._store.read_latest(call, work)
        access = self._registrations.access(parent)
        return _Parents(provider=parent, client_type=type_, access=access)

    def _discover(self, parents: _Parents) -> Discovery | None:
        """The discovery document; None if only the endpoint of the provider is needed."""
        try:
            return self._registrar.discover(parents.access)
        except ProviderError:
            if parents.provider.registration_endpoint:
                return None
            raise

    def _require_secret(self, parents: _Parents, client: Client, metadata: Metadata) -> None:
        """Accept an update that makes a public client confidential, if it can get a secret.

        Some providers give it none in the response to an update, and it then needs a rotation.
        """
        if not is_confidential(metadata) or is_confidential(
            {**client.requested, **client.registered}
        ):
            return
        try:
            self._registrar.check_rotation(parents.access, metadata)
        except Unimplemented:
            text = (
                f"client {client.id} is public, and its client type now has an authentication"
                " method: an update cannot give it a secret; register a new client, then"
                " delete this one"
            )
            raise Precondition(Reason.CLIENT_STATE, text) from None

    def _intend(
        self, call: Call, parents: _Parents, spec: ClientSpec, uid: str, metadata: Metadata
    ) -> Client | None:
        """Store a client as REGISTERING; None if this request was done before."""
        added: list[Client] = []

        def work(tx: Transaction) -> WrittenClient:
            provider = tx.providers.get(parents.provider.id, "shared")
            type_ = tx.client_types.get(provider.id, parents.client_type.id)
            if (provider.etag, type_.etag) != (parents.provider.etag, parents.client_type.etag):
                text = "the provider or the client type was changed at the same time; retry"
                raise Aborted(Reason.CONCURRENT_CHANGE, text)
            present = now()
            client = tx.clients.add(
                Client(
                    **values_of(spec, CLIENT),
                    id=0,
                    uid=uid,
                    provider_id=provider.id,
                    client_type_id=type_.id,
                    state=ClientState.REGISTERING,
                    state_time=present,
                    requested=metadata,
                    due_time=present + IN_PROGRESS,
                    create_time=present,
                    update_time=present,
                )
            )
            tx.audit.add(call, None, client)
            added[:] = [client]
            return WrittenClient(client.id)

        written = self._idempotency.write(call, work, WrittenClient, Resource.CLIENT)
        return added[0] if added and added[0].id == written.id else None

    def _written(self, call: Call) -> int:
        done = self._idempotency.done(call, WrittenClient)
        if not done:
            raise Aborted(Reason.CONCURRENT_RETRY, "the same request is in progress; retry")
        return done.result.id

    def _registered_before(self, call: Call, provider: Ref, id_: int) -> Registration:
        """The response to a retry: the current client, once its registration has ended."""
        end = time.monotonic() + _WAIT_S
        client = self.get(call, provider, id_)
        while (
            client.state is ClientState.REGISTERING
            and time.monotonic() < end
            and call.still_wanted()
        ):
            time.sleep(_WAIT_STEP_S)
            client = self.get(call, provider, id_)
        return Registration(client=client, client_secret=self._registrations.secret(client))

    def _post(
        self, call: Call, parents: _Parents, client: Client, metadata: Metadata
    ) -> ProviderClient:
        """Send the registration; a failure is stored before the error is raised."""
        try:
            return self._registrar.register(parents.access, metadata)
        except (NotSent, Rejected):

            def undo(tx: Transaction, current: Client) -> None:
                remove(tx, current, call=call, outcome=AuditOutcome.FAILED)
                self._idempotency.forget(tx, call)

            self._registrations.settle(call, client, undo)
            raise
        except OutcomeUnknown as error:
            due = now() + SEARCH_AFTER
            lost = partial(moved, state=ClientState.UNKNOWN, message=error.message, due=due)
            client_id = error.client_id
            self._registrations.save(
                call, client, lambda current: replace(lost(current), client_id=client_id)
            )
            error.message = f"client {client.id} is in the state UNKNOWN: {error.message}"
            raise

    def _adopt(
        self, call: Call, parents: _Parents, client: Client, found: ProviderClient
    ) -> Client:
        """Store a client that the provider has registered."""
        try:
            return self._registrations.save(
                call,
                client,
                lambda current: self._with_new_secret(call, current, found, parents),
            )
        except NotFound:
            # A person has resolved it in the meantime, so only this thread knows that it exists.
            handle = Handle(
                client_id=found.client_id,
                registration_client_uri=found.registration_client_uri,
                registration_access_token=found.registration_access_token,
            )
            log.warning(
                "client %s was deleted here; deleting %s at the provider",
                client.uid,
                found.client_id,
            )
            self._registrar.delete(parents.access, handle)
            raise

    def _with_new_secret(
        self, call: Call, client: Client, found: ProviderClient, parents: _Parents
    ) -> Client:
        """The client with a secret that this call returns, and its retries if it has an id."""
        keep = call.idempotency is not None
        new = self._registrations.registered(client, found, parents.provider, keep_secret=keep)
        return returned(new, found.client_secret)

    def _begin(
        self, call: Call, stored: Client, state: ClientState, from_: Sequence[ClientState]
    ) -> Client:
        """Store the intent of a change. Raises: Aborted, Precondition, NotFound."""

        def work(tx: Transaction, current: Client) -> Client:
            _require_unchanged(current, stored)
            if current.state not in from_:
                raise _wrong_state(current, "wait, or see the description of this state")
            attempts = current.attempts if current.state is state else 0
            intent = moved(current, state, current.message, now() + IN_PROGRESS)
            return save(tx, call, current, replace(intent, attempts=attempts))

        return self._registrations.change(replace(call, idempotency=None), stored, work)

    def _change(
        self, call: Call, stored: Client, send: Callable[[], ProviderClient]
    ) -> ProviderClient:
        """Send a change of an UPDATING client; a failure is stored."""
        try:
            return send()
        except Unimplemented:
            unchanged = partial(back, state=ClientState.ACTIVE, message=stored.message)
            self._registrations.save(call, stored, unchanged)
            raise
        except (Rejected, NotSent) as error:
            detached = isinstance(error, Rejected) and error.detached
            state = ClientState.DETACHED if detached else ClientState.ACTIVE
            self._registrations.save(
                call, stored, partial(back, state=state, message=error.message)
            )
            raise
        except OutcomeUnknown as error:
            # The reconciler reads it immediately.
            still = partial(moved, state=ClientState.UPDATING, message=error.message, due=now())
            self._registrations.save(call, stored, still)
            raise

    def _end(
        self,
        call: Call,
        stored: Client,
        outcome: Callable[[Client], Client],
        *,
        new_secret: bool = False,
    ) -> Client:
        """Store the outcome of a change, and the result of this request."""

        def work(tx: Transaction, current: Client) -> Client:
            client = save(tx, call, current, outcome(current))
            result = WrittenClient(client.id, new_secret)
            self._idempotency.remember(tx, call, result, WrittenClient)
            return client

        return self._registrations.settle(call, stored, work)

    def _save(self, call: Call, stored: Client, changed: Callable[[Client], Client]) -> Client:
        """Store a change that is not sent to the provider."""

        def work(tx: Transaction, current: Client) -> Client:
            _require_unchanged(current, stored)
            client = save(tx, call, current, changed(current))
            self._idempotency.remember(tx, call, WrittenClient(client.id), WrittenClient)
            return client

        return self._registrations.change(call, stored, work)

    def _end_deletion(self, call: Call, stored: Client) -> None:
        def work(tx: Transaction, current: Client) -> None:
            remove(tx, current, call=call)
            self._idempotency.remember(tx, call, None, type(None))

        self._registrations.settle(call, stored, work)

    def _given_handle(self, stored: Client, found: Found) -> Handle:
        own = self._registrations.handle(stored)
        handle = Handle(
            client_id=found.client_id or own.client_id,
            registration_client_uri=found.registration_client_uri or own.registration_client_uri,
            registration_access_token=found.registration_access_token
            or own.registration_access_token,
        )
        if not handle.client_id:
            raise Invalid(missing("client_id"))
        return handle


def _plan(
    parents: _Parents, spec: ClientSpec, uid: str, discovery: Discovery | None
) -> registration.Plan:
    return registration.plan(parents.client_type, parents.provider.type, spec, uid, discovery)


def _require_registrable(findings: Sequence[Finding]) -> None:
    errors = [one.text for one in findings if one.severity is FindingSeverity.ERROR]
    if errors:
        raise Precondition(Reason.CLIENT_TYPE_NOT_REGISTRABLE, "; ".join(errors))


def _checked(parents: _Parents, draft: ClientDraft) -> ClientSpec:
    """Accept a client of this client type. Raises: Invalid."""
    unmet = registration.redirect_uri_violations(
        parents.client_type, parents.provider.type, draft.redirect_uris
    )
    return check_client(draft, unmet)


def _with_spec(client: Client, spec: ClientSpec) -> Client:
    changed = replace(client, **values_of(spec, CLIENT))
    return moved(changed, client.state, client.message, client.due_time)


def _require_unchanged(current: Client, read: Client) -> None:
    """Accept a client that has not changed since it was read."""
    if current.etag != read.etag:
        text = "the client was changed at the same time; retry"
        raise Aborted(Reason.CONCURRENT_CHANGE, text)


def _overdue(client: Client) -> bool:
    return client.due_time is not None and client.due_time < now()


def _wrong_state(client: Client, what: str) -> Precondition:
    text = f"client {client.id} is in the state {client.state.name}; {what}"
    return Precondition(Reason.CLIENT_STATE, text)


def _known(resolution: ClientResolution | Unknown | None) -> ClientResolution:
    if isinstance(resolution, ClientResolution):
        return resolution
    words = tuple(ClientResolution)
    if resolution is None:
        raise Invalid(missing("resolution", words))
    text = f'unknown value "{resolution.text}"'
    raise Invalid(Violation("resolution", Rule.UNKNOWN_VALUE, text, words))


def _require_same(stored: Client, read: ProviderClient) -> None:
    """Accept a client of the provider that has our mark or our client_id."""
    name = read.metadata.get("client_name", "")
    if stored.client_id != read.client_id and name != stored.client_name:
        text = f'the client at the provider is named "{name[:100]}", not "{stored.client_name}"'
        raise Precondition(Reason.CLIENT_STATE, text)
