"""Registers and manages clients at identity providers (RFC 7591, RFC 7592)."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from http import HTTPStatus

from portal_server.domain.client import Metadata, ProviderClient
from portal_server.domain.discovery import Discovery, ProviderCheck
from portal_server.domain.errors import (
    OutcomeUnknown,
    ProviderError,
    Reason,
    Rejected,
)
from portal_server.idp import urls
from portal_server.idp.access import Access, Handle
from portal_server.idp.calls import TOTAL_S, Call, Caller
from portal_server.idp.check import check
from portal_server.idp.connection import Response
from portal_server.idp.credentials import Credentials, lacks_scope, name_of
from portal_server.idp.discovery import Discoveries, registration_endpoint
from portal_server.idp.drivers import Driver, client_url, driver_of
from portal_server.idp.limits import Limits
from portal_server.idp.outcomes import client_of, failure, is_success
from portal_server.idp.urls import Url

# RFC 7592, section 2.1: 401 is the response for each of these.
_TOKEN_NAME = (
    "registration access token of the client"  # noqa: S105 - a name
    " (the client was deleted or disabled there, or its token was replaced or has expired)"
)

_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
# Not 403: the client exists, but may not do this (RFC 7592, section 2.3).
_DETACHED = _GONE | {HTTPStatus.UNAUTHORIZED}
# RFC 6750, section 3.1.
_NEEDS_SCOPE = "insufficient_scope"


class Registrar:
    """Calls to all identity providers. Thread-safe.

    Each method makes one call, of at most `total_s` seconds. It may send several requests
    to prepare the one that changes something, which is sent once.

    All methods raise:
        NotSent: nothing reached the provider.
        Rejected: the provider rejected the request, so nothing was done. `detached` is
            whether it no longer has the client, or no longer accepts its token.
        OutcomeUnknown: it is unknown whether it was done.
    """

    def __init__(
        self, *, allow_private: bool, limits: Limits | None = None, total_s: float = TOTAL_S
    ) -> None:
        limits = limits or Limits()
        self._caller = Caller(allow_private=allow_private, limits=limits, total_s=total_s)
        self._discoveries = Discoveries()
        self._credentials = Credentials(self._discoveries)

    def admitted(self, access: Access) -> AbstractContextManager[None]:
        """Make the calls in the block one call, so that only the first one waits.

        Raises:
            NotSent: too many calls wait, or the provider is down.
        """
        return self._caller.held(access)

    def close_idle(self) -> None:
        """Close the connections that have been idle for too long."""
        self._caller.connections.close_idle()

    def close(self) -> None:
        """Close all connections; no call is in progress or begins later."""
        self._caller.connections.close()

    def discover(self, access: Access) -> Discovery:
        """What a provider reports about itself; cached for five minutes, an error for ten seconds.

        Raises:
            NotSent: there is no discovery document.
        """
        cached = self._discoveries.cached(access)
        if cached is not None:
            return cached
        with self._caller.call(access) as call:
            return self._discoveries.of(call)

    def endpoint(self, access: Access) -> str:
        """The URL at which clients are registered: the provider's own setting, or discovery's.

        Raises:
            NotSent: there is none.
        """
        override = access.provider.registration_endpoint
        return override or registration_endpoint(access, self.discover(access)).text

    def register(self, access: Access, metadata: Metadata) -> ProviderClient:
        """Register a client (RFC 7591, section 3.1). The request is sent once.

        The result has a message if the client can no longer be managed.
        """
        with self._caller.call(access) as call:
            url = self._endpoint(call)
            response = self._credentials.send(call, "POST", url, document=dict(metadata))
            if not is_success(response):
                raise self._failure(call, response)
            client = client_of(response, self._credentials.secrets(access))
            if driver_of(access, self._credentials).own_credential:
                return client
            problem = _unmanageable(access, _handle_of(client))
            return replace(client, message=problem) if problem else client

    def read(self, access: Access, handle: Handle) -> ProviderClient:
        """Read a client (RFC 7592, section 2.1), with its secret if the provider returns it."""
        with self._caller.call(access) as call:
            response = self._manage(call, "GET", handle)
            return self._client(call, response, handle)

    def update(self, access: Access, handle: Handle, metadata: Metadata) -> ProviderClient:
        """Replace the metadata of a client (RFC 7592, section 2.2): it must be complete.

        The result may have a new registration access token; the old one is then invalid.
        """
        with self._caller.call(access) as call:
            try:
                response = self._manage(call, "PUT", handle, metadata)
            except Rejected as error:
                if error.http_status in _GONE:
                    self._require_gone(call, handle, error, "updates")
                raise
            return self._client(call, response, handle)

    def delete(self, access: Access, handle: Handle) -> None:
        """Delete a client (RFC 7592, section 2.3). It is not an error if it is already gone."""
        with self._caller.call(access) as call:
            try:
                response = self._manage(call, "DELETE", handle)
            except Rejected as error:
                if error.http_status not in _GONE:
                    raise
                self._require_gone(call, handle, error, "deletions")
                return
            if not is_success(response):
                raise self._failure(call, response)

    def check_rotation(self, access: Access, metadata: Metadata) -> None:
        """Check that a client with this metadata can get a new secret; sends nothing.

        Raises:
            Unimplemented: the provider has no way to do it (ROTATION_NOT_SUPPORTED).
        """
        driver_of(access, self._credentials).check_rotation(metadata)

    def rotate(self, access: Access, handle: Handle, metadata: Metadata) -> ProviderClient:
        """Have the provider create a new secret; `metadata` is that of the client.

        Raises:
            Unimplemented: the provider has no way to do it (ROTATION_NOT_SUPPORTED).
        """
        driver = driver_of(access, self._credentials)
        driver.check_rotation(metadata)
        with self._caller.call(access) as call:
            client = driver.rotate(call, self._endpoint(call), handle, metadata)
            return _completed(call.access, client, handle)

    def find(self, access: Access, client_name: str) -> tuple[Handle, ...] | None:
        """The clients with this name; None if this provider cannot be searched."""
        driver = driver_of(access, self._credentials)
        if not driver.own_credential:
            return None
        with self._caller.call(access) as call:
            return driver.find(call, self._endpoint(call), client_name)

    def check(self, access: Access) -> tuple[ProviderCheck, ...]:
        """Check a provider: discovery, tls, registration_endpoint, credential.

        It changes nothing there, does not use the cache, and raises no error.
        """
        return check(access, self._caller, self._discoveries, self._credentials)

    def _endpoint(self, call: Call) -> Url:
        override = urls.parse(call.access.provider.registration_endpoint)
        return override or registration_endpoint(call.access, self._discoveries.of(call))

    def _manage(
        self, call: Call, method: str, handle: Handle, metadata: Metadata | None = None
    ) -> Response:
        """Send a request about a client; returns a response of success.

        Raises:
            Rejected: also if the client has no token and no URI (RFC 7592 is optional).
        """
        driver = driver_of(call.access, self._credentials)
        if driver.own_credential:
            response = self._manage_by_credential(call, driver, method, handle, metadata)
            # An account that may only create clients manages them by their own tokens.
            by_token = response.status == HTTPStatus.FORBIDDEN and _own_url(call.access, handle)
            if not by_token:
                if is_success(response):
                    return response
                if driver.is_gone(response):
                    raise _gone(self._failure(call, response))
                raise self._failure(call, response)
        url = _own_url(call.access, handle)
        if url is None:
            text = _unmanageable(call.access, handle)
            raise Rejected(Reason.PROVIDER_CREDENTIAL_REJECTED, text)
        response = call.send(
            method,
            url,
            authorization=f"Bearer {handle.registration_access_token}",
            document=_body(handle, metadata),
        )
        if is_success(response):
            return response
        hidden = (*self._credentials.secrets(call.access), handle.registration_access_token)
        error = failure(response, hidden, credential=_TOKEN_NAME)
        if isinstance(error, Rejected):
            error.detached = response.status in _DETACHED
        raise error

    def _require_gone(self, call: Call, handle: Handle, error: Rejected, what: str) -> None:
        """Accept 404 for an update or deletion only if the client cannot be read either.

        A provider that can only register and read clients may have no route for this.

        Raises:
            Rejected: the client is still there, or may not be read.
            NotSent, OutcomeUnknown: it could not be read.
        """
        try:
            self._manage(call, "GET", handle)
        except Rejected as read:
            if read.detached:
                return
            raise
        text = f"the provider still has the client: it does not support {what}"
        raise Rejected(Reason.PROVIDER_REJECTED, f"{error.message}, but {text}")

    def _manage_by_credential(
        self, call: Call, driver: Driver, method: str, handle: Handle, metadata: Metadata | None
    ) -> Response:
        url = urls.parse(handle.registration_client_uri)
        if url is None or url.origin not in call.access.origins:
            url = client_url(self._endpoint(call), handle.client_id)
        if metadata is not None:
            metadata = driver.complete(call, url, metadata)
        return self._credentials.send(call, method, url, document=_body(handle, metadata))

    def _client(self, call: Call, response: Response, handle: Handle) -> ProviderClient:
        hidden = (*self._credentials.secrets(call.access), handle.registration_access_token)
        client = client_of(response, hidden)
        if client.client_id != handle.client_id:
            text = "the provider responded with another client"
            raise OutcomeUnknown(Reason.PROVIDER_OUTCOME_UNKNOWN, text)
        return _completed(call.access, client, handle)

    def _failure(self, call: Call, response: Response) -> ProviderError:
        hidden: Iterable[str] = self._credentials.secrets(call.access)
        error = failure(response, hidden, credential=name_of(call.access))
        if error.error == _NEEDS_SCOPE and lacks_scope(call.access):
            error.message += "; set the credential scope of the provider to what it requires"
        return error


def _own_url(access: Access, handle: Handle) -> Url | None:
    """The client's own URL, if it has one with a token, at an origin that may see the token."""
    url = urls.parse(handle.registration_client_uri)
    if url is None or not handle.registration_access_token or url.origin not in access.origins:
        return None
    return url


def _unmanageable(access: Access, handle: Handle) -> str:
    """Why a client cannot be managed with its own token (RFC 7592 is optional); "" if it can."""
    if _own_url(access, handle):
        return ""
    url = urls.parse(handle.registration_client_uri)
    why = "the provider returned no registration access token and no URL for this client"
    what = "only its administrator can change or delete it"
    if url and handle.registration_access_token:
        why = f"the provider manages this client at {url.origin}, and its token is not sent there"
        what += ", unless the registration endpoint or well-known URL of the provider is there"
    return f"{why}: {what}"


def _handle_of(client: ProviderClient) -> Handle:
    return Handle(
        client_id=client.client_id,
        registration_client_uri=client.registration_client_uri,
        registration_access_token=client.registration_access_token,
    )


def _body(handle: Handle, metadata: Metadata | None) -> dict[str, object] | None:
    """The document of an update (RFC 7592, section 2.2): it has the client_id, but no secret."""
    return None if metadata is None else {**metadata, "client_id": handle.client_id}


def _completed(access: Access, client: ProviderClient, handle: Handle) -> ProviderClient:
    """A client with its previous token and URL, if the response has none.

    A URL at an origin that must not see the token does not replace the one that it had.
    """
    uri = handle.registration_client_uri
    given = urls.parse(client.registration_client_uri)
    if given and (not uri or given.origin in access.origins):
        uri = given.text
    return replace(
        client,
        registration_client_uri=uri,
        registration_access_token=(
            client.registration_access_token or handle.registration_access_token
        ),
    )


def _gone(error: ProviderError) -> Rejected:
    gone = Rejected(
        Reason.PROVIDER_REJECTED,
        error.message,
        http_status=HTTPStatus.NOT_FOUND,
        error=error.error,
        description=error.description,
    )
    gone.detached = True
    return gone
