"""The requests of the API, for both clients. Each write has a request id (AIP-155)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask

from portal.oauth.v1 import api_key_pb2, audit_pb2, client_pb2, client_type_pb2, provider_pb2
from portal.oauth.v1.api_key_pb2 import ApiKey
from portal.oauth.v1.client_pb2 import Client, ClientResolution
from portal.oauth.v1.client_type_pb2 import ClientType
from portal.oauth.v1.provider_pb2 import Provider, ProviderType

NO_OVERLAP: Final = timedelta()


def create_provider(
    provider: Provider, uid: str, request_id: str, *, validate_only: bool
) -> provider_pb2.CreateProviderRequest:
    """The request of CreateProvider."""
    return provider_pb2.CreateProviderRequest(
        provider=provider, uid=uid, request_id=_id(request_id), validate_only=validate_only
    )


def list_audit_events(
    filter: str,  # noqa: A002 - AIP-132
    page_size: int,
    start_time: datetime | None,
) -> audit_pb2.ListAuditEventsRequest:
    """The request of ListAuditEvents for the first page."""
    request = audit_pb2.ListAuditEventsRequest(filter=filter, page_size=page_size)
    if start_time:
        request.start_time.FromDatetime(start_time)
    return request


def list_providers(filter: str, page_size: int) -> provider_pb2.ListProvidersRequest:  # noqa: A002 - AIP-132
    """The request of ListProviders for the first page."""
    return provider_pb2.ListProvidersRequest(filter=filter, page_size=page_size)


def update_provider(
    provider: Provider, fields: Iterable[str], request_id: str, *, validate_only: bool
) -> provider_pb2.UpdateProviderRequest:
    """The request of UpdateProvider; without fields, the server updates those that are set."""
    return provider_pb2.UpdateProviderRequest(
        provider=provider,
        update_mask=_mask(fields),
        request_id=_id(request_id),
        validate_only=validate_only,
    )


def delete_provider(
    provider_id: int, etag: str, request_id: str, *, force: bool, validate_only: bool
) -> provider_pb2.DeleteProviderRequest:
    """The request of DeleteProvider."""
    return provider_pb2.DeleteProviderRequest(
        id=provider_id,
        force=force,
        etag=etag,
        request_id=_id(request_id),
        validate_only=validate_only,
    )


def check_provider(provider: int | Provider) -> provider_pb2.CheckProviderRequest:
    """The request of CheckProvider for a provider with this id, or for one that is not stored."""
    if isinstance(provider, Provider):
        return provider_pb2.CheckProviderRequest(provider=provider)
    return provider_pb2.CheckProviderRequest(id=provider)


def create_client_type(
    provider_id: int,
    client_type: ClientType,
    uid: str,
    request_id: str,
    *,
    validate_only: bool,
    planned_provider_type: ProviderType.ValueType,
) -> client_type_pb2.CreateClientTypeRequest:
    """The request of CreateClientType."""
    return client_type_pb2.CreateClientTypeRequest(
        provider_id=provider_id,
        client_type=client_type,
        uid=uid,
        request_id=_id(request_id),
        validate_only=validate_only,
        planned_provider_type=planned_provider_type,
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
    client_type: ClientType,
    fields: Iterable[str],
    request_id: str,
    *,
    validate_only: bool,
    planned_provider_type: ProviderType.ValueType,
) -> client_type_pb2.UpdateClientTypeRequest:
    """The request of UpdateClientType; see `update_provider`."""
    return client_type_pb2.UpdateClientTypeRequest(
        client_type=client_type,
        update_mask=_mask(fields),
        request_id=_id(request_id),
        validate_only=validate_only,
        planned_provider_type=planned_provider_type,
    )


def delete_client_type(
    provider_id: int,
    client_type_id: int,
    etag: str,
    request_id: str,
    *,
    force: bool,
    validate_only: bool,
) -> client_type_pb2.DeleteClientTypeRequest:
    """The request of DeleteClientType."""
    return client_type_pb2.DeleteClientTypeRequest(
        provider_id=provider_id,
        id=client_type_id,
        force=force,
        etag=etag,
        request_id=_id(request_id),
        validate_only=validate_only,
    )


def preview_registration(
    provider_id: int, client_type_id: int, client: Client
) -> client_pb2.PreviewRegistrationRequest:
    """The request of PreviewRegistration."""
    return client_pb2.PreviewRegistrationRequest(
        provider_id=provider_id, client_type_id=client_type_id, client=client
    )


def register_client(
    provider_id: int, client_type_id: int, client: Client, request_id: str
) -> client_pb2.RegisterClientRequest:
    """The request of RegisterClient."""
    return client_pb2.RegisterClientRequest(
        provider_id=provider_id,
        client_type_id=client_type_id,
        client=client,
        request_id=_id(request_id),
    )


def list_clients(
    provider_id: int,
    client_type_id: int,
    filter: str,  # noqa: A002 - AIP-132
    page_size: int,
) -> client_pb2.ListClientsRequest:
    """The request of ListClients for the first page."""
    return client_pb2.ListClientsRequest(
        provider_id=provider_id, client_type_id=client_type_id, filter=filter, page_size=page_size
    )


def update_client(
    client: Client, fields: Iterable[str], request_id: str
) -> client_pb2.UpdateClientRequest:
    """The request of UpdateClient; see `update_provider`."""
    return client_pb2.UpdateClientRequest(
        client=client, update_mask=_mask(fields), request_id=_id(request_id)
    )


def delete_client(
    provider_id: int, client: int, etag: str, request_id: str, *, force: bool
) -> client_pb2.DeleteClientRequest:
    """The request of DeleteClient."""
    return client_pb2.DeleteClientRequest(
        provider_id=provider_id, id=client, force=force, etag=etag, request_id=_id(request_id)
    )


def rotate_client_secret(
    provider_id: int, client: int, etag: str, request_id: str
) -> client_pb2.RotateClientSecretRequest:
    """The request of RotateClientSecret."""
    return client_pb2.RotateClientSecretRequest(
        provider_id=provider_id, id=client, etag=etag, request_id=_id(request_id)
    )


def resolve_client(
    provider_id: int,
    client: int,
    resolution: ClientResolution.ValueType,
    *,
    client_id: str,
    registration_client_uri: str,
    registration_access_token: str,
    etag: str,
    request_id: str,
) -> client_pb2.ResolveClientRequest:
    """The request of ResolveClient."""
    return client_pb2.ResolveClientRequest(
        provider_id=provider_id,
        id=client,
        resolution=resolution,
        client_id=client_id,
        registration_client_uri=registration_client_uri,
        registration_access_token=registration_access_token,
        etag=etag,
        request_id=_id(request_id),
    )


def create_api_key(api_key: ApiKey, request_id: str) -> api_key_pb2.CreateApiKeyRequest:
    """The request of CreateApiKey."""
    return api_key_pb2.CreateApiKeyRequest(api_key=api_key, request_id=_id(request_id))


def update_api_key(
    api_key: ApiKey, fields: Iterable[str], request_id: str
) -> api_key_pb2.UpdateApiKeyRequest:
    """The request of UpdateApiKey; without fields, the server updates those that are set."""
    return api_key_pb2.UpdateApiKeyRequest(
        api_key=api_key, update_mask=_mask(fields), request_id=_id(request_id)
    )


def rotate_api_key(
    key_id: str, overlap: timedelta, expire_time: datetime | None, etag: str, request_id: str
) -> api_key_pb2.RotateApiKeyRequest:
    """The request of RotateApiKey."""
    request = api_key_pb2.RotateApiKeyRequest(id=key_id, etag=etag, request_id=_id(request_id))
    request.overlap.FromTimedelta(overlap)
    if expire_time:
        request.expire_time.FromDatetime(expire_time)
    return request


def revoke_api_key(key_id: str, etag: str, request_id: str) -> api_key_pb2.RevokeApiKeyRequest:
    """The request of RevokeApiKey."""
    return api_key_pb2.RevokeApiKeyRequest(id=key_id, etag=etag, request_id=_id(request_id))


def _id(given: str) -> str:
    return given or str(uuid4())


def _mask(fields: Iterable[str]) -> FieldMask:
    return FieldMask(paths=fields)
