"""PortalRestService: the REST operations, behind Envoy's transcoder.

Servicers translate; the catalog does the work and raises the errors.
"""

from portal.rest.v1 import portal_rest_pb2 as pb
from portal_server.catalog.client_types import ClientTypes
from portal_server.catalog.providers import Providers
from portal_server.wire.rest_v1.client_types import ClientTypeOperations
from portal_server.wire.rest_v1.providers import ProviderOperations

SERVICE = pb.DESCRIPTOR.services_by_name["PortalRestService"]


class PortalRestService(ProviderOperations, ClientTypeOperations):
    """All operations."""

    def __init__(self, providers: Providers, client_types: ClientTypes) -> None:
        ProviderOperations.__init__(self, providers)
        ClientTypeOperations.__init__(self, client_types)
