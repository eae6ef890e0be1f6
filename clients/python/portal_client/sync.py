"""The client for programs with threads."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

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

Request = TypeVar("Request")
Response = TypeVar("Response")


class Portal:
    """A client of a portal's gRPC API. It is thread-safe.

    A method that fails raises a subclass of `PortalError`, such as `InvalidArgument` or `NotFound`.
    Calls are retried, within `timeout`, while the server is unavailable or overloaded. Each write
    has a request id, so a retry does not repeat it.

        >>> from portal_client import ClientType, Portal
        >>> from portal_client import RESPONSE_TYPE_CODE, GRANT_TYPE_PKCE
        >>> with Portal() as portal:  # reads PORTAL_TARGET and PORTAL_KEY
        ...     created = portal.create_client_type(
        ...         1,
        ...         ClientType(
        ...             name="Single-page application",
        ...             response_types=[RESPONSE_TYPE_CODE],
        ...             grant_types=[GRANT_TYPE_PKCE],
        ...         ),
        ...     )
        ...     print(portal.get_client_type(1, created.id).name)
        Single-page application

    Args:
        target: `host:port`; default: PORTAL_TARGET, or else localhost:50051. The first call
            connects.
        key: an API key; default: PORTAL_KEY.
        tls: True for TLS; a `Tls` for your own CA or a client certificate.
        timeout: the maximum duration of a call with its retries, in seconds. Calls that wait for
            an identity provider have five more seconds.

    Raises:
        ValueError: the API key is missing or invalid.
        OSError: a file of `tls` cannot be read.
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
        self._channel = (
            grpc.secure_channel(connection.target, credentials, OPTIONS)
            if credentials
            else grpc.insecure_channel(connection.target, OPTIONS)
        )
        self._metadata = connection.metadata
        self._timeout = timeout
        self._providers = ProviderServiceStub(self._channel)
        self._client_types = ClientTypeServiceStub(self._channel)
        self._clients = ClientServiceStub(self._channel)
        self._audit = AuditServiceStub(self._channel)
        self._watch = WatchServiceStub(self._channel)
        self._system = SystemServiceStub(self._channel)
        self._api_keys = ApiKeyServiceStub(self._channel)

    def __enter__(self) -> Self:
        """Return the client; the end of the block closes it."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    # Providers

    def create_provider(
        self,
        provider: Provider,
        *,
        uid: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> Provider:
        """Create a provider.

            >>> from portal_client import PROVIDER_TYPE_KEYCLOAK, Portal, Provider
            >>> with Portal() as portal:
            ...     provider = portal.create_provider(
            ...         Provider(
            ...             name="Staff",
            ...             type=PROVIDER_TYPE_KEYCLOAK,
            ...             well_known_uri="https://id.example.com/.well-known/openid-configuration",
            ...         )
            ...     )
            >>> provider.id > 0
            True

        Args:
            provider: name, type and well_known_uri are required.
            uid: the UUID that another system assigned to the provider; `AlreadyExists` if a
                provider here has it; default: a new one.
            request_id: makes the call idempotent (AIP-155): the same request with the same id
                returns the first response and creates nothing; default: a new UUID.
            validate_only: check the request as the server would when executing it, but change
                nothing (AIP-163); the response lacks what only the write assigns, such as the id.
        """
        request = requests.create_provider(provider, uid, request_id, validate_only=validate_only)
        return self._call(self._providers.CreateProvider, request)

    def get_provider(self, provider_id: int) -> Provider:
        """Get a provider. Raises: NotFound."""
        return self._call(self._providers.GetProvider, GetProviderRequest(id=provider_id))

    def list_providers(
        self,
        *,
        filter: str = "",  # noqa: A002 - AIP-132
        page_size: int = 0,
    ) -> Iterator[Provider]:
        """All providers that match a filter (AIP-160), in ascending order of id.

        Pages of `page_size` are fetched as needed; 0 lets the server choose the size.

            >>> with Portal() as portal:
            ...     names = [provider.name for provider in portal.list_providers()]
            >>> "Staff" in names
            True
        """
        request = requests.list_providers(filter, page_size)
        return self._pages(self._providers.ListProviders, request, lambda page: page.providers)

    def update_provider(
        self,
        provider: Provider,
        *,
        fields: Iterable[str] = (),
        request_id: str = "",
        validate_only: bool = False,
    ) -> Provider:
        """Update fields of the provider with this id.

        Args:
            provider: the id and the fields to update. If it has an etag, that must be the current
                one; otherwise the call raises `Aborted`.
            fields: the names of the fields to update; default: the fields that are set; `["*"]`:
                all fields.
            request_id: as in `create_provider`.
            validate_only: as in `create_provider`.
        """
        request = requests.update_provider(
            provider, fields, request_id, validate_only=validate_only
        )
        return self._call(self._providers.UpdateProvider, request)

    def delete_provider(
        self,
        provider_id: int,
        *,
        force: bool = False,
        etag: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> None:
        """Delete a provider and its client types; with an etag, only if it is the current one.

        Args:
            provider_id: the provider's id.
            force: delete its clients first, at the provider and here; without it, a provider that
                has clients raises `FailedPrecondition`.
            etag: the etag that the provider must have.
            request_id: as in `create_provider`.
            validate_only: as in `create_provider`.
        """
        request = requests.delete_provider(
            provider_id, etag, request_id, force=force, validate_only=validate_only
        )
        self._call(self._providers.DeleteProvider, request, waits=force)

    def check_provider(self, provider: int | Provider) -> CheckProviderResponse:
        """Check whether clients can be registered at a provider.

        Args:
            provider: the id of a provider, or a provider that is not stored.
        """
        request = requests.check_provider(provider)
        return self._call(self._providers.CheckProvider, request, waits=True)

    def forget_provider(self, provider_id: int, *, etag: str = "") -> list[ForgottenClient]:
        """Delete a provider that no longer exists, without calling it.

        Returns the clients that may still exist there.
        """
        request = ForgetProviderRequest(id=provider_id, etag=etag)
        return list(self._call(self._providers.ForgetProvider, request).clients)

    # Client types

    def create_client_type(
        self,
        provider_id: int,
        client_type: ClientType,
        *,
        uid: str = "",
        request_id: str = "",
        validate_only: bool = False,
        planned_provider_type: ProviderType.ValueType = PROVIDER_TYPE_UNSPECIFIED,
    ) -> ClientType:
        """Create a client type of a provider.

            >>> from portal_client import ClientType, InvalidArgument, Portal
            >>> with Portal() as portal:
            ...     try:
            ...         portal.create_client_type(1, ClientType(name="Nothing else"))
            ...     except InvalidArgument as error:
            ...         print(*(violation.field for violation in error.violations))
            client_type.response_types client_type.grant_types

        Args:
            provider_id: the provider's id.
            client_type: name, response_types and grant_types are required, and okta_app_type if
                the provider is of type Okta.
            uid: as in `create_provider`.
            request_id: as in `create_provider`.
            validate_only: as in `create_provider`.
            planned_provider_type: with validate_only, the type that the provider will have. The
                provider need not exist yet: provider_id is then 0.
        """
        request = requests.create_client_type(
            provider_id,
            client_type,
            uid,
            request_id,
            validate_only=validate_only,
            planned_provider_type=planned_provider_type,
        )
        return self._call(self._client_types.CreateClientType, request)

    def get_client_type(self, provider_id: int, client_type_id: int) -> ClientType:
        """Get a client type of a provider. Raises: NotFound."""
        request = GetClientTypeRequest(provider_id=provider_id, id=client_type_id)
        return self._call(self._client_types.GetClientType, request)

    def list_client_types(
        self,
        provider_id: int,
        *,
        filter: str = "",  # noqa: A002 - AIP-132
        page_size: int = 0,
    ) -> Iterator[ClientType]:
        """All client types of a provider that match a filter, in ascending order of id.

        >>> with Portal() as portal:
        ...     found = portal.list_client_types(1, filter="grant_types:GRANT_TYPE_PKCE")
        ...     names = {client_type.name for client_type in found}
        >>> names
        {'Single-page application'}
        """
        request = requests.list_client_types(provider_id, filter, page_size)
        return self._pages(
            self._client_types.ListClientTypes, request, lambda page: page.client_types
        )

    def update_client_type(
        self,
        client_type: ClientType,
        *,
        fields: Iterable[str] = (),
        request_id: str = "",
        validate_only: bool = False,
        planned_provider_type: ProviderType.ValueType = PROVIDER_TYPE_UNSPECIFIED,
    ) -> ClientType:
        """Update fields of the client type with this provider_id and id.

            >>> with Portal() as portal:
            ...     [found] = portal.list_client_types(1, filter='name = "Single-page application"')
            ...     found.description = "For browsers"
            ...     updated = portal.update_client_type(found, fields=["description"])
            >>> updated.description
            'For browsers'

        Args:
            client_type: as in `update_provider`.
            fields: as in `update_provider`.
            request_id: as in `create_provider`.
            validate_only: as in `create_provider`.
            planned_provider_type: as in `create_client_type`.
        """
        request = requests.update_client_type(
            client_type,
            fields,
            request_id,
            validate_only=validate_only,
            planned_provider_type=planned_provider_type,
        )
        return self._call(self._client_types.UpdateClientType, request)

    def delete_client_type(
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
        self._call(self._client_types.DeleteClientType, request, waits=force)

    # Clients

    def preview_registration(
        self, provider_id: int, client_type_id: int, client: Client
    ) -> PreviewRegistrationResponse:
        """What `register_client` would send to the provider, and what is wrong about it."""
        request = requests.preview_registration(provider_id, client_type_id, client)
        return self._call(self._clients.PreviewRegistration, request, waits=True)

    def register_client(
        self, provider_id: int, client_type_id: int, client: Client, *, request_id: str = ""
    ) -> RegisterClientResponse:
        """Register a client at a provider. Only this response and its retries have the secret.

        If the outcome is unknown, the client has the state CLIENT_STATE_UNKNOWN.

        Args:
            provider_id: the provider's id.
            client_type_id: the client type's id.
            client: name is required, and redirect_uris by most grants.
            request_id: as in `create_provider`.
        """
        request = requests.register_client(provider_id, client_type_id, client, request_id)
        return self._call(self._clients.RegisterClient, request, waits=True)

    def get_client(self, provider_id: int, client: int) -> Client:
        """Get the client of a provider with this id. Raises: NotFound."""
        request = GetClientRequest(provider_id=provider_id, id=client)
        return self._call(self._clients.GetClient, request)

    def list_clients(
        self,
        provider_id: int,
        *,
        client_type_id: int = 0,
        filter: str = "",  # noqa: A002 - AIP-132
        page_size: int = 0,
    ) -> Iterator[Client]:
        """All clients of a provider, or of one client type, that match a filter."""
        request = requests.list_clients(provider_id, client_type_id, filter, page_size)
        return self._pages(self._clients.ListClients, request, lambda page: page.clients)

    def update_client(
        self, client: Client, *, fields: Iterable[str] = (), request_id: str = ""
    ) -> Client:
        """Update fields of the client with this provider_id and id, at the provider and here.

        If the provider replaced the secret, the result and its retries have `new_client_secret`.
        Arguments as in `update_provider`.
        """
        request = requests.update_client(client, fields, request_id)
        return self._call(self._clients.UpdateClient, request, waits=True)

    def delete_client(
        self,
        provider_id: int,
        client: int,
        *,
        force: bool = False,
        etag: str = "",
        request_id: str = "",
    ) -> None:
        """Delete the client with this id at the provider, then here.

        With `force`, it is deleted here even if the provider rejects the deletion.
        """
        request = requests.delete_client(provider_id, client, etag, request_id, force=force)
        self._call(self._clients.DeleteClient, request, waits=True)

    def rotate_client_secret(
        self, provider_id: int, client: int, *, etag: str = "", request_id: str = ""
    ) -> RotateClientSecretResponse:
        """Replace the secret of a client. Only this response and its retries have the new one."""
        request = requests.rotate_client_secret(provider_id, client, etag, request_id)
        return self._call(self._clients.RotateClientSecret, request, waits=True)

    def check_client(self, provider_id: int, client: int) -> Client:
        """Read a client at the provider, and store what is different there."""
        request = CheckClientRequest(provider_id=provider_id, id=client)
        return self._call(self._clients.CheckClient, request, waits=True)

    def resolve_client(
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
        """End a state that only a person can end: report what the provider has.

        Args:
            provider_id: the provider's id.
            client: the client's id.
            resolution: what a person found there, such as CLIENT_RESOLUTION_GONE.
            client_id: for ADOPT: the client_id at the provider, if it is not known here.
            registration_client_uri: for ADOPT: where the provider manages the client.
            registration_access_token: for ADOPT: a token that the provider accepts.
            etag: the etag that the client must have.
            request_id: as in `create_provider`.
        """
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
        return self._call(self._clients.ResolveClient, request, waits=True)

    # API keys

    def create_api_key(self, api_key: ApiKey, *, request_id: str = "") -> CreateApiKeyResponse:
        """Create an API key. Only this response has the key itself.

            >>> from portal_client import ROLE_REGISTRAR, ApiKey
            >>> with Portal() as portal:
            ...     created = portal.create_api_key(ApiKey(role=ROLE_REGISTRAR, note="shop"))
            ...     portal.revoke_api_key(created.api_key.id).note
            'shop'

        Args:
            api_key: role is required.
            request_id: as in `create_provider`, but the response to a retry does not have the key:
                rotate the API key then.
        """
        request = requests.create_api_key(api_key, request_id)
        return self._call(self._api_keys.CreateApiKey, request)

    def get_api_key(self, key_id: str) -> ApiKey:
        """Get the API key with this id, which is a part of the key. Raises: NotFound."""
        return self._call(self._api_keys.GetApiKey, GetApiKeyRequest(id=key_id))

    def list_api_keys(self, *, page_size: int = 0) -> Iterator[ApiKey]:
        """All API keys, revoked and expired ones too, in the order of their creation."""
        request = ListApiKeysRequest(page_size=page_size)
        return self._pages(self._api_keys.ListApiKeys, request, lambda page: page.api_keys)

    def update_api_key(
        self, api_key: ApiKey, *, fields: Iterable[str] = (), request_id: str = ""
    ) -> ApiKey:
        """Update fields of the API key with this id; arguments as in `update_provider`."""
        request = requests.update_api_key(api_key, fields, request_id)
        return self._call(self._api_keys.UpdateApiKey, request)

    def rotate_api_key(
        self,
        key_id: str,
        *,
        overlap: timedelta = requests.NO_OVERLAP,
        expire_time: datetime | None = None,
        etag: str = "",
        request_id: str = "",
    ) -> RotateApiKeyResponse:
        """Give an API key a new secret. Only this response has the new key itself.

        Args:
            key_id: the id of the API key.
            overlap: how long the current secret stays valid.
            expire_time: the new expiry of the API key, an aware time; default: it stays the same.
            etag: the etag that the API key must have.
            request_id: as in `create_api_key`.
        """
        request = requests.rotate_api_key(key_id, overlap, expire_time, etag, request_id)
        return self._call(self._api_keys.RotateApiKey, request)

    def revoke_api_key(self, key_id: str, *, etag: str = "", request_id: str = "") -> ApiKey:
        """Revoke an API key: when this returns, every server rejects it."""
        request = requests.revoke_api_key(key_id, etag, request_id)
        return self._call(self._api_keys.RevokeApiKey, request)

    # Changes

    def watch(
        self,
        *,
        kinds: Iterable[ResourceKind.ValueType] = (),
        provider_id: int = 0,
        filter: str = "",  # noqa: A002 - AIP-160
        resume_token: str = "",
    ) -> Iterator[Change]:
        """Changes of resources from now on, or after a token; it waits for the next ones.

        A stream that ends is opened again: no change is missed or repeated.

        Args:
            kinds: such as `[RESOURCE_KIND_CLIENT]`; default: all.
            provider_id: only this provider, its client types and its clients.
            filter: such as `type = CHANGE_TYPE_DELETED`.
            resume_token: continue after the change with this `resume_token`.

        Raises:
            OutOfRange: the changes after the token are not available. List the resources, and
                watch without a token.
        """
        resumption = Resumption(request_of(kinds, provider_id, filter, resume_token), self._timeout)
        while True:
            stream = self._watch.Watch(
                resumption.request, timeout=STREAM_S, metadata=self._metadata
            )
            try:
                for response in stream:
                    yield from resumption.changes(response)
            except grpc.RpcError as error:
                resumption.check(error)
            finally:
                stream.cancel()
            time.sleep(resumption.pause())

    def list_audit_events(
        self,
        *,
        filter: str = "",  # noqa: A002 - AIP-132
        page_size: int = 0,
        start_time: datetime | None = None,
    ) -> Iterator[AuditEvent]:
        """All audit events that match a filter, in their final order.

        Args:
            filter: such as `kind = AUDIT_KIND_CLIENT AND action = AUDIT_ACTION_DELETE`.
            page_size: as in `list_providers`.
            start_time: only events since this aware time.
        """
        request = requests.list_audit_events(filter, page_size, start_time)
        return self._pages(self._audit.ListAuditEvents, request, lambda page: page.audit_events)

    # The server

    def get_server_info(self) -> ServerInfo:
        """Get the version of the server, the schema of its database, and the name of the key."""
        return self._call(self._system.GetServerInfo, GetServerInfoRequest())

    def _call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[Request, Response]",
        request: Request,
        *,
        waits: bool = False,
    ) -> Response:
        timeout = self._timeout + PROVIDER_WAIT_S if waits else self._timeout
        try:
            return method(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc(error) from None

    def _pages(
        self,
        method: "grpc.UnaryUnaryMultiCallable[Any, Any]",
        request: Any,
        items: Callable[[Any], Iterable[Response]],
    ) -> Iterator[Response]:
        while True:
            page = self._call(method, request)
            yield from items(page)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
