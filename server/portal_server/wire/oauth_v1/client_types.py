"""ClientTypeService: client types over native gRPC."""

from functools import lru_cache

from google.protobuf.empty_pb2 import Empty

from portal.oauth.v1 import client_type_pb2 as pb
from portal_server.domain.client_type import CLIENT_TYPE, ClientType, ClientTypeDraft
from portal_server.domain.provider import ProviderType
from portal_server.wire.calls import KEPT_MESSAGES, CallContext
from portal_server.wire.oauth_v1 import filters
from portal_server.wire.oauth_v1.codec import Codec, as_created, as_updated, etags_of
from portal_server.wire.oauth_v1.enums import vocabulary_of, wire_name
from portal_server.wire.oauth_v1.paging import (
    collect_violations,
    page_range,
    page_token,
    required_ids,
)
from portal_server.wire.status import Surface
from portal_server.wire.use_cases import UseCases

SERVICE = pb.DESCRIPTOR.services_by_name["ClientTypeService"]
SURFACE = Surface({field: f"client_type.{field}" for field in CLIENT_TYPE}, wire_name)
CODEC = Codec(pb.ClientType, ClientType, ClientTypeDraft, CLIENT_TYPE)

# Callers read the same client types again and again. Nothing changes these messages.
_kept_message = lru_cache(KEPT_MESSAGES)(CODEC.message)
_provider_type = vocabulary_of(ProviderType).optional_word


class ClientTypeService:
    """Translates; the catalog does the work and raises the errors."""

    def __init__(self, use_cases: UseCases) -> None:
        self._client_types = use_cases.client_types

    def CreateClientType(
        self, request: pb.CreateClientTypeRequest, context: CallContext
    ) -> pb.ClientType:
        """Create a client type."""
        draft = CODEC.draft(request.client_type)
        uid = request.uid or None
        planned = _provider_type(request.planned_provider_type)
        created = self._client_types.create(context.call, request.provider_id, draft, uid, planned)
        return as_created(request, CODEC.message(created))

    def GetClientType(
        self, request: pb.GetClientTypeRequest, context: CallContext
    ) -> pb.ClientType:
        """Get a client type."""
        required_ids(provider_id=request.provider_id, id=request.id)
        return _kept_message(self._client_types.get(context.call, request.provider_id, request.id))

    def ListClientTypes(
        self, request: pb.ListClientTypesRequest, context: CallContext
    ) -> pb.ListClientTypesResponse:
        """List client types."""
        provider_id = request.provider_id
        _, rows, where = collect_violations(
            lambda: required_ids(provider_id=provider_id),
            lambda: page_range(request, provider_id),
            lambda: filters.parse(request.filter, CLIENT_TYPE),
        )
        page = self._client_types.list(context.call, provider_id, where, rows)
        return pb.ListClientTypesResponse(
            client_types=map(_kept_message, page.items),
            next_page_token=page_token(page.next_after, request, provider_id),
        )

    def UpdateClientType(
        self, request: pb.UpdateClientTypeRequest, context: CallContext
    ) -> pb.ClientType:
        """Update a client type."""
        given = request.client_type
        ids = {"client_type.provider_id": given.provider_id, "client_type.id": given.id}
        _, change = collect_violations(
            lambda: required_ids(**ids), lambda: CODEC.change(request.update_mask, given)
        )
        planned = _provider_type(request.planned_provider_type)
        updated = self._client_types.update(
            context.call, given.provider_id, given.id, change, planned
        )
        return as_updated(request, CODEC.message(updated))

    def DeleteClientType(self, request: pb.DeleteClientTypeRequest, context: CallContext) -> Empty:
        """Delete a client type."""
        required_ids(provider_id=request.provider_id, id=request.id)
        etags = etags_of(request)
        self._client_types.delete(
            context.call, request.provider_id, request.id, etags, force=request.force
        )
        return Empty()
