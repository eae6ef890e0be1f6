"""ProviderService: providers over native gRPC."""

from google.protobuf.empty_pb2 import Empty

from portal.oauth.v1 import provider_pb2 as pb
from portal_server.catalog.providers import Providers
from portal_server.domain.provider import PROVIDER, Provider, ProviderDraft
from portal_server.wire.calls import CallContext
from portal_server.wire.oauth_v1 import filters
from portal_server.wire.oauth_v1.codec import Codec, etags_of
from portal_server.wire.oauth_v1.enums import wire_name
from portal_server.wire.oauth_v1.paging import (
    collect_violations,
    page_range,
    page_token,
    required_ids,
)
from portal_server.wire.status import Surface

SERVICE = pb.DESCRIPTOR.services_by_name["ProviderService"]
SURFACE = Surface({field: f"provider.{field}" for field in PROVIDER}, wire_name)
CODEC = Codec(pb.Provider, Provider, ProviderDraft, PROVIDER)


class ProviderService:
    """Translates; the catalog does the work and raises the errors."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    def CreateProvider(
        self, request: pb.CreateProviderRequest, context: CallContext
    ) -> pb.Provider:
        """Create a provider."""
        draft = CODEC.draft(request.provider)
        return CODEC.message(self._providers.create(context.call, draft, request.uid or None))

    def GetProvider(self, request: pb.GetProviderRequest, context: CallContext) -> pb.Provider:
        """Get a provider."""
        required_ids(id=request.id)
        return CODEC.message(self._providers.get(context.call, request.id))

    def ListProviders(
        self, request: pb.ListProvidersRequest, context: CallContext
    ) -> pb.ListProvidersResponse:
        """List providers."""
        rows, where = collect_violations(
            lambda: page_range(request), lambda: filters.parse(request.filter, PROVIDER)
        )
        page = self._providers.list(context.call, where, rows)
        return pb.ListProvidersResponse(
            providers=map(CODEC.message, page.items),
            next_page_token=page_token(page.next_after, request),
        )

    def UpdateProvider(
        self, request: pb.UpdateProviderRequest, context: CallContext
    ) -> pb.Provider:
        """Update a provider."""
        given = request.provider
        _, change = collect_violations(
            lambda: required_ids(**{"provider.id": given.id}),
            lambda: CODEC.change(request.update_mask, given),
        )
        return CODEC.message(self._providers.update(context.call, given.id, change))

    def DeleteProvider(self, request: pb.DeleteProviderRequest, context: CallContext) -> Empty:
        """Delete a provider with its client types."""
        required_ids(id=request.id)
        self._providers.delete(context.call, request.id, etags_of(request))
        return Empty()
