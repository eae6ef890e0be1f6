"""Assembles the use cases of a server and its background tasks."""

from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version

from portal_server.catalog.api_keys import ApiKeys
from portal_server.catalog.audit_log import AuditLog
from portal_server.catalog.client_types import ClientTypes
from portal_server.catalog.clients import Clients
from portal_server.catalog.idempotency import ExpiryTask, Idempotency
from portal_server.catalog.provider_checks import ProviderChecks
from portal_server.catalog.provider_details import ProviderDetails
from portal_server.catalog.providers import Providers
from portal_server.catalog.reconciler import Reconciler
from portal_server.catalog.registrations import Registrations
from portal_server.catalog.sealer import Sealer
from portal_server.catalog.system import System
from portal_server.idp.registrar import Registrar
from portal_server.run.settings import Settings
from portal_server.storage.store import Store
from portal_server.wire.use_cases import UseCases


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """The use cases, the calls to providers, and the background tasks, which are not started."""

    use_cases: UseCases
    registrar: Registrar
    reconciler: Reconciler
    expiry: ExpiryTask
    sealer: Sealer


def assemble(store: Store, settings: Settings) -> Assembled:
    """Assemble the use cases on a store."""
    keep = timedelta(seconds=settings.request_id_seconds)
    idempotency = Idempotency(store, keep)
    registrar = Registrar(allow_private=settings.private_providers_allowed)
    registrations = Registrations(store, registrar, keep)
    clients = Clients(store, idempotency, registrations, registrar)
    return Assembled(
        use_cases=UseCases(
            providers=Providers(store, idempotency, ProviderDetails(store), clients),
            client_types=ClientTypes(store, idempotency, clients),
            clients=clients,
            provider_checks=ProviderChecks(store, registrations, registrar),
            api_keys=ApiKeys(store, idempotency),
            audit_log=AuditLog(store),
            system=System(store, version("oauth-portal-server")),
        ),
        expiry=ExpiryTask(idempotency),
        reconciler=Reconciler(store, registrations),
        registrar=registrar,
        sealer=Sealer(store),
    )
