"""Finishes changes that a crash interrupted: one server at a time, which holds a lease.

The rows have the work: clients whose `due_time` has passed. An attempt that changes
nothing is repeated after a delay that doubles, up to an hour.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

from portal_server.catalog.background import BackgroundTask
from portal_server.catalog.registrations import (
    SEARCH_AFTER,
    Registrations,
    later,
    moved,
    next_due,
    remove,
    save,
)
from portal_server.catalog.updates import now
from portal_server.domain.calls import Call, Origin
from portal_server.domain.client import Client, ClientState
from portal_server.domain.errors import NotFound, PortalError, ProviderError
from portal_server.domain.identity import new_uid
from portal_server.domain.provider import Provider
from portal_server.storage.store import Store, Transaction

log = logging.getLogger(__name__)

PERIOD_S = 1.0
"""How often to look for clients that are due."""
LEASE = timedelta(seconds=60)
"""How long the other servers wait after the one with the lease has exited."""
# The lease is renewed before each client, which takes less than half of this time.
_NAME = "reconciler"
_BATCH = 20
_CALL = Call(origin=Origin(_NAME))


class Reconciler(BackgroundTask):
    """The background work on clients of one server."""

    # A call to a provider can take longer than a server may take to stop.
    wait_s = 1.0

    def __init__(self, store: Store, registrations: Registrations) -> None:
        super().__init__(_NAME)
        self._store = store
        self._registrations = registrations
        self._holder = new_uid()
        self._held = False

    def work(self) -> int:
        """Do what is due; returns how many clients were examined."""
        due = self._store.read_latest(Call(), lambda tx: tx.clients.due(now(), _BATCH))
        count = 0
        for client in due:
            if self._stopped.is_set() or not self._acquire():
                break
            self._look(client)
            count += 1
        return count

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            try:
                self.work()
            except PortalError as error:
                log.warning("clients are not reconciled for now: %s", error.message)
            except Exception:
                log.exception("clients are not reconciled for now")
        if self._held:
            self._release()

    def _acquire(self) -> bool:
        present = now()
        self._held = self._store.write(
            Call(),
            lambda tx: tx.leases.acquire(_NAME, self._holder, present, present + LEASE),
        )
        return self._held

    def _release(self) -> None:
        try:
            self._store.write(Call(), lambda tx: tx.leases.release(_NAME, self._holder))
        except PortalError as error:
            log.warning("the lease is not released and expires later: %s", error.message)

    def _look(self, client: Client) -> None:
        try:
            self._finish(client)
        except NotFound:
            log.info("client %s is gone", client.uid)
        except PortalError as error:
            log.warning("client %s is %s: %s", client.uid, client.state, error.message)
            if not isinstance(error, ProviderError) or client.state is not ClientState.DELETING:
                self._again(client, error.message)
        except Exception:
            # Such as a secret that was changed in the database. The others must not wait for it.
            log.exception("client %s is %s", client.uid, client.state)
            postponed = later(client, client.message)
            self._store.write(Call(), lambda tx: tx.clients.postpone(postponed))

    def _finish(self, client: Client) -> None:
        match client.state:
            case ClientState.REGISTERING:
                text = "the server exited before the provider responded"
                due = now() + SEARCH_AFTER
                self._save(client, lambda now_: moved(now_, ClientState.UNKNOWN, text, due))
            case ClientState.UNKNOWN:
                self._search(client)
            case ClientState.UPDATING:
                provider = self._provider(client)
                self._registrations.read_again(
                    _CALL, provider, self._registrations.access(provider), client
                )
            case ClientState.DELETING:
                provider = self._provider(client)
                access = self._registrations.access(provider)
                self._registrations.remove_at_provider(_CALL, access, client)
                self._registrations.settle(_CALL, client, partial(remove, call=_CALL))
            case ClientState.ACTIVE:
                self._save(client, _aged)
            case _:
                self._save(client, lambda now_: replace(_without_old_secret(now_), due_time=None))

    def _search(self, client: Client) -> None:
        provider = self._provider(client)
        access = self._registrations.access(provider)
        self._registrations.search(_CALL, provider, access, client)

    def _provider(self, client: Client) -> Provider:
        return self._store.read_latest(Call(), lambda tx: tx.providers.get(client.provider_id))

    def _again(self, client: Client, message: str) -> None:
        self._save(client, lambda now_: later(now_, message))

    def _save(self, client: Client, changed: Callable[[Client], Client]) -> None:
        def work(tx: Transaction, current: Client) -> None:
            # Another state: another call has changed it.
            if current.state is client.state:
                save(tx, _CALL, current, changed(current))

        self._registrations.change(_CALL, client, work)


def _aged(client: Client) -> Client:
    """An ACTIVE client at its due time: without the stored secret, or EXPIRED."""
    expires = client.client_secret_expire_time
    if expires and expires <= now():
        text = "the provider no longer accepts the secret, and may have deleted the client"
        return moved(_without_secret(client), ClientState.EXPIRED, text)
    client = _without_old_secret(client)
    return replace(client, due_time=next_due(client))


def _without_old_secret(client: Client) -> Client:
    """Without the stored secret, if retries no longer return it."""
    kept = client.client_secret_available_time
    return _without_secret(client) if kept and kept <= now() else client


def _without_secret(client: Client) -> Client:
    return replace(client, client_secret="", client_secret_available_time=None)
