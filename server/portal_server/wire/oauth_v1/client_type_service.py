"""ClientTypeService: client types over native gRPC."""

import grpc
from google.protobuf.empty_pb2 import Empty

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1 import client_type_pb2_grpc
from portal_server.catalog.client_types import ClientTypes
from portal_server.catalog.updates import Change
from portal_server.domain.client_type import (
    CLIENT_TYPE,
    ClientType,
    ClientTypeDraft,
)
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
from portal_server.wire.oauth_v1.words import (
    GRANT_TYPE,
    OKTA_APP_TYPE,
    RESPONSE_TYPE,
    TOKEN_ENDPOINT_AUTH_METHOD,
    spell,
)
from portal_server.wire.status import Surface

NAME = pb.DESCRIPTOR.services_by_name["ClientTypeService"].full_name
SURFACE = Surface({field: f"client_type.{field}" for field in CLIENT_TYPE}, spell)

_FILTER: filters.Fields = {
    "name": filters.TextField(),
    "response_types": filters.WordsField(RESPONSE_TYPE),
    "grant_types": filters.WordsField(GRANT_TYPE),
    "token_endpoint_auth_method": filters.WordField(TOKEN_ENDPOINT_AUTH_METHOD),
    "okta_app_type": filters.WordField(OKTA_APP_TYPE),
}


class ClientTypeService(client_type_pb2_grpc.ClientTypeServiceServicer):
    """Translates; the catalog does the work and raises what callers are refused with."""

    def __init__(self, client_types: ClientTypes) -> None:
        self._client_types = client_types

    def CreateClientType(
        self, request: pb.CreateClientTypeRequest, context: grpc.ServicerContext
    ) -> pb.ClientType:
        """Create a client type."""
        draft = _draft(request.client_type)
        created = self._client_types.create(
            call_of(context), request.provider_id, draft, request.uid or None
        )
        return _message(created)

    def GetClientType(
        self, request: pb.GetClientTypeRequest, context: grpc.ServicerContext
    ) -> pb.ClientType:
        """Get a client type."""
        required_ids(provider_id=request.provider_id, id=request.id)
        return _message(self._client_types.get(call_of(context), request.provider_id, request.id))

    def ListClientTypes(
        self, request: pb.ListClientTypesRequest, context: grpc.ServicerContext
    ) -> pb.ListClientTypesResponse:
        """List client types."""
        provider_id = request.provider_id
        _, part, where = together(
            lambda: required_ids(provider_id=provider_id),
            lambda: slice_of(request, provider_id),
            lambda: filters.parse(request.filter, _FILTER),
        )
        page = self._client_types.list(call_of(context), provider_id, where, part)
        return pb.ListClientTypesResponse(
            client_types=map(_message, page.items),
            next_page_token=page_token(page.next_after, request, provider_id),
        )

    def UpdateClientType(
        self, request: pb.UpdateClientTypeRequest, context: grpc.ServicerContext
    ) -> pb.ClientType:
        """Update a client type."""
        given = request.client_type
        ids = {"client_type.provider_id": given.provider_id, "client_type.id": given.id}
        _, fields = together(
            lambda: required_ids(**ids),
            lambda: masked_fields(request.update_mask, given, CLIENT_TYPE),
        )
        change = Change(_draft(given), fields, etags_of(given))
        updated = self._client_types.update(call_of(context), given.provider_id, given.id, change)
        return _message(updated)

    def DeleteClientType(
        self, request: pb.DeleteClientTypeRequest, context: grpc.ServicerContext
    ) -> Empty:
        """Delete a client type."""
        required_ids(provider_id=request.provider_id, id=request.id)
        self._client_types.delete(
            call_of(context), request.provider_id, request.id, etags_of(request)
        )
        return Empty()


def _draft(message: pb.ClientType) -> ClientTypeDraft:
    return ClientTypeDraft(
        name=message.name,
        description=message.description,
        response_types=tuple(map(RESPONSE_TYPE.word, message.response_types)),
        grant_types=tuple(map(GRANT_TYPE.word, message.grant_types)),
        token_endpoint_auth_method=TOKEN_ENDPOINT_AUTH_METHOD.optional_word(
            message.token_endpoint_auth_method
        ),
        okta_app_type=OKTA_APP_TYPE.optional_word(message.okta_app_type),
    )


def _message(client_type: ClientType) -> pb.ClientType:
    return pb.ClientType(
        id=client_type.id,
        uid=client_type.uid,
        provider_id=client_type.provider_id,
        name=client_type.name,
        description=client_type.description,
        response_types=map(RESPONSE_TYPE.number, client_type.response_types),
        grant_types=map(GRANT_TYPE.number, client_type.grant_types),
        token_endpoint_auth_method=TOKEN_ENDPOINT_AUTH_METHOD.number(
            client_type.token_endpoint_auth_method
        ),
        okta_app_type=OKTA_APP_TYPE.number(client_type.okta_app_type),
        create_time=timestamp(client_type.create_time),
        update_time=timestamp(client_type.update_time),
        etag=client_type.etag,
    )
