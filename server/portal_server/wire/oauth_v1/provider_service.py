"""ProviderService: providers over native gRPC."""

import grpc
from google.protobuf.empty_pb2 import Empty

from portal.oauth.v1 import provider_pb2 as pb
from portal.oauth.v1 import provider_pb2_grpc
from portal_server.catalog.providers import Providers
from portal_server.catalog.updates import Change
from portal_server.domain.provider import PROVIDER, Provider, ProviderDraft
from portal_server.wire.calls import call_of
from portal_server.wire.oauth_v1 import filters
from portal_server.wire.oauth_v1.messages import (
    etags_of,
    masked_fields,
    page_token,
    required_ids,
    slice_of,
    timestamp,
    together,
)
from portal_server.wire.oauth_v1.words import PROVIDER_TYPE, spell
from portal_server.wire.status import Surface

NAME = pb.DESCRIPTOR.services_by_name["ProviderService"].full_name
SURFACE = Surface({field: f"provider.{field}" for field in PROVIDER}, spell)

_FILTER: filters.Fields = {"name": filters.TextField(), "type": filters.WordField(PROVIDER_TYPE)}
_TOKEN = "registration_access_token"  # noqa: S105 - the field's name


class ProviderService(provider_pb2_grpc.ProviderServiceServicer):
    """Translates; the catalog does the work and raises what callers are refused with."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    def CreateProvider(
        self, request: pb.CreateProviderRequest, context: grpc.ServicerContext
    ) -> pb.Provider:
        """Create a provider."""
        return _message(
            self._providers.create(call_of(context), _draft(request.provider), request.uid or None)
        )

    def GetProvider(
        self, request: pb.GetProviderRequest, context: grpc.ServicerContext
    ) -> pb.Provider:
        """Get a provider."""
        required_ids(id=request.id)
        return _message(self._providers.get(call_of(context), request.id))

    def ListProviders(
        self, request: pb.ListProvidersRequest, context: grpc.ServicerContext
    ) -> pb.ListProvidersResponse:
        """List providers."""
        part, where = together(
            lambda: slice_of(request), lambda: filters.parse(request.filter, _FILTER)
        )
        page = self._providers.list(call_of(context), where, part)
        return pb.ListProvidersResponse(
            providers=map(_message, page.items),
            next_page_token=page_token(page.next_after, request),
        )

    def UpdateProvider(
        self, request: pb.UpdateProviderRequest, context: grpc.ServicerContext
    ) -> pb.Provider:
        """Update a provider."""
        given = request.provider
        _, fields = together(
            lambda: required_ids(**{"provider.id": given.id}),
            lambda: masked_fields(request.update_mask, given, PROVIDER),
        )
        if not given.registration_access_token and _TOKEN not in request.update_mask.paths:
            # Nobody can read it back: only by its own name is it cleared.
            fields.discard(_TOKEN)
        change = Change(_draft(given), fields, etags_of(given))
        return _message(self._providers.update(call_of(context), given.id, change))

    def DeleteProvider(
        self, request: pb.DeleteProviderRequest, context: grpc.ServicerContext
    ) -> Empty:
        """Delete a provider with its client types."""
        required_ids(id=request.id)
        self._providers.delete(call_of(context), request.id, etags_of(request))
        return Empty()


def _draft(message: pb.Provider) -> ProviderDraft:
    return ProviderDraft(
        name=message.name,
        type=PROVIDER_TYPE.optional_word(message.type),
        well_known_uri=message.well_known_uri,
        tls_insecure_skip_verify=message.tls_insecure_skip_verify,
        registration_access_token=message.registration_access_token,
    )


def _message(provider: Provider) -> pb.Provider:
    return pb.Provider(
        id=provider.id,
        uid=provider.uid,
        name=provider.name,
        type=PROVIDER_TYPE.number(provider.type),
        well_known_uri=provider.well_known_uri,
        tls_insecure_skip_verify=provider.tls_insecure_skip_verify,
        registration_access_token_set=bool(provider.registration_access_token),
        create_time=timestamp(provider.create_time),
        update_time=timestamp(provider.update_time),
        etag=provider.etag,
    )
