"""The steps of a change of a client: its intent, the call to the provider, and its outcome.

`clients` puts them together. docs/clients.md has the states.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from portal_server.catalog.client_parents import Parents
from portal_server.catalog.idempotency import Idempotency, WrittenClient
from portal_server.catalog.registrations import (
    IN_PROGRESS,
    SEARCH_AFTER,
    Registrations,
    back,
    moved,
    remove,
    returned,
    save,
)
from portal_server.catalog.updates import now
from portal_server.domain.audit import AuditOutcome
from portal_server.domain.calls import Call
from portal_server.domain.client import (
    CLIENT,
    Client,
    ClientSpec,
    ClientState,
    Metadata,
    ProviderClient,
)
from portal_server.domain.errors import (
    Aborted,
    NotFound,
    NotSent,
    OutcomeUnknown,
    Precondition,
    Reason,
    Rejected,
    Resource,
    Unimplemented,
)
from portal_server.domain.fields import values_of
from portal_server.idp.access import Handle
from portal_server.idp.registrar import Registrar
from portal_server.storage.store import Transaction

log = logging.getLogger(__name__)


class ClientSteps:
    """The steps, each in its own transaction."""

    def __init__(
        self, idempotency: Idempotency, registrations: Registrations, registrar: Registrar
    ) -> None:
        self._idempotency = idempotency
        self._registrations = registrations
        self._registrar = registrar

    def intend(
        self, call: Call, parents: Parents, spec: ClientSpec, uid: str, metadata: Metadata
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

    def register(
        self, call: Call, parents: Parents, client: Client, metadata: Metadata
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

    def adopt(self, call: Call, parents: Parents, client: Client, found: ProviderClient) -> Client:
        """Store a client that the provider has registered."""
        try:
            return self._registrations.save(
                call,
                client,
                lambda current: self.with_new_secret(call, current, found, parents),
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

    def with_new_secret(
        self, call: Call, client: Client, found: ProviderClient, parents: Parents
    ) -> Client:
        """The client with a secret that this call returns, and its retries if it has an id."""
        keep = call.idempotency is not None
        new = self._registrations.registered(client, found, parents.provider, keep_secret=keep)
        return returned(new, found.client_secret)

    def begin(
        self, call: Call, stored: Client, state: ClientState, from_: Sequence[ClientState]
    ) -> Client:
        """Store the intent of a change. Raises: Aborted, Precondition, NotFound."""

        def work(tx: Transaction, current: Client) -> Client:
            require_unchanged(current, stored)
            if current.state not in from_:
                raise wrong_state(current, "wait, or see the description of this state")
            attempts = current.attempts if current.state is state else 0
            intent = moved(current, state, current.message, now() + IN_PROGRESS)
            return save(tx, call, current, replace(intent, attempts=attempts))

        return self._registrations.change(replace(call, idempotency=None), stored, work)

    def send(
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

    def end(
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

    def save(self, call: Call, stored: Client, changed: Callable[[Client], Client]) -> Client:
        """Store a change that is not sent to the provider."""

        def work(tx: Transaction, current: Client) -> Client:
            require_unchanged(current, stored)
            client = save(tx, call, current, changed(current))
            self._idempotency.remember(tx, call, WrittenClient(client.id), WrittenClient)
            return client

        return self._registrations.change(call, stored, work)

    def end_deletion(self, call: Call, stored: Client) -> None:
        """Delete the row, and store that this request is done."""

        def work(tx: Transaction, current: Client) -> None:
            remove(tx, current, call=call)
            self._idempotency.remember(tx, call, None, type(None))

        self._registrations.settle(call, stored, work)


def require_unchanged(current: Client, read: Client) -> None:
    """Accept a client that has not changed since it was read."""
    if current.etag != read.etag:
        text = "the client was changed at the same time; retry"
        raise Aborted(Reason.CONCURRENT_CHANGE, text)


def wrong_state(client: Client, what: str) -> Precondition:
    """The error of a change that the state of a client does not allow."""
    text = f"client {client.id} is in the state {client.state.name}; {what}"
    return Precondition(Reason.CLIENT_STATE, text)
