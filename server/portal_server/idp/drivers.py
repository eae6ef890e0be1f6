"""What some providers can do in addition to RFC 7591 and 7592: find clients, rotate secrets."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from portal_server.domain.client import Metadata, ProviderClient
from portal_server.domain.errors import (
    OutcomeUnknown,
    PortalError,
    ProviderError,
    Reason,
    Rejected,
    Unimplemented,
)
from portal_server.domain.provider import CredentialType, ProviderType
from portal_server.idp import urls
from portal_server.idp.access import Access, Handle
from portal_server.idp.calls import Call
from portal_server.idp.connection import Response
from portal_server.idp.credentials import Credentials, name_of
from portal_server.idp.outcomes import client_of, failure, is_success, metadata_of, not_sent
from portal_server.idp.urls import Url

_MAX_PAGES = 200
_OKTA_PAGE = 200
_KEYCLOAK_PAGE = 100
_NEXT = re.compile(r'<([^<>]{1,2048})>\s*;\s*rel="?next"?')
# The endpoint of a realm, and the realm's place in the admin API.
_REALM = re.compile(r"(.*)/realms/([^/]+)/clients-registrations/[^/]+/?")
_PUBLIC = "none"


class Driver:
    """A provider that implements only RFC 7591 and 7592.

    `own_credential` is whether the provider's credential also manages clients. If not, each
    client has a registration access token for that.
    """

    own_credential = False
    cannot_rotate = "this provider cannot rotate a secret"

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def is_gone(self, response: Response) -> bool:
        """Whether a response to the provider's credential says that the client is gone."""
        return response.status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}

    def complete(self, call: Call, url: Url, metadata: Metadata) -> Metadata:  # noqa: ARG002
        """The metadata of an update, with what the provider requires in addition.

        Raises:
            NotSent, Rejected: the client cannot be read; nothing was changed.
        """
        return metadata

    def find(self, call: Call, endpoint: Url, client_name: str) -> tuple[Handle, ...] | None:  # noqa: ARG002
        """The clients with a name; None if the provider cannot be searched.

        Raises:
            ProviderError: the search failed.
        """
        return None

    def check_rotation(self, metadata: Metadata) -> None:
        """Check that the secret of a client with this metadata can be rotated.

        Raises:
            Unimplemented: there is no way to do it.
        """
        if not self.own_credential:
            raise _no_rotation(f"{self.cannot_rotate}: register a new client, then delete this one")
        if metadata.get("token_endpoint_auth_method") == _PUBLIC:
            raise _no_rotation("a public client has no secret")

    def rotate(
        self,
        call: Call,
        endpoint: Url,
        handle: Handle,
        metadata: Metadata,
    ) -> ProviderClient:
        """The client with a new secret, after `check_rotation`.

        Raises:
            Unimplemented: the provider has no way to do it.
            ProviderError: the call failed.
        """
        raise NotImplementedError

    def _get(self, call: Call, url: Url) -> Response:
        return self._credentials.send(call, "GET", url)

    def _failure(self, call: Call, response: Response) -> ProviderError:
        hidden = self._credentials.secrets(call.access)
        return failure(response, hidden, credential=name_of(call.access))


class Okta(Driver):
    """Okta: its API token manages all clients, and there is no registration access token."""

    own_credential = True

    def is_gone(self, response: Response) -> bool:
        """Whether the client is gone: 404, or 401 with invalid_client in older texts."""
        if response.status == HTTPStatus.UNAUTHORIZED:
            document = response.json()
            return isinstance(document, dict) and document.get("error") == "invalid_client"
        return super().is_gone(response)

    def complete(self, call: Call, url: Url, metadata: Metadata) -> Metadata:
        """All settings: an update fails if any is missing."""
        try:
            response = self._get(call, url)
        except OutcomeUnknown as error:
            raise not_sent(error, "the client cannot be read before the update") from None
        document = response.json() if is_success(response) else None
        if not isinstance(document, dict):
            failed = self._failure(call, response)
            if isinstance(failed, Rejected):
                failed.detached = self.is_gone(response)
                raise failed
            raise not_sent(failed, "the client cannot be read before the update")
        return {**metadata_of(document), **metadata}

    def find(self, call: Call, endpoint: Url, client_name: str) -> tuple[Handle, ...] | None:
        """Search by the start of the name; the whole name is compared here."""
        query = urlencode({"q": client_name, "limit": _OKTA_PAGE})
        url: Url | None = urls.parse(f"{_folder(endpoint)}?{query}")
        found: list[Handle] = []
        for _ in range(_MAX_PAGES):
            if url is None:
                return tuple(found)
            response = self._get(call, url)
            if response.status == HTTPStatus.FORBIDDEN:
                return None
            found += (
                Handle(client_id=client_id)
                for each in _page(response, self._failure(call, response))
                if each.get("client_name") == client_name
                and isinstance(client_id := each.get("client_id"), str)
            )
            following = _NEXT.search(response.headers.get("link", ""))
            url = urls.parse(following[1]) if following else None
            if url is not None and url.origin != endpoint.origin:
                raise _too_long()
        raise _too_long()

    def rotate(
        self,
        call: Call,
        endpoint: Url,
        handle: Handle,
        metadata: Metadata,  # noqa: ARG002 - Okta returns it
    ) -> ProviderClient:
        """Have Okta create a new secret; the old one is invalid at once."""
        path = f"{quote(handle.client_id, safe='')}/lifecycle/newSecret"
        url = _join(endpoint, path)
        response = self._credentials.send(call, "POST", url)
        return client_of(response, self._credentials.secrets(call.access))


class KeycloakTokens(Driver):
    """Keycloak with registration access tokens.

    Two updates, to a public client and back, would create a secret. In between, everyone could
    use the client, and a lost response would leave it public: so that is not done.
    """

    cannot_rotate = "Keycloak rotates a secret only for a service account (credential_type)"


class KeycloakAccount(Driver):
    """Keycloak with a service account, which may use the admin API of its realm."""

    own_credential = True

    def find(self, call: Call, endpoint: Url, client_name: str) -> tuple[Handle, ...] | None:
        """Read all clients: Keycloak searches by client_id only."""
        admin = _admin(endpoint)
        if admin is None:
            return None
        found: list[Handle] = []
        for page in range(_MAX_PAGES):
            query = urlencode({"first": page * _KEYCLOAK_PAGE, "max": _KEYCLOAK_PAGE})
            response = self._get(call, _join(admin, f"clients?{query}"))
            if response.status == HTTPStatus.FORBIDDEN:
                return None  # the account has no role view-clients
            rows = _page(response, self._failure(call, response))
            found += (
                Handle(
                    client_id=client_id,
                    registration_client_uri=_join(endpoint, quote(client_id, safe="")).text,
                )
                for each in rows
                if each.get("name") == client_name
                and isinstance(client_id := each.get("clientId"), str)
            )
            if len(rows) < _KEYCLOAK_PAGE:
                return tuple(found)
        raise _too_long()

    def rotate(
        self, call: Call, endpoint: Url, handle: Handle, metadata: Metadata
    ) -> ProviderClient:
        """Have the admin API create a new secret; the old one is invalid at once."""
        admin = _admin(endpoint)
        if admin is None:
            raise _no_rotation("the registration endpoint is not that of a realm of Keycloak")
        key = self._key(call, admin, handle.client_id)
        response = self._credentials.send(
            call, "POST", _join(admin, f"clients/{key}/client-secret")
        )
        document = response.json() if is_success(response) else None
        secret = document.get("value") if isinstance(document, dict) else None
        if not isinstance(secret, str) or not secret.isprintable() or not secret:
            raise self._failure(call, response)
        return ProviderClient(
            client_id=handle.client_id,
            metadata=metadata,
            client_secret=secret,
            registration_client_uri=handle.registration_client_uri,
            registration_access_token=handle.registration_access_token,
        )

    def _key(self, call: Call, admin: Url, client_id: str) -> str:
        """The key of a client in the admin API."""
        what = "the client cannot be found before its secret is rotated"
        try:
            query = urlencode({"clientId": client_id})
            response = self._get(call, _join(admin, f"clients?{query}"))
        except OutcomeUnknown as error:
            raise not_sent(error, what) from None
        if response.status == HTTPStatus.FORBIDDEN:
            raise _no_rotation(
                "the service account may not use the admin API: give it the roles view-clients"
                " and manage-clients of realm-management"
            )
        failed = self._failure(call, response)
        try:
            rows = _page(response, failed)
        except OutcomeUnknown as error:
            raise not_sent(error, what) from None
        for each in rows:
            key = each.get("id")
            if each.get("clientId") == client_id and isinstance(key, str):
                return quote(key, safe="")
        gone = Rejected(
            Reason.PROVIDER_REJECTED,
            "the provider no longer has this client",
            http_status=HTTPStatus.NOT_FOUND,
        )
        gone.detached = True
        raise gone


def driver_of(access: Access, credentials: Credentials) -> Driver:
    """The driver of a provider."""
    provider = access.provider
    if provider.type is ProviderType.OKTA:
        return Okta(credentials)
    if provider.type is ProviderType.KEYCLOAK:
        is_account = provider.credential is CredentialType.CLIENT_CREDENTIALS
        return KeycloakAccount(credentials) if is_account else KeycloakTokens(credentials)
    return Driver(credentials)


def client_url(endpoint: Url, client_id: str) -> Url:
    """The URL of a client below the endpoint, if the provider returned none."""
    return _join(endpoint, quote(client_id, safe=""))


def _folder(url: Url) -> str:
    return url.text.partition("?")[0].rstrip("/")


def _join(url: Url, path: str) -> Url:
    joined = urls.parse(f"{_folder(url)}/{path}")
    if joined is None:
        raise Rejected(Reason.PROVIDER_REJECTED, "the URL of the client would be too long")
    return joined


def _admin(endpoint: Url) -> Url | None:
    """The realm in the admin API, from the registration endpoint of the realm."""
    parts = _REALM.fullmatch(endpoint.text)
    return urls.parse(f"{parts[1]}/admin/realms/{parts[2]}") if parts else None


def _page(response: Response, failed: ProviderError) -> list[Mapping[str, Any]]:
    rows = response.json() if is_success(response) else None
    if not isinstance(rows, list):
        raise failed
    return [each for each in rows if isinstance(each, dict)]


def _too_long() -> PortalError:
    text = "the provider has too many clients to search all of them"
    return OutcomeUnknown(Reason.PROVIDER_OUTCOME_UNKNOWN, text)


def _no_rotation(text: str) -> Unimplemented:
    return Unimplemented(Reason.ROTATION_NOT_SUPPORTED, text)
