"""The Authorization header of a provider's credential."""

import re
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from threading import Lock
from typing import Any
from urllib.parse import quote_plus

from portal_server.domain.errors import OutcomeUnknown, Reason, Rejected
from portal_server.domain.provider import CredentialType, ProviderType
from portal_server.idp.access import Access, Version
from portal_server.idp.calls import Call
from portal_server.idp.connection import Response
from portal_server.idp.discovery import Discoveries, token_endpoint
from portal_server.idp.outcomes import failure, not_sent, token_of
from portal_server.idp.urls import Url

_MAX_CACHED = 500
# Keycloak's tokens are valid for 60 seconds.
_MARGIN_S = 10.0
_DEFAULT_LIFETIME_S = 60.0
_MAX_LIFETIME_S = 3600.0
_HEADER_VALUE = re.compile(r"[!-~]+(?: [!-~]+)*")
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_NAMES = {
    CredentialType.NONE: "request without a credential",
    CredentialType.INITIAL_ACCESS_TOKEN: "initial access token",
    CredentialType.CLIENT_CREDENTIALS: "token of the service account",
    CredentialType.SSWS: "API token",
}


class Credentials:
    """The credentials of all providers. Thread-safe; its state is bounded."""

    def __init__(
        self, discoveries: Discoveries, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._discoveries = discoveries
        self._clock = clock
        self._lock = Lock()
        self._tokens: OrderedDict[Version, tuple[float, str]] = OrderedDict()

    def send(
        self, call: Call, method: str, url: Url, *, document: dict[str, Any] | None = None
    ) -> Response:
        """Send a request with the provider's credential.

        A token of a service account that the provider does not accept is replaced once: 401
        means that nothing was done.

        Raises:
            NotSent: nothing reached the provider.
            Rejected: the token endpoint rejects the credential.
            OutcomeUnknown: the request was sent, and no status was received.
        """
        response = call.send(method, url, authorization=self.authorization(call), document=document)
        is_account = call.access.provider.credential is CredentialType.CLIENT_CREDENTIALS
        if response.status == HTTPStatus.UNAUTHORIZED and is_account:
            with self._lock:
                self._tokens.pop(call.access.version, None)
            response = call.send(
                method, url, authorization=self.authorization(call), document=document
            )
        return response

    def authorization(self, call: Call) -> str:
        """The header for a provider; "" if it needs none.

        Raises:
            NotSent: the token endpoint cannot be reached.
            Rejected: the token endpoint rejects the credential, or a header cannot have it.
        """
        access = call.access
        kind = access.provider.credential
        if kind is CredentialType.NONE:
            return ""
        if kind is CredentialType.CLIENT_CREDENTIALS:
            return f"Bearer {self._token(call)}"
        token = access.registration_access_token.strip()
        if not _HEADER_VALUE.fullmatch(token):
            text = f"the {name_of(access)} has characters that are invalid in a header, or is empty"
            raise Rejected(Reason.PROVIDER_CREDENTIAL_REJECTED, text)
        is_ssws = kind is CredentialType.SSWS and not _JWT.fullmatch(token)
        return f"SSWS {token}" if is_ssws else f"Bearer {token}"

    def secrets(self, access: Access) -> tuple[str, ...]:
        """The secrets that no error may contain."""
        with self._lock:
            _, token = self._tokens.get(access.version, (0.0, ""))
        given = (access.registration_access_token, token, *_forms_of_secret(access))
        return tuple(each.strip() for each in given if each)

    def _token(self, call: Call) -> str:
        """A token of the service account (RFC 6749, section 4.4)."""
        access = call.access
        with self._lock:
            end, token = self._tokens.get(access.version, (0.0, ""))
        if token and end > self._clock():
            return token
        url = token_endpoint(access, self._discoveries.of(call))
        form = {"grant_type": "client_credentials"}
        if scope := access.provider.credential_scope:
            form["scope"] = scope
        try:
            response = call.send("POST", url, authorization=_basic(access), form=form)
        except OutcomeUnknown as error:
            raise not_sent(error, "no token for the service account") from None
        document = response.json() if response.status == HTTPStatus.OK else None
        if not isinstance(document, dict) or not token_of(document, "access_token"):
            raise _token_error(access, response)
        token = token_of(document, "access_token")
        lifetime_s = document.get("expires_in")
        if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int | float):
            lifetime_s = _DEFAULT_LIFETIME_S
        with self._lock:
            end = self._clock() + min(lifetime_s, _MAX_LIFETIME_S) - _MARGIN_S
            self._tokens[access.version] = (end, token)
            self._tokens.move_to_end(access.version)
            while len(self._tokens) > _MAX_CACHED:
                self._tokens.popitem(last=False)
        return token


def name_of(access: Access) -> str:
    """How an error text names a provider's credential."""
    return _NAMES[access.provider.credential]


def lacks_scope(access: Access) -> bool:
    """Whether the token may need a scope that is not set for this provider.

    Not at Keycloak: there a role is missing, or the client has a scope that is not allowed.
    """
    provider = access.provider
    is_account = provider.credential is CredentialType.CLIENT_CREDENTIALS
    return (
        is_account and not provider.credential_scope and provider.type is not ProviderType.KEYCLOAK
    )


def _basic(access: Access) -> str:
    """The header of client_secret_basic (RFC 6749, section 2.3.1)."""
    name = quote_plus(access.provider.credential_client_id)
    secret = quote_plus(access.credential_client_secret)
    return f"Basic {b64encode(f'{name}:{secret}'.encode()).decode()}"


def _forms_of_secret(access: Access) -> tuple[str, ...]:
    """The secret of the service account, also as requests have it: encoded."""
    secret = access.credential_client_secret
    return (_basic(access).partition(" ")[2], quote_plus(secret), secret) if secret else ()


def _token_error(access: Access, response: Response) -> Exception:
    hidden = _forms_of_secret(access)
    error = failure(response, hidden, credential="client id and secret of the service account")
    if not isinstance(error, Rejected) or error.reason is Reason.PROVIDER_BUSY:
        return not_sent(error, "no token for the service account")
    return Rejected(
        Reason.PROVIDER_CREDENTIAL_REJECTED,
        f"no token for the service account: {error.message}",
        http_status=error.http_status,
        error=error.error,
        description=error.description,
    )
