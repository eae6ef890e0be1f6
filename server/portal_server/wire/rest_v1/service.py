"""PortalRestService: the portal's REST operations, behind Envoy's transcoder."""

import re
from collections.abc import Iterator
from typing import Protocol

import grpc

from portal.rest.v1 import portal_rest_pb2 as pb
from portal.rest.v1 import portal_rest_pb2_grpc
from portal_server.catalog.client_types import ClientTypes
from portal_server.catalog.provider_details import ProviderDetail
from portal_server.catalog.providers import Providers
from portal_server.catalog.updates import Change
from portal_server.domain.client_type import CLIENT_TYPE, ClientType, ClientTypeDraft
from portal_server.domain.errors import NotFound, Resource
from portal_server.domain.fields import quote
from portal_server.domain.lists import PageRange
from portal_server.domain.provider import PROVIDER, Provider, ProviderDraft
from portal_server.wire.calls import call_of
from portal_server.wire.rest_v1 import dialect
from portal_server.wire.rest_v1.paging import page_range
from portal_server.wire.rest_v1.preconditions import if_match, send_etag

# Without 0, which the catalog takes for "not given".
_ID = re.compile(r"0*[1-9][0-9]{0,17}")

NAME = pb.DESCRIPTOR.services_by_name["PortalRestService"].full_name


class PortalRestService(portal_rest_pb2_grpc.PortalRestServiceServicer):
    """Translates; the catalog does the work and raises what callers are refused with."""

    def __init__(self, providers: Providers, client_types: ClientTypes) -> None:
        self._providers = providers
        self._client_types = client_types

    def ListProviders(
        self, request: pb.ListProvidersRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.Provider]:
        """List providers."""
        page = self._providers.list(call_of(context), (), _page_range(request))
        return map(_provider, page.items)

    def CreateProvider(
        self, request: pb.CreateProviderRequest, context: grpc.ServicerContext
    ) -> pb.Provider:
        """Create a provider."""
        draft = _provider_draft(request.provider)
        created = self._providers.create(call_of(context), draft)
        send_etag(context, created.etag)
        return _provider(created)

    def GetProvider(
        self, request: pb.GetProviderRequest, context: grpc.ServicerContext
    ) -> pb.ProviderWithClientTypes:
        """Get a provider with its client types."""
        found = self._providers.get_detail(call_of(context), _provider_id(request))
        send_etag(context, found.provider.etag)
        return _detail(found)

    def UpdateProvider(
        self, request: pb.UpdateProviderRequest, context: grpc.ServicerContext
    ) -> pb.ProviderWithClientTypes:
        """Replace a provider."""
        fields = set(PROVIDER)
        if not request.provider.HasField("registration_access_token"):
            # No caller can read it back, so what is not given stays.
            fields.discard("registration_access_token")
        draft = _provider_draft(request.provider)
        updated = self._providers.update_detail(
            call_of(context), _provider_id(request), Change(draft, fields, if_match(context))
        )
        send_etag(context, updated.provider.etag)
        return _detail(updated)

    def DeleteProvider(
        self, request: pb.DeleteProviderRequest, context: grpc.ServicerContext
    ) -> pb.Status:
        """Delete a provider with its client types."""
        _check_force(request.force)
        self._providers.delete(call_of(context), _provider_id(request), if_match(context))
        return pb.Status(status="ok")

    def ListClientTypes(
        self, request: pb.ListClientTypesRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ClientType]:
        """List the client types of a provider."""
        page = self._client_types.list(
            call_of(context), _provider_id(request), (), _page_range(request)
        )
        return map(_client_type, page.items)

    def CreateClientType(
        self, request: pb.CreateClientTypeRequest, context: grpc.ServicerContext
    ) -> pb.ClientType:
        """Create a client type."""
        draft = _client_type_draft(request.client_type)
        created = self._client_types.create(call_of(context), _provider_id(request), draft)
        send_etag(context, created.etag)
        return _client_type(created)

    def GetClientType(
        self, request: pb.GetClientTypeRequest, context: grpc.ServicerContext
    ) -> pb.ClientType:
        """Get a client type."""
        found = self._client_types.get(
            call_of(context), _provider_id(request), _client_type_id(request)
        )
        send_etag(context, found.etag)
        return _client_type(found)

    def UpdateClientType(
        self, request: pb.UpdateClientTypeRequest, context: grpc.ServicerContext
    ) -> pb.ClientType:
        """Replace a client type."""
        draft = _client_type_draft(request.client_type)
        updated = self._client_types.update(
            call_of(context),
            _provider_id(request),
            _client_type_id(request),
            Change(draft, CLIENT_TYPE, if_match(context)),
        )
        send_etag(context, updated.etag)
        return _client_type(updated)

    def DeleteClientType(
        self, request: pb.DeleteClientTypeRequest, context: grpc.ServicerContext
    ) -> pb.Status:
        """Delete a client type."""
        _check_force(request.force)
        self._client_types.delete(
            call_of(context), _provider_id(request), _client_type_id(request), if_match(context)
        )
        return pb.Status(status="ok")


class _OfProvider(Protocol):
    provider_id: str


class _OfClientType(Protocol):
    client_type_id: str


def _provider_id(request: _OfProvider) -> int:
    return _number(request.provider_id, Resource.PROVIDER)


def _client_type_id(request: _OfClientType) -> int:
    return _number(request.client_type_id, Resource.CLIENT_TYPE)


def _number(text: str, resource: Resource) -> int:
    if not _ID.fullmatch(text):
        raise NotFound(resource, quote(text))
    return int(text)


def _check_force(text: str) -> None:
    # `force` deletes what is in use. A client type is in use once a client was
    # registered from it, and this version registers none: nothing to force.
    dialect.flag("force", text)


def _page_range(request: pb.ListProvidersRequest | pb.ListClientTypesRequest) -> PageRange:
    return page_range(
        per_page=request.per_page if request.HasField("per_page") else None,
        page=request.page if request.HasField("page") else None,
        limit=request.limit if request.HasField("limit") else None,
    )


def _provider_draft(message: pb.ProviderInput) -> ProviderDraft:
    return ProviderDraft(
        name=message.name,
        type=dialect.PROVIDER_TYPE.optional_word(message.type),
        well_known_uri=message.well_known_url,
        tls_insecure_skip_verify=message.ssl_insecure_skip_verify,
        registration_access_token=message.registration_access_token,
    )


def _client_type_draft(message: pb.ClientTypeInput) -> ClientTypeDraft:
    return ClientTypeDraft(
        name=message.name,
        description=message.description,
        response_types=dialect.RESPONSE_TYPE.words(message.response_types),
        grant_types=dialect.GRANT_TYPE.words(message.grant_type),
        token_endpoint_auth_method=dialect.TOKEN_ENDPOINT_AUTH_METHOD.optional_word(
            message.token_endpoint_auth_method
        ),
        okta_app_type=dialect.OKTA_APP_TYPE.optional_word(message.okta_app_type),
    )


def _provider(provider: Provider) -> pb.Provider:
    return pb.Provider(
        name=provider.name,
        type=dialect.spell(provider.type),
        well_known_url=provider.well_known_uri,
        ssl_insecure_skip_verify=provider.tls_insecure_skip_verify,
        id=provider.id,
        created_at=dialect.minute(provider.create_time),
        updated_at=dialect.minute(provider.update_time),
    )


def _detail(detail: ProviderDetail) -> pb.ProviderWithClientTypes:
    part = _provider(detail.provider)
    return pb.ProviderWithClientTypes(
        **{field.name: value for field, value in part.ListFields()},
        client_types=map(_client_type, detail.client_types),
    )


def _client_type(client_type: ClientType) -> pb.ClientType:
    method, app_type = client_type.token_endpoint_auth_method, client_type.okta_app_type
    return pb.ClientType(
        name=client_type.name,
        description=client_type.description,
        response_types=dialect.csv(client_type.response_types),
        grant_type=dialect.csv(client_type.grant_types),
        token_endpoint_auth_method=dialect.spell(method) if method else "",
        okta_app_type=dialect.spell(app_type) if app_type else "",
        id=client_type.id,
        created_at=dialect.minute(client_type.create_time),
        updated_at=dialect.minute(client_type.update_time),
    )
