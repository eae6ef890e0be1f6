"""PortalRestService: the REST operations, behind Envoy's transcoder.

Servicers translate; the catalog does the work and raises the errors.
"""

from portal.rest.v1 import portal_rest_pb2 as pb
from portal_server.wire.rest_v1.client_types import ClientTypeOperations
from portal_server.wire.rest_v1.clients import ClientOperations
from portal_server.wire.rest_v1.providers import ProviderOperations
from portal_server.wire.use_cases import UseCases

SERVICE = pb.DESCRIPTOR.services_by_name["PortalRestService"]


class PortalRestService(ProviderOperations, ClientTypeOperations, ClientOperations):
    """All operations."""

    def __init__(self, use_cases: UseCases) -> None:
        ProviderOperations.__init__(self, use_cases)
        ClientTypeOperations.__init__(self, use_cases)
        ClientOperations.__init__(self, use_cases)
