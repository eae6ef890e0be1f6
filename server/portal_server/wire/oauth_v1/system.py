"""SystemService: what a server is, over native gRPC."""

from portal.oauth.v1 import system_pb2 as pb
from portal_server.wire.calls import CallContext
from portal_server.wire.oauth_v1.codec import Writer
from portal_server.wire.oauth_v1.enums import wire_name
from portal_server.wire.status import Surface
from portal_server.wire.use_cases import UseCases

SERVICE = pb.DESCRIPTOR.services_by_name["SystemService"]
SURFACE = Surface({}, wire_name)

_INFO = Writer(pb.ServerInfo)


class SystemService:
    """Translates; the catalog does the work."""

    def __init__(self, use_cases: UseCases) -> None:
        self._system = use_cases.system

    def GetServerInfo(
        self, _request: pb.GetServerInfoRequest, context: CallContext
    ) -> pb.ServerInfo:
        """Get the version of the server, the schema, and the caller."""
        return _INFO.message(self._system.info(context.call))
