"""The requests of the API, for both clients. Each write has a request id (AIP-155)."""

from collections.abc import Iterable
from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask

from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.oauth.v1.client_type_pb2 import ClientType
from portal.oauth.v1.provider_pb2 import Provider


def create_provider(
    provider: Provider, uid: str, request_id: str
) -> provider_pb2.CreateProviderRequest:
    """The request of CreateProvider."""
    return provider_pb2.CreateProviderRequest(
        provider=provider, uid=uid, request_id=_id(request_id)
    )


def list_providers(filter: str, page_size: int) -> provider_pb2.ListProvidersRequest:  # noqa: A002 - AIP-132
    """The request of ListProviders for the first page."""
    return provider_pb2.ListProvidersRequest(filter=filter, page_size=page_size)


def update_provider(
    provider: Provider, fields: Iterable[str], request_id: str
) -> provider_pb2.UpdateProviderRequest:
    """The request of UpdateProvider; without fields, the server updates those that are set."""
    return provider_pb2.UpdateProviderRequest(
        provider=provider, update_mask=_mask(fields), request_id=_id(request_id)
    )


def delete_provider(
    provider_id: int, etag: str, request_id: str
) -> provider_pb2.DeleteProviderRequest:
    """The request of DeleteProvider."""
    return provider_pb2.DeleteProviderRequest(id=provider_id, etag=etag, request_id=_id(request_id))


def create_client_type(
    provider_id: int, client_type: ClientType, uid: str, request_id: str
) -> client_type_pb2.CreateClientTypeRequest:
    """The request of CreateClientType."""
    return client_type_pb2.CreateClientTypeRequest(
        provider_id=provider_id, client_type=client_type, uid=uid, request_id=_id(request_id)
    )


def list_client_types(
    provider_id: int,
    filter: str,  # noqa: A002 - AIP-132
    page_size: int,
) -> client_type_pb2.ListClientTypesRequest:
    """The request of ListClientTypes for the first page."""
    return client_type_pb2.ListClientTypesRequest(
        provider_id=provider_id, filter=filter, page_size=page_size
    )


def update_client_type(
    client_type: ClientType, fields: Iterable[str], request_id: str
) -> client_type_pb2.UpdateClientTypeRequest:
    """The request of UpdateClientType; see `update_provider`."""
    return client_type_pb2.UpdateClientTypeRequest(
        client_type=client_type, update_mask=_mask(fields), request_id=_id(request_id)
    )


def delete_client_type(
    provider_id: int, client_type_id: int, etag: str, request_id: str
) -> client_type_pb2.DeleteClientTypeRequest:
    """The request of DeleteClientType."""
    return client_type_pb2.DeleteClientTypeRequest(
        provider_id=provider_id, id=client_type_id, etag=etag, request_id=_id(request_id)
    )


def _id(given: str) -> str:
    return given or str(uuid4())


def _mask(fields: Iterable[str]) -> FieldMask:
    return FieldMask(paths=fields)
