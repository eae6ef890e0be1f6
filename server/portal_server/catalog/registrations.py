"""What is stored before and after a call to a provider, so that no client is lost.

A call to a provider never happens inside a transaction. The intent is committed first,
as a state with a `due_time`: if this process ends, the reconciler continues from there.
The outcome is stored as soon as it is known. Storing it is retried until the process
ends, because a provider sends its response only once.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

from portal_server.catalog.updates import now, now_after
from portal_server.domain.audit import AuditOutcome
from portal_server.domain.calls import Call
from portal_server.domain.client import (
    Client,
    ClientState,
    Difference,
    Metadata,
    ProviderClient,
)
from portal_server.domain.differences import differences
from portal_server.domain.errors import (
    Aborted,
    DeadlineExceeded,
    Exhausted,
    NotFound,
    OutcomeUnknown,
    Precondition,
    ProviderError,
    Reason,
    Rejected,
    Resource,
    Unavailable,
    Unimplemented,
)
from portal_server.domain.provider import Provider
from portal_server.idp.access import Access, Handle
from portal_server.idp.registrar import Registrar
from portal_server.storage.encryption import SecretColumn
from portal_server.storage.store import Store, Transaction

log = logging.getLogger(__name__)

Result = TypeVar("Result")

IN_PROGRESS = timedelta(seconds=30)
"""How long a call to a provider may be in progress; it takes at most 10 seconds."""
SEARCH_AFTER = timedelta(seconds=60)
"""When to search for a client: the provider may still be working on its registration."""
MAX_MESSAGE = 500
"""How many characters of an error are stored."""
# The states of a client after the response to its registration was lost.
_NEVER_RETURNED = (ClientState.UNKNOWN, ClientState.ORPHANED)
_REPLACED = Difference(field="client_secret", asked="", granted='"replaced"', wider=False)
_REPLACED_TEXT = (
    "the provider has replaced the secret of this client: an update without changes returns it"
)
# How many searches must not find a client before it counts as not registered.
_SEARCHES = 3
_LONGEST_PAUSE = timedelta(hours=1)
# The time between two attempts to store an outcome.
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class Registrations:
    """Reads what a call to a provider needs, and stores its intent and its outcome."""

    def __init__(self, store: Store, registrar: Registrar, keep: timedelta) -> None:
        """Secrets are stored for `keep`, the time in which retries return them."""
        self._store = store
        self._registrar = registrar
        self._keep = keep

    def access(self, provider: Provider) -> Access:
        """A provider with its secrets in plain text. Raises: Precondition (no encryption key)."""
        open_ = self._store.vault.open
        return Access(
            provider=provider,
            registration_access_token=open_(
                SecretColumn.PROVIDER_TOKEN,
                provider.uid,
                provider.registration_access_token,
            ),
            credential_client_secret=open_(
                SecretColumn.PROVIDER_CLIENT_SECRET,
                provider.uid,
                provider.credential_client_secret,
            ),
        )

    def handle(self, client: Client) -> Handle:
        """How a client is addressed at its provider."""
        token = self._store.vault.open(
            SecretColumn.CLIENT_TOKEN, client.uid, client.registration_access_token
        )
        return Handle(
            client_id=client.client_id,
            registration_client_uri=client.registration_client_uri,
            registration_access_token=token,
        )

    def require_key(self) -> None:
        """Accept only a server that can store the secrets of a client.

        Raises: Precondition: it has no encryption key.
        """
        if not self._store.vault:
            text = "the server has no encryption key, so it registers no clients; set"
            raise Precondition(Reason.NO_ENCRYPTION_KEY, f"{text} PORTAL_ENCRYPTION_KEYS")

    def secret(self, client: Client) -> str:
        """The secret of a client in plain text; "" if none is stored for retries."""
        until = client.client_secret_available_time
        if until is None or until <= now():
            return ""
        return self._store.vault.open(SecretColumn.CLIENT_SECRET, client.uid, client.client_secret)

    def has_replaced_secret(self, client: Client, found: ProviderClient) -> bool:
        """Whether the provider returned a secret other than the one that a response returned last.

        A provider may replace it in the response to a read or an update (RFC 7592, sections 2.1
        and 2.2). If no response is known to have returned one, any secret counts.
        """
        if not found.client_secret:
            return False
        known = self._store.vault.open(
            SecretColumn.CLIENT_SECRET_DIGEST, client.uid, client.client_secret_digest
        )
        return known != _digest(found.client_secret)

    def change(
        self, call: Call, client: Client, work: Callable[[Transaction, Client], Result]
    ) -> Result:
        """Run work on the current client, which is locked.

        Raises: NotFound, and what the work raises.
        """

        def locked(tx: Transaction) -> Result:
            return work(tx, tx.clients.get(client.provider_id, client.id, "exclusive"))

        return self._store.write(call, locked)

    def settle(
        self, call: Call, client: Client, work: Callable[[Transaction, Client], Result]
    ) -> Result:
        """Store an outcome: as `change`, and retried until the process ends.

        The caller need not wait for it.

        Raises: NotFound: the client was deleted here in the meantime.
        """
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return self.change(call.by_itself(), client, work)
            except (Unavailable, DeadlineExceeded, Exhausted, Aborted) as error:
                log.warning("client %s: its state is not stored yet: %s", client.uid, error.message)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def save(self, call: Call, client: Client, changed: Callable[[Client], Client]) -> Client:
        """Store an outcome that is a change of the client. Raises: NotFound, as `settle`."""
        return self.settle(
            call, client, lambda tx, current: save(tx, call, current, changed(current))
        )

    def observe(self, call: Call, client: Client, changed: Callable[[Client], Client]) -> Client:
        """Store what the provider returned, unless the client's state has changed.

        Another call may have begun to delete it. Raises: NotFound, as `settle`.
        """

        def work(tx: Transaction, current: Client) -> Client:
            if current.state is not client.state:
                return current
            return save(tx, call, current, changed(current))

        return self.settle(call, client, work)

    def remove_at_provider(self, call: Call, access: Access, client: Client) -> None:
        """Delete a DELETING client at its provider, and store the outcome.

        Returns when the provider no longer has it; its row remains.

        Raises:
            Rejected: the client is DETACHED now if its token is not accepted, else ACTIVE.
            NotSent, OutcomeUnknown, or Rejected because the provider is busy: it is still
                DELETING.
        """
        retried = client.attempts > 0
        try:
            with self._registrar.admitted(access):
                self._registrar.delete(access, self.handle(client))
        except Rejected as error:
            if retried and error.detached:
                # An earlier deletion succeeded, but its response was lost.
                return
            if is_busy(error):
                self.save(call, client, partial(later, message=error.message, counts=retried))
            else:
                state = ClientState.DETACHED if error.detached else ClientState.ACTIVE
                self.save(call, client, partial(back, state=state, message=error.message))
            raise
        except ProviderError as error:
            # Only a request that may have reached the provider explains a rejection later.
            counts = retried or isinstance(error, OutcomeUnknown)
            self.save(call, client, partial(later, message=error.message, counts=counts))
            raise

    def read_again(self, call: Call, provider: Provider, access: Access, client: Client) -> Client:
        """Read a client at its provider, and store whether it is ACTIVE or DETACHED.

        Raises: NotSent, OutcomeUnknown, and Rejected if that says nothing about the client.
        """
        try:
            with self._registrar.admitted(access):
                found = self._registrar.read(access, self.handle(client))
        except Rejected as error:
            # A change whose outcome stays unknown must end.
            updating = client.state is ClientState.UPDATING
            if not error.detached and not (updating and not is_busy(error)):
                raise
            detached = partial(moved, state=ClientState.DETACHED, message=error.message)
            return self.observe(call, client, detached)
        return self.observe(call, client, lambda now_: self.confirmed(now_, found, provider))

    def search(self, call: Call, provider: Provider, access: Access, client: Client) -> Client:
        """Search for a client whose registration has an unknown outcome; adopt it if it exists.

        Raises:
            NotSent, OutcomeUnknown, Rejected: the provider could not be searched now.
            NotFound: it does not exist there, or cannot be adopted and was deleted there; it
                is deleted here.
        """
        with self._registrar.admitted(access):
            handles = self._registrar.find(access, client.client_name)
            if handles is None:
                text = f'search the provider for a client named "{client.client_name}"'
                orphaned = partial(moved, state=ClientState.ORPHANED, message=text)
                return self.observe(call, client, orphaned)
            if not handles and client.attempts + 1 < _SEARCHES:
                # A provider may list a client only some time after it has registered it.
                text = "the provider does not list it yet"
                return self.observe(call, client, lambda now_: later(now_, text))
            if not handles:
                self.settle(call, client, partial(remove, call=call))
                raise NotFound(Resource.CLIENT, client.id)
            try:
                found = self._renewed(access, handles[0], client.requested)
            except (Rejected, Unimplemented):
                # Its secret can be neither read nor replaced: the client would be useless.
                self._registrar.delete(access, handles[0])
                self.settle(call, client, partial(remove, call=call))
                raise NotFound(Resource.CLIENT, client.id) from None
        return self.observe(
            call,
            client,
            lambda now_: self.registered(now_, found, provider, keep_secret=True),
        )

    def _renewed(self, access: Access, handle: Handle, metadata: Metadata) -> ProviderClient:
        """A client that was found, with a known secret."""
        found = self._registrar.read(access, handle)
        if found.client_secret or not is_confidential(found.metadata):
            return found
        return self._registrar.rotate(access, handle, metadata)

    def registered(
        self, stored: Client, found: ProviderClient, provider: Provider, *, keep_secret: bool
    ) -> Client:
        """The client with a new secret, ACTIVE.

        `keep_secret`: a retry returns the secret, so it is stored for a time.
        """
        keeps = keep_secret and bool(found.client_secret)
        until = now() + self._keep if keeps else None
        return replace(
            stored,
            **_activation(stored, found, provider, until),
            client_id_issue_time=found.client_id_issue_time or stored.client_id_issue_time,
            client_secret=found.client_secret if keeps else "",
            client_secret_available_time=until,
        )

    def confirmed(self, stored: Client, found: ProviderClient, provider: Provider) -> Client:
        """The client after the provider returned it, ACTIVE; a stored secret stays.

        It has a difference if the provider has replaced a secret that is known. If no response
        has returned its secret, because that of the registration was lost, a retry returns it.
        """
        if stored.state in _NEVER_RETURNED:
            return self.registered(stored, found, provider, keep_secret=True)
        until = stored.client_secret_available_time
        confirmed = replace(stored, **_activation(stored, found, provider, until))
        if not (stored.client_secret_digest and self.has_replaced_secret(stored, found)):
            return confirmed
        return replace(
            confirmed,
            differences=(*confirmed.differences, _REPLACED),
            message=found.message or _REPLACED_TEXT,
        )


def returned(client: Client, secret: str) -> Client:
    """The client after a response that returns this secret."""
    return replace(client, client_secret_digest=_digest(secret) if secret else "")


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def moved(
    client: Client, state: ClientState, message: str = "", due: datetime | None = None
) -> Client:
    """The client in another state, with the time of this change.

    Without `due`, it is due when its stored secret is to be deleted.
    """
    return replace(client, **_move(client, state, message, due))


def _move(client: Client, state: ClientState, message: str, due: datetime | None) -> dict[str, Any]:
    present = now_after(client.update_time)
    return {
        "state": state,
        "state_time": present if client.state is not state else client.state_time,
        "message": message[:MAX_MESSAGE],
        "due_time": due or client.client_secret_available_time,
        "attempts": 0,
        "update_time": present,
    }


def _activation(
    stored: Client, found: ProviderClient, provider: Provider, secret_until: datetime | None
) -> dict[str, Any]:
    """What changes when the provider has returned the client; its secret is stored until then."""
    due = _earliest(secret_until, found.client_secret_expire_time)
    return {
        **_move(stored, ClientState.ACTIVE, found.message, due),
        "client_id": found.client_id,
        "client_secret_expire_time": found.client_secret_expire_time,
        "registered": found.metadata,
        "differences": differences(stored.requested, found.metadata, provider.type),
        "registration_client_uri": found.registration_client_uri or stored.registration_client_uri,
        "registration_access_token": found.registration_access_token
        or stored.registration_access_token,
        "verify_time": now(),
    }


def back(client: Client, state: ClientState, message: str) -> Client:
    """The client after a change that was not done."""
    unchanged = moved(client, state, message)
    if state is ClientState.ACTIVE:
        return replace(unchanged, due_time=next_due(unchanged))
    return unchanged


def is_busy(error: Rejected) -> bool:
    """Whether the same request may be accepted later."""
    return error.reason is Reason.PROVIDER_BUSY


def later(client: Client, message: str, *, counts: bool = True) -> Client:
    """The client in the same state, due again after a delay that doubles."""
    attempts = client.attempts + counts
    pause = min(timedelta(seconds=2 ** min(attempts, 16)), _LONGEST_PAUSE)
    again = moved(client, client.state, message, now() + pause)
    return replace(again, attempts=attempts)


def next_due(client: Client) -> datetime | None:
    """When an ACTIVE client next changes: its secret is deleted or expires."""
    return _earliest(client.client_secret_available_time, client.client_secret_expire_time)


def _earliest(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time), default=None)


def save(
    tx: Transaction,
    call: Call,
    before: Client,
    after: Client,
    outcome: AuditOutcome | None = None,
) -> Client:
    """Store a change of a client; returns it with sealed secrets.

    A change that is not visible, such as when it is due, leaves the etag and has no event.
    """
    saved = tx.clients.save(after)
    if saved.etag != before.etag:
        tx.audit.add(call, before, saved, outcome)
    return saved


def remove(
    tx: Transaction, client: Client, *, call: Call, outcome: AuditOutcome | None = None
) -> None:
    """Delete the row of a client."""
    tx.clients.remove(client.id)
    tx.audit.add(call, client, None, outcome)


def is_confidential(metadata: Metadata) -> bool:
    """Whether a client with this metadata has a secret (RFC 7591, section 2)."""
    return metadata.get("token_endpoint_auth_method") != "none"
