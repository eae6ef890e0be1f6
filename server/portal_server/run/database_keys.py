"""The API keys in the database, for `portal keys`: the service, without gRPC."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from portal.oauth.v1 import api_key_pb2 as pb
from portal_cli.errors import CommandError, Exit
from portal_cli.key_places import Place
from portal_server.catalog.api_keys import ApiKeys
from portal_server.domain.calls import Call, Origin
from portal_server.domain.errors import NotFound, OperatorError, PortalError
from portal_server.run.existing import open_existing
from portal_server.run.settings import Settings
from portal_server.storage.sql import schema
from portal_server.storage.store import Store
from portal_server.wire.calls import CallContext
from portal_server.wire.interceptors.errors import PLAIN
from portal_server.wire.oauth_v1.api_keys import ApiKeyService
from portal_server.wire.status import to_status

Request = TypeVar("Request")
Response = TypeVar("Response")
_PAGE = 200


class DatabaseKeys:
    """The methods of the client for API keys, on a database."""

    def __init__(self, service: ApiKeyService) -> None:
        self._service = service

    def create_api_key(self, api_key: pb.ApiKey, /) -> pb.CreateApiKeyResponse:
        """Create an API key."""
        return _run(self._service.CreateApiKey, pb.CreateApiKeyRequest(api_key=api_key))

    def get_api_key(self, key_id: str, /) -> pb.ApiKey:
        """Get an API key."""
        return _run(self._service.GetApiKey, pb.GetApiKeyRequest(id=key_id))

    def list_api_keys(self) -> Iterator[pb.ApiKey]:
        """List the API keys."""
        request = pb.ListApiKeysRequest(page_size=_PAGE)
        while True:
            page = _run(self._service.ListApiKeys, request)
            yield from page.api_keys
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def update_api_key(self, api_key: pb.ApiKey, /, *, fields: Iterable[str]) -> pb.ApiKey:
        """Update fields of an API key."""
        request = pb.UpdateApiKeyRequest(api_key=api_key)
        request.update_mask.paths.extend(fields)
        return _run(self._service.UpdateApiKey, request)

    def rotate_api_key(
        self, key_id: str, /, *, overlap: timedelta, expire_time: datetime | None, etag: str
    ) -> pb.RotateApiKeyResponse:
        """Give an API key a new secret."""
        request = pb.RotateApiKeyRequest(id=key_id, etag=etag)
        request.overlap.FromTimedelta(overlap)
        if expire_time:
            request.expire_time.FromDatetime(expire_time)
        return _run(self._service.RotateApiKey, request)

    def revoke_api_key(self, key_id: str, /, *, etag: str) -> pb.ApiKey:
        """Revoke an API key."""
        return _run(self._service.RevokeApiKey, pb.RevokeApiKeyRequest(id=key_id, etag=etag))


@contextmanager
def opened(settings: Settings) -> Iterator[Place]:
    """The API keys in the database of the settings. It must exist: servers create theirs.

    Raises:
        CommandError: it cannot be used, or does not accept a change.
    """
    try:
        with _service(settings) as (service, name):
            yield Place(DatabaseKeys(service), f"in {name}", needs_admin_key=False)
    except (OperatorError, PortalError) as error:
        code = Exit.NOT_FOUND if isinstance(error, NotFound) else Exit.FAILED
        raise CommandError(str(error), code) from None


@contextmanager
def _service(settings: Settings) -> Iterator[tuple[ApiKeyService, str]]:
    name = settings.database_name
    engine = open_existing(settings)
    try:
        schema.require_known(engine)
    except schema.SchemaMismatch as error:
        raise OperatorError(f"{name}: {error}") from None
    store = Store(engine)
    try:
        yield ApiKeyService(ApiKeys(store)), name
    finally:
        store.close()


def _run(method: Callable[[Request, Any], Response], request: Request) -> Response:
    """Call a method of the service. Raises: CommandError."""
    # It reads no headers and sets no trailers, so it needs no context of gRPC.
    context: Any = CallContext(Call(origin=Origin("portal keys")), None)  # type: ignore[arg-type]
    try:
        return method(request, context)
    except NotFound as error:
        raise CommandError(error.message, Exit.NOT_FOUND) from None
    except PortalError as error:
        raise CommandError(to_status(error, PLAIN).message) from None
