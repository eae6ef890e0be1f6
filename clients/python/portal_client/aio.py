"""The client for event loops: the methods of `Portal` as coroutines."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from portal.oauth.v1.client_type_pb2 import ClientType, GetClientTypeRequest
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2 import GetProviderRequest, Provider
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_client import requests
from portal_client.connection import OPTIONS, TIMEOUT_S, Connection, Tls
from portal_client.errors import from_rpc

if TYPE_CHECKING:  # these stubs exist only as types
    from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceAsyncStub
    from portal.oauth.v1.provider_pb2_grpc import ProviderServiceAsyncStub

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
        self, provider: Provider, *, uid: str = "", request_id: str = ""
    ) -> Provider:
        """Create a provider."""
        request = requests.create_provider(provider, uid, request_id)
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
        self, provider: Provider, *, fields: Iterable[str] = (), request_id: str = ""
    ) -> Provider:
        """Update fields of the provider with this id."""
        request = requests.update_provider(provider, fields, request_id)
        return await self._call(self._providers.UpdateProvider, request)

    async def delete_provider(
        self, provider_id: int, *, etag: str = "", request_id: str = ""
    ) -> None:
        """Delete a provider and its client types; with an etag, only if it is the current one."""
        request = requests.delete_provider(provider_id, etag, request_id)
        await self._call(self._providers.DeleteProvider, request)

    # Client types

    async def create_client_type(
        self, provider_id: int, client_type: ClientType, *, uid: str = "", request_id: str = ""
    ) -> ClientType:
        """Create a client type of a provider."""
        request = requests.create_client_type(provider_id, client_type, uid, request_id)
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
        self, client_type: ClientType, *, fields: Iterable[str] = (), request_id: str = ""
    ) -> ClientType:
        """Update fields of the client type with this provider_id and id."""
        request = requests.update_client_type(client_type, fields, request_id)
        return await self._call(self._client_types.UpdateClientType, request)

    async def delete_client_type(
        self, provider_id: int, client_type_id: int, *, etag: str = "", request_id: str = ""
    ) -> None:
        """Delete a client type; with an etag, only if it is the current one."""
        request = requests.delete_client_type(provider_id, client_type_id, etag, request_id)
        await self._call(self._client_types.DeleteClientType, request)

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Any, Response], request: Any
    ) -> Response:
        try:
            return await method(request, timeout=self._timeout, metadata=self._metadata)
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
