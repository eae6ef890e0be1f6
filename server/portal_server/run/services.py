"""The services of the portal's two APIs: a new one is a line here."""

from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor

from portal_server.catalog.keyring import KeyRing
from portal_server.wire.oauth_v1 import (
    api_keys,
    audit,
    client_types,
    clients,
    providers,
    system,
    watch,
)
from portal_server.wire.rest_v1 import dialect, service
from portal_server.wire.status import Surface
from portal_server.wire.streams import Streams
from portal_server.wire.use_cases import UseCases


@dataclass(frozen=True, slots=True)
class Service:
    """A service, its spelling of fields and words, and the servicer with its methods."""

    descriptor: ServiceDescriptor
    surface: Surface
    servicer: object

    @property
    def name(self) -> str:
        """Its full name: `package.Service`."""
        return self.descriptor.full_name


def services_of(cases: UseCases, keyring: KeyRing, streams: Streams) -> tuple[Service, ...]:
    """All services on these use cases."""
    watching = watch.WatchService(cases, keyring, streams)
    return (
        Service(providers.SERVICE, providers.SURFACE, providers.ProviderService(cases)),
        Service(client_types.SERVICE, client_types.SURFACE, client_types.ClientTypeService(cases)),
        Service(clients.SERVICE, clients.SURFACE, clients.ClientService(cases)),
        Service(audit.SERVICE, audit.SURFACE, audit.AuditService(cases)),
        Service(watch.SERVICE, watch.SURFACE, watching),
        Service(system.SERVICE, system.SURFACE, system.SystemService(cases)),
        Service(api_keys.SERVICE, api_keys.SURFACE, api_keys.ApiKeyService(cases.api_keys)),
        Service(service.SERVICE, dialect.SURFACE, service.PortalRestService(cases)),
    )
