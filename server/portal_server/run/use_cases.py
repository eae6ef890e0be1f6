"""Assembles the use cases of a server."""

from typing import Any, NoReturn

from portal_server.catalog.client_types import ClientTypes
from portal_server.catalog.idempotency import Idempotency
from portal_server.catalog.provider_details import ProviderDetails
from portal_server.catalog.providers import Providers
from portal_server.catalog.updates import Etags
from portal_server.domain.calls import Call
from portal_server.domain.client import Client
from portal_server.domain.errors import Precondition, Reason
from portal_server.domain.identity import Ref
from portal_server.storage.store import Store
from portal_server.wire.use_cases import UseCases


def use_cases(store: Store, idempotency: Idempotency) -> UseCases:
    """The use cases on a store."""
    providers = Providers(store, idempotency, ProviderDetails(store))
    client_types = ClientTypes(store, idempotency)
    without: Any = _WithoutClients()
    return UseCases(
        providers=providers,
        client_types=client_types,
        clients=without,
        provider_checks=without,
        deletes_providers=_DeletesProviders(providers),
        deletes_client_types=_DeletesClientTypes(client_types),
    )


def _not_yet(*_: object, **__: object) -> NoReturn:
    raise Precondition(Reason.NO_ENCRYPTION_KEY, "this server cannot register clients yet")


class _WithoutClients:
    """Stands in for the use cases of clients."""

    def __getattr__(self, _name: str) -> Any:
        return _not_yet


class _DeletesProviders:
    """Deletes providers, none of which has a client."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    def delete(
        self,
        call: Call,
        ref: Ref,
        etags: Etags = None,
        *,
        force: bool = False,  # noqa: ARG002 - nothing to force
    ) -> None:
        """Delete a provider."""
        self._providers.delete(call, ref, etags)

    def forget(self, call: Call, ref: Ref, etags: Etags = None) -> list[Client]:
        """Delete a provider."""
        self._providers.delete(call, ref, etags)
        return []


class _DeletesClientTypes:
    """Deletes client types, none of which has a client."""

    def __init__(self, client_types: ClientTypes) -> None:
        self._client_types = client_types

    def delete(
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        etags: Etags = None,
        *,
        force: bool = False,  # noqa: ARG002 - nothing to force
    ) -> None:
        """Delete a client type."""
        self._client_types.delete(call, provider, ref, etags)
