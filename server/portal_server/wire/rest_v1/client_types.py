"""The REST operations of client types."""

from collections.abc import Iterator
from functools import lru_cache

from portal.rest.v1 import portal_rest_pb2 as pb
from portal_server.catalog.updates import Change
from portal_server.domain.client_type import CLIENT_TYPE, ClientType, ClientTypeDraft
from portal_server.domain.errors import Resource
from portal_server.domain.identity import Ref
from portal_server.wire.calls import KEPT_MESSAGES, CallContext
from portal_server.wire.rest_v1.codec import Codec
from portal_server.wire.rest_v1.dialect import read_flag
from portal_server.wire.rest_v1.ids import ref_of
from portal_server.wire.rest_v1.paging import page_range, read_parts
from portal_server.wire.rest_v1.preconditions import if_match, send_etag
from portal_server.wire.use_cases import UseCases

_CODEC = Codec(CLIENT_TYPE, pb.ClientType)
_OfOne = pb.GetClientTypeRequest | pb.UpdateClientTypeRequest | pb.DeleteClientTypeRequest


class ClientTypeOperations:
    """The operations of client types."""

    def __init__(self, use_cases: UseCases) -> None:
        self._client_types = use_cases.client_types

    def ListClientTypes(
        self, request: pb.ListClientTypesRequest, context: CallContext
    ) -> Iterator[pb.ListClientTypesResponse]:
        """List the client types of a provider."""
        call = context.call
        page = page_range(request)
        provider = ref_of(Resource.PROVIDER, request.provider_id)
        parts = read_parts(page, lambda rows: self._client_types.list(call, provider, (), rows))
        return (pb.ListClientTypesResponse(client_types=map(_kept_message, part)) for part in parts)

    def CreateClientType(
        self, request: pb.CreateClientTypeRequest, context: CallContext
    ) -> pb.ClientType:
        """Create a client type."""
        provider = ref_of(Resource.PROVIDER, request.provider_id)
        draft = _draft(request.client_type)
        created = self._client_types.create(context.call, provider, draft)
        send_etag(context, created.etag)
        return client_type_message(created)

    def GetClientType(
        self, request: pb.GetClientTypeRequest, context: CallContext
    ) -> pb.ClientType:
        """Get a client type."""
        found = self._client_types.get(context.call, *_refs(request))
        send_etag(context, found.etag)
        return _kept_message(found)

    def UpdateClientType(
        self, request: pb.UpdateClientTypeRequest, context: CallContext
    ) -> pb.ClientType:
        """Replace a client type."""
        change = Change(_draft(request.client_type), CLIENT_TYPE, if_match(context))
        updated = self._client_types.update(context.call, *_refs(request), change)
        send_etag(context, updated.etag)
        return client_type_message(updated)

    def DeleteClientType(
        self, request: pb.DeleteClientTypeRequest, context: CallContext
    ) -> pb.Status:
        """Delete a client type."""
        force = read_flag("force", request.force)
        self._client_types.delete(context.call, *_refs(request), if_match(context), force=force)
        return pb.Status(status="ok")


def _refs(request: _OfOne) -> tuple[Ref, Ref]:
    """The provider and the client type that a path names."""
    return (
        ref_of(Resource.PROVIDER, request.provider_id),
        ref_of(Resource.CLIENT_TYPE, request.client_type_id),
    )


def client_type_message(client_type: ClientType) -> pb.ClientType:
    """The message of a client type."""
    return pb.ClientType(**_CODEC.response(client_type))


# Callers read the same client types again and again. Nothing changes these messages.
_kept_message = lru_cache(KEPT_MESSAGES)(client_type_message)


def _draft(message: pb.ClientTypeInput) -> ClientTypeDraft:
    return ClientTypeDraft(**_CODEC.draft(message))
