"""The use cases of clients: each is an intent, a call to the provider, and its outcome.

docs/clients.md has the states and what each outcome means.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from portal_server.catalog.client_parents import ClientParents, require_registrable
from portal_server.catalog.client_steps import ClientSteps, wrong_state
from portal_server.catalog.idempotency import Idempotency, WrittenClient
from portal_server.catalog.registrations import (
    Registrations,
    is_busy,
    is_confidential,
    moved,
    remove,
)
from portal_server.catalog.updates import Change, Etags, merged, now, require_etag
from portal_server.domain.calls import Call
from portal_server.domain.client import (
    CLIENT,
    Client,
    ClientDraft,
    ClientResolution,
    ClientSpec,
    ClientState,
    Found,
    Preview,
    ProviderClient,
    Registration,
    check_client,
)
from portal_server.domain.discovery import Finding, FindingSeverity
from portal_server.domain.errors import (
    Aborted,
    DeadlineExceeded,
    Invalid,
    NotFound,
    PortalError,
    Precondition,
    ProviderError,
    Reason,
    Rejected,
    Resource,
    Rule,
    Violation,
)
from portal_server.domain.fields import Unknown, missing, values_of
from portal_server.domain.identity import Ref, new_uid
from portal_server.domain.lists import Condition, Page, PageRange
from portal_server.idp.access import Handle
from portal_server.idp.registrar import Registrar
from portal_server.storage.store import Store, Transaction

# How long a retry waits for the registration that is in progress.
_WAIT_S = 10.0
_WAIT_STEP_S = 0.1
# How long a forced deletion of a client type or provider may take to remove clients.
_REMOVE_ALL_S = 9.0
_PAGE = 100

_BUSY = (ClientState.REGISTERING, ClientState.UPDATING)
_REMOVABLE = (ClientState.ACTIVE, ClientState.EXPIRED, ClientState.DELETING)


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
        self._parents = ClientParents(store, registrations, registrar)
        self._steps = ClientSteps(idempotency, registrations, registrar)

    def preview(self, call: Call, provider: Ref, client_type: Ref, draft: ClientDraft) -> Preview:
        """What `register` would send, and what is wrong or surprising about it.

        Raises: NotFound, Invalid, Precondition (no encryption key).
        """
        parents = self._parents.of(call, provider, client_type)
        spec = check_client(draft)
        discovery, uri = None, parents.provider.registration_endpoint
        failed: tuple[Finding, ...] = ()
        try:
            discovery = self._registrar.discover(parents.access)
            uri = self._registrar.endpoint(parents.access)
        except ProviderError as error:
            severity = FindingSeverity.WARNING if uri else FindingSeverity.ERROR
            failed = (Finding(severity, "well_known_uri", error.message, "RFC 8414, section 3"),)
        plan = parents.plan(spec, new_uid(), discovery)
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
        parents = self._parents.of(call, provider, client_type)
        spec = parents.checked(draft)
        with self._registrar.admitted(parents.access):
            discovery = self._parents.discover(parents)
            uid = new_uid()
            plan = parents.plan(spec, uid, discovery)
            require_registrable(plan.findings)
            self._registrar.endpoint(parents.access)  # raises if there is none
            client = self._steps.intend(call, parents, spec, uid, plan.metadata)
            if client is None:
                return self._registered_before(call, provider, self._written(call))
            found = self._steps.register(call, parents, client, plan.metadata)
        # Other calls may use the provider while this one stores the outcome.
        client = self._steps.adopt(call, parents, client, found)
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
        parents = self._parents.of(call, stored.provider_id, stored.client_type_id)
        spec = parents.checked(merged(stored, change))
        with self._registrar.admitted(parents.access):
            plan = parents.plan(spec, stored.uid, self._parents.discover(parents))
            restores = stored.differences and values_of(stored, CLIENT) == values_of(spec, CLIENT)
            if plan.metadata == stored.requested and not restores:
                saved = self._steps.save(call, stored, lambda current: _with_spec(current, spec))
                return Registration(client=saved)
            require_registrable(plan.findings)
            self._parents.require_secret(parents, stored, plan.metadata)
            stored = self._steps.begin(call, stored, ClientState.UPDATING, (ClientState.ACTIVE,))
            handle = self._registrations.handle(stored)
            found = self._steps.send(
                call, stored, lambda: self._registrar.update(parents.access, handle, plan.metadata)
            )

        replaced = self._registrations.has_replaced_secret(stored, found)

        def outcome(current: Client) -> Client:
            changed = replace(current, **values_of(spec, CLIENT), requested=plan.metadata)
            if replaced:
                return self._steps.with_new_secret(call, changed, found, parents)
            return self._registrations.confirmed(changed, found, parents.provider)

        client = self._steps.end(call, stored, outcome, new_secret=replaced)
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
        parents = self._parents.of(call, stored.provider_id, stored.client_type_id)
        with self._registrar.admitted(parents.access):
            stored = self._steps.begin(call, stored, ClientState.UPDATING, (ClientState.ACTIVE,))
            handle = self._registrations.handle(stored)
            found = self._steps.send(
                call,
                stored,
                lambda: self._registrar.rotate(parents.access, handle, stored.requested),
            )
        client = self._steps.end(
            call, stored, lambda current: self._steps.with_new_secret(call, current, found, parents)
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
            raise wrong_state(stored, "wait until the state changes")
        if stored.state not in _REMOVABLE:
            if not force:
                raise wrong_state(stored, "resolve it, or delete it with force")
            self._steps.end_deletion(call, stored)
            return
        parents = self._parents.of(call, stored.provider_id, stored.client_type_id)
        stored = self._steps.begin(call, stored, ClientState.DELETING, _REMOVABLE)
        try:
            self._registrations.remove_at_provider(call, parents.access, stored)
        except Rejected as error:
            if not force or is_busy(error):
                raise
        self._steps.end_deletion(call, stored)

    def check(self, call: Call, provider: Ref, ref: Ref) -> Client:
        """Read a client at its provider, and store what is different there.

        Raises:
            NotFound.
            Precondition: a call to the provider is in progress.
            NotSent, OutcomeUnknown, Rejected: the provider did not return it.
        """
        stored = self.get(call, provider, ref)
        if stored.state in (*_BUSY, ClientState.DELETING):
            raise wrong_state(stored, "wait until the state changes")
        parents = self._parents.of(call, stored.provider_id, stored.client_type_id)
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
            raise wrong_state(stored, "wait until the state changes")
        if resolution is not ClientResolution.ADOPT:
            if resolution is ClientResolution.GONE and stored.state is ClientState.ACTIVE:
                raise wrong_state(stored, "check the client first, or forget it")
            self._registrations.change(call, stored, partial(remove, call=call))
            return stored
        parents = self._parents.of(call, stored.provider_id, stored.client_type_id)
        handle = self._given_handle(stored, found)
        with self._registrar.admitted(parents.access):
            read = self._registrar.read(parents.access, handle)
        _require_same(stored, read)
        if not read.registration_access_token:
            read = replace(read, registration_access_token=handle.registration_access_token)
        if not read.registration_client_uri:
            read = replace(read, registration_client_uri=handle.registration_client_uri)
        return self._steps.end(
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


def _with_spec(client: Client, spec: ClientSpec) -> Client:
    changed = replace(client, **values_of(spec, CLIENT))
    return moved(changed, client.state, client.message, client.due_time)


def _overdue(client: Client) -> bool:
    return client.due_time is not None and client.due_time < now()


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
