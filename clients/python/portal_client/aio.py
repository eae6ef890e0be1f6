"""The client for event loops: the methods of `Portal` as coroutines."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from portal.oauth.v1.api_key_pb2 import (
    ApiKey,
    CreateApiKeyResponse,
    GetApiKeyRequest,
    ListApiKeysRequest,
    RotateApiKeyResponse,
)
from portal.oauth.v1.api_key_pb2_grpc import ApiKeyServiceStub
from portal.oauth.v1.audit_pb2 import AuditEvent
from portal.oauth.v1.audit_pb2_grpc import AuditServiceStub
from portal.oauth.v1.client_pb2 import (
    CheckClientRequest,
    Client,
    ClientResolution,
    GetClientRequest,
    PreviewRegistrationResponse,
    RegisterClientResponse,
    RotateClientSecretResponse,
)
from portal.oauth.v1.client_pb2_grpc import ClientServiceStub
from portal.oauth.v1.client_type_pb2 import ClientType, GetClientTypeRequest
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2 import (
    PROVIDER_TYPE_UNSPECIFIED,
    CheckProviderResponse,
    ForgetProviderRequest,
    ForgottenClient,
    GetProviderRequest,
    Provider,
    ProviderType,
)
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal.oauth.v1.system_pb2 import GetServerInfoRequest, ServerInfo
from portal.oauth.v1.system_pb2_grpc import SystemServiceStub
from portal.oauth.v1.watch_pb2 import Change, ResourceKind
from portal.oauth.v1.watch_pb2_grpc import WatchServiceStub
from portal_client import requests
from portal_client.connection import OPTIONS, PROVIDER_WAIT_S, TIMEOUT_S, Connection, Tls
from portal_client.errors import from_rpc
from portal_client.watching import STREAM_S, Resumption, request_of

if TYPE_CHECKING:  # these stubs exist only as types
    from portal.oauth.v1.api_key_pb2_grpc import ApiKeyServiceAsyncStub
    from portal.oauth.v1.audit_pb2_grpc import AuditServiceAsyncStub
    from portal.oauth.v1.client_pb2_grpc import ClientServiceAsyncStub
    from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceAsyncStub
    from portal.oauth.v1.provider_pb2_grpc import ProviderServiceAsyncStub
    from portal.oauth.v1.system_pb2_grpc import SystemServiceAsyncStub
    from portal.oauth.v1.watch_pb2_grpc import WatchServiceAsyncStub

Response = TypeVar("Response")


class AsyncPortal:
    """A client of a portal's gRPC API for an event loop. See `Portal` for arguments and errors.

    >>> import asyncio
    >>> from portal_client import AsyncPortal
    >>> async def count() -> int:
    ...     async with AsyncPortal() as portal:
    ...         return len([found async for found in portal.list_client_types(1)])
    >>> asyncio.run(count()) > 0
    True
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        key: str | None = None,
        tls: Tls | bool = False,
        timeout: float = TIMEOUT_S,
    ) -> None:
        connection = Connection.resolve(target, key, tls=tls)
        credentials = connection.credentials()
        channel = (
            grpc.aio.secure_channel(connection.target, credentials, OPTIONS)
            if credentials
            else grpc.aio.insecure_channel(connection.target, OPTIONS)
        )
        self._channel = channel
        self._metadata = connection.metadata
        self._timeout = timeout
        self._providers: ProviderServiceAsyncStub = ProviderServiceStub(channel)
        self._client_types: ClientTypeServiceAsyncStub = ClientTypeServiceStub(channel)
        self._clients: ClientServiceAsyncStub = ClientServiceStub(channel)
        self._audit: AuditServiceAsyncStub = AuditServiceStub(channel)
        self._watch: WatchServiceAsyncStub = WatchServiceStub(channel)
        self._system: SystemServiceAsyncStub = SystemServiceStub(channel)
        self._api_keys: ApiKeyServiceAsyncStub = ApiKeyServiceStub(channel)

    async def __aenter__(self) -> Self:
        """Return the client; the end of the block closes it."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    # Providers

    async def create_provider(
        self,
        provider: Provider,
        *,
        uid: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> Provider:
        """Create a provider."""
        request = requests.create_provider(provider, uid, request_id, validate_only=validate_only)
        return await self._call(self._providers.CreateProvider, request)

    async def get_provider(self, provider_id: int) -> Provider:
        """Get a provider. Raises: NotFound."""
        return await self._call(self._providers.GetProvider, GetProviderRequest(id=provider_id))

    def list_providers(
        self,
        *,
        filter: str = "",  # noqa: A002 - AIP-132
        page_size: int = 0,
    ) -> AsyncIterator[Provider]:
        """All providers that match a filter (AIP-160), in ascending order of id."""
        request = requests.list_providers(filter, page_size)
        return self._pages(self._providers.ListProviders, request, lambda page: page.providers)

    async def update_provider(
        self,
        provider: Provider,
        *,
        fields: Iterable[str] = (),
        request_id: str = "",
        validate_only: bool = False,
    ) -> Provider:
        """Update fields of the provider with this id."""
        request = requests.update_provider(
            provider, fields, request_id, validate_only=validate_only
        )
        return await self._call(self._providers.UpdateProvider, request)

    async def delete_provider(
        self,
        provider_id: int,
        *,
        force: bool = False,
        etag: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> None:
        """Delete a provider and its client types; with an etag, only if it is the current one."""
        request = requests.delete_provider(
            provider_id, etag, request_id, force=force, validate_only=validate_only
        )
        await self._call(self._providers.DeleteProvider, request, waits=force)

    async def check_provider(self, provider: int | Provider) -> CheckProviderResponse:
        """Check whether clients can be registered at a provider."""
        request = requests.check_provider(provider)
        return await self._call(self._providers.CheckProvider, request, waits=True)

    async def forget_provider(self, provider_id: int, *, etag: str = "") -> list[ForgottenClient]:
        """Delete a provider that no longer exists, without calling it."""
        request = ForgetProviderRequest(id=provider_id, etag=etag)
        response = await self._call(self._providers.ForgetProvider, request)
        return list(response.clients)

    # Client types

    async def create_client_type(
        self,
        provider_id: int,
        client_type: ClientType,
        *,
        uid: str = "",
        request_id: str = "",
        validate_only: bool = False,
        planned_provider_type: ProviderType.ValueType = PROVIDER_TYPE_UNSPECIFIED,
    ) -> ClientType:
        """Create a client type of a provider."""
        request = requests.create_client_type(
            provider_id,
            client_type,
            uid,
            request_id,
            validate_only=validate_only,
            planned_provider_type=planned_provider_type,
        )
        return await self._call(self._client_types.CreateClientType, request)

    async def get_client_type(self, provider_id: int, client_type_id: int) -> ClientType:
        """Get a client type of a provider. Raises: NotFound."""
        request = GetClientTypeRequest(provider_id=provider_id, id=client_type_id)
        return await self._call(self._client_types.GetClientType, request)

    def list_client_types(
        self,
        provider_id: int,
        *,
        filter: str = "",  # noqa: A002 - AIP-132
        page_size: int = 0,
    ) -> AsyncIterator[ClientType]:
        """All client types of a provider that match a filter, in ascending order of id."""
        request = requests.list_client_types(provider_id, filter, page_size)
        return self._pages(
            self._client_types.ListClientTypes, request, lambda page: page.client_types
        )

    async def update_client_type(
        self,
        client_type: ClientType,
        *,
        fields: Iterable[str] = (),
        request_id: str = "",
        validate_only: bool = False,
        planned_provider_type: ProviderType.ValueType = PROVIDER_TYPE_UNSPECIFIED,
    ) -> ClientType:
        """Update fields of the client type with this provider_id and id."""
        request = requests.update_client_type(
            client_type,
            fields,
            request_id,
            validate_only=validate_only,
            planned_provider_type=planned_provider_type,
        )
        return await self._call(self._client_types.UpdateClientType, request)

    async def delete_client_type(
        self,
        provider_id: int,
        client_type_id: int,
        *,
        force: bool = False,
        etag: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> None:
        """Delete a client type; arguments as in `delete_provider`."""
        request = requests.delete_client_type(
            provider_id, client_type_id, etag, request_id, force=force, validate_only=validate_only
        )
        await self._call(self._client_types.DeleteClientType, request, waits=force)

    # Clients

    async def preview_registration(
        self, provider_id: int, client_type_id: int, client: Client
    ) -> PreviewRegistrationResponse:
        """What `register_client` would send to the provider, and what is wrong about it."""
        request = requests.preview_registration(provider_id, client_type_id, client)
        return await self._call(self._clients.PreviewRegistration, request, waits=True)

    async def register_client(
        self, provider_id: int, client_type_id: int, client: Client, *, request_id: str = ""
    ) -> RegisterClientResponse:
        """Register a client at a provider. Only this response and its retries have the secret."""
        request = requests.register_client(provider_id, client_type_id, client, request_id)
        return await self._call(self._clients.RegisterClient, request, waits=True)

    async def get_client(self, provider_id: int, client: int) -> Client:
        """Get the client of a provider with this id. Raises: NotFound."""
        request = GetClientRequest(provider_id=provider_id, id=client)
        return await self._call(self._clients.GetClient, request)

    def list_clients(
        self,
        provider_id: int,
        *,
        client_type_id: int = 0,
        filter: str = "",  # noqa: A002 - AIP-132
        page_size: int = 0,
    ) -> AsyncIterator[Client]:
        """All clients of a provider, or of one client type, that match a filter."""
        request = requests.list_clients(provider_id, client_type_id, filter, page_size)
        return self._pages(self._clients.ListClients, request, lambda page: page.clients)

    async def update_client(
        self, client: Client, *, fields: Iterable[str] = (), request_id: str = ""
    ) -> Client:
        """Update fields of the client with this provider_id and id, at the provider and here."""
        request = requests.update_client(client, fields, request_id)
        return await self._call(self._clients.UpdateClient, request, waits=True)

    async def delete_client(
        self,
        provider_id: int,
        client: int,
        *,
        force: bool = False,
        etag: str = "",
        request_id: str = "",
    ) -> None:
        """Delete the client with this id at the provider, then here."""
        request = requests.delete_client(provider_id, client, etag, request_id, force=force)
        await self._call(self._clients.DeleteClient, request, waits=True)

    async def rotate_client_secret(
        self, provider_id: int, client: int, *, etag: str = "", request_id: str = ""
    ) -> RotateClientSecretResponse:
        """Replace the secret of a client. Only this response and its retries have the new one."""
        request = requests.rotate_client_secret(provider_id, client, etag, request_id)
        return await self._call(self._clients.RotateClientSecret, request, waits=True)

    async def check_client(self, provider_id: int, client: int) -> Client:
        """Read a client at the provider, and store what is different there."""
        request = CheckClientRequest(provider_id=provider_id, id=client)
        return await self._call(self._clients.CheckClient, request, waits=True)

    async def resolve_client(
        self,
        provider_id: int,
        client: int,
        resolution: ClientResolution.ValueType,
        *,
        client_id: str = "",
        registration_client_uri: str = "",
        registration_access_token: str = "",
        etag: str = "",
        request_id: str = "",
    ) -> Client:
        """End a state that only a person can end: report what the provider has."""
        request = requests.resolve_client(
            provider_id,
            client,
            resolution,
            client_id=client_id,
            registration_client_uri=registration_client_uri,
            registration_access_token=registration_access_token,
            etag=etag,
            request_id=request_id,
        )
        return await self._call(self._clients.ResolveClient, request, waits=True)

    async def create_api_key(
        self, api_key: ApiKey, *, request_id: str = ""
    ) -> CreateApiKeyResponse:
        """Create an API key. Only this response has the key itself."""
        request = requests.create_api_key(api_key, request_id)
        return await self._call(self._api_keys.CreateApiKey, request)

    async def get_api_key(self, key_id: str) -> ApiKey:
        """Get the API key with this id, which is a part of the key. Raises: NotFound."""
        return await self._call(self._api_keys.GetApiKey, GetApiKeyRequest(id=key_id))

    def list_api_keys(self, *, page_size: int = 0) -> AsyncIterator[ApiKey]:
        """All API keys, revoked and expired ones too, in the order of their creation."""
        request = ListApiKeysRequest(page_size=page_size)
        return self._pages(self._api_keys.ListApiKeys, request, lambda page: page.api_keys)

    async def update_api_key(
        self, api_key: ApiKey, *, fields: Iterable[str] = (), request_id: str = ""
    ) -> ApiKey:
        """Update fields of the API key with this id; arguments as in `update_provider`."""
        request = requests.update_api_key(api_key, fields, request_id)
        return await self._call(self._api_keys.UpdateApiKey, request)

    async def rotate_api_key(
        self,
        key_id: str,
        *,
        overlap: timedelta = requests.NO_OVERLAP,
        expire_time: datetime | None = None,
        etag: str = "",
        request_id: str = "",
    ) -> RotateApiKeyResponse:
        """Give an API key a new secret. Only this response has the new key itself."""
        request = requests.rotate_api_key(key_id, overlap, expire_time, etag, request_id)
        return await self._call(self._api_keys.RotateApiKey, request)

    async def revoke_api_key(self, key_id: str, *, etag: str = "", request_id: str = "") -> ApiKey:
        """Revoke an API key: when this returns, every server rejects it."""
        request = requests.revoke_api_key(key_id, etag, request_id)
        return await self._call(self._api_keys.RevokeApiKey, request)

    async def watch(
        self,
        *,
        kinds: Iterable[ResourceKind.ValueType] = (),
        provider_id: int = 0,
        filter: str = "",  # noqa: A002 - AIP-160
        resume_token: str = "",
    ) -> AsyncIterator[Change]:
        """Changes of resources from now on, or after a token; it waits for the next ones."""
        resumption = Resumption(request_of(kinds, provider_id, filter, resume_token), self._timeout)
        while True:
            stream = self._watch.Watch(
                resumption.request, timeout=STREAM_S, metadata=self._metadata
            )
            try:
                async for response in stream:
                    for change in resumption.changes(response):
                        yield change
            except grpc.aio.AioRpcError as error:
                resumption.check(error)
            finally:
                stream.cancel()
            await asyncio.sleep(resumption.pause())

    def list_audit_events(
        self,
        *,
        filter: str = "",  # noqa: A002 - AIP-132
        page_size: int = 0,
        start_time: datetime | None = None,
    ) -> AsyncIterator[AuditEvent]:
        """All audit events that match a filter, in their final order."""
        request = requests.list_audit_events(filter, page_size, start_time)
        return self._pages(self._audit.ListAuditEvents, request, lambda page: page.audit_events)

    async def get_server_info(self) -> ServerInfo:
        """Get the version of the server, the schema of its database, and the name of the key."""
        return await self._call(self._system.GetServerInfo, GetServerInfoRequest())

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Any, Response],
        request: Any,
        *,
        waits: bool = False,
    ) -> Response:
        timeout = self._timeout + PROVIDER_WAIT_S if waits else self._timeout
        try:
            return await method(request, timeout=timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None

    async def _pages(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Any, Any],
        request: Any,
        items: Callable[[Any], Iterable[Response]],
    ) -> AsyncIterator[Response]:
        while True:
            page = await self._call(method, request)
            for item in items(page):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
