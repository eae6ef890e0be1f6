"""The use cases, as the servicers get them."""

from dataclasses import dataclass

from portal_server.catalog.api_keys import ApiKeys
from portal_server.catalog.audit_log import AuditLog
from portal_server.catalog.client_types import ClientTypes
from portal_server.catalog.clients import Clients
from portal_server.catalog.provider_checks import ProviderChecks
from portal_server.catalog.providers import Providers
from portal_server.catalog.system import System


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """All use cases."""

    providers: Providers
    client_types: ClientTypes
    clients: Clients
    provider_checks: ProviderChecks
    api_keys: ApiKeys
    system: System
    audit_log: AuditLog
