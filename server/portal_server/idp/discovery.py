"""Discovery documents (RFC 8414; OpenID Connect Discovery 1.0), cached."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from portal_server.domain.discovery import Discovery
from portal_server.domain.errors import NotSent, OutcomeUnknown, Reason
from portal_server.idp import urls
from portal_server.idp.access import Access, Version
from portal_server.idp.calls import Call
from portal_server.idp.connection import Response
from portal_server.idp.outcomes import failure, is_success, not_sent
from portal_server.idp.urls import Url

CACHED_S = 300.0
"""How long a document is used."""
ERROR_CACHED_S = 10.0
"""How long an error is returned without a request."""
_MAX_CACHED = 500
_MAX_VALUES = 200
_MAX_VALUE = 200
_WHAT = "the discovery document cannot be read"


class Discoveries:
    """The discovery documents of all providers. Thread-safe; its state is bounded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._cached: OrderedDict[Version, tuple[float, Discovery | NotSent]] = OrderedDict()

    def cached(self, access: Access) -> Discovery | None:
        """The cached document; None if there is none.

        Raises:
            NotSent: the document could not be read a moment ago.
        """
        with self._lock:
            end, found = self._cached.get(access.version, (0.0, None))
        if found is None or end <= self._clock():
            return None
        if isinstance(found, NotSent):
            # If one exception were raised twice, its traceback would grow.
            raise _copy(found)
        return found

    def of(self, call: Call) -> Discovery:
        """The document of a provider, from the cache or by a request.

        Raises:
            NotSent: the document cannot be read.
        """
        found = self.cached(call.access)
        if found is not None:
            return found
        try:
            found, _ = self.fetch(call)
        except NotSent as error:
            self._store(call.access, ERROR_CACHED_S, _copy(error))
            raise
        return found

    def fetch(self, call: Call) -> tuple[Discovery, Response]:
        """The document, always by a request, and the response that contained it.

        Raises:
            NotSent: the document cannot be read.
        """
        url = urls.parse(call.access.provider.well_known_uri)
        if url is None:
            raise NotSent(Reason.PROVIDER_UNREACHABLE, "the well-known URL is not a valid URL")
        found, response = read(call, url)
        self._store(call.access, CACHED_S, found)
        return found, response

    def _store(self, access: Access, seconds: float, found: Discovery | NotSent) -> None:
        with self._lock:
            self._cached[access.version] = (self._clock() + seconds, found)
            self._cached.move_to_end(access.version)
            while len(self._cached) > _MAX_CACHED:
                self._cached.popitem(last=False)


def read(call: Call, url: Url) -> tuple[Discovery, Response]:
    """Read the document at a URL.

    Raises:
        NotSent: there is no document. `http_status` is that of the response, if there was one.
    """
    try:
        response = call.get_following(url)
    except OutcomeUnknown as error:
        raise not_sent(error, _WHAT) from None
    if response.problem or response.status >= 500 or response.status in {408, 429}:  # noqa: PLR2004
        raise not_sent(failure(response), _WHAT)
    document = response.json() if is_success(response) else None
    if not isinstance(document, dict):
        what = "something else" if is_success(response) else f"status {response.status}"
        text = f"{url.text} responds with {what} instead of a discovery document"
        reason = Reason.NO_REGISTRATION_ENDPOINT
        raise NotSent(reason, text, http_status=response.status)
    return discovery_of(document), response


def discovery_of(document: Mapping[str, Any]) -> Discovery:
    """The values of a document; a value of the wrong type counts as missing."""
    return Discovery(
        issuer=_url(document, "issuer"),
        registration_endpoint=_url(document, "registration_endpoint"),
        token_endpoint=_url(document, "token_endpoint"),
        device_authorization_endpoint=_url(document, "device_authorization_endpoint"),
        grant_types_supported=_list(document, "grant_types_supported"),
        response_types_supported=_list(document, "response_types_supported"),
        token_endpoint_auth_methods_supported=_list(
            document, "token_endpoint_auth_methods_supported"
        ),
        scopes_supported=_list(document, "scopes_supported"),
        code_challenge_methods_supported=_list(document, "code_challenge_methods_supported"),
    )


def registration_endpoint(access: Access, discovery: Discovery) -> Url:
    """Where clients are registered.

    Raises:
        NotSent: discovery names no endpoint, or one at another origin.
    """
    text = discovery.registration_endpoint
    url = urls.parse(text)
    if url is None:
        what = f"{access.provider.well_known_uri} has no registration_endpoint"
        raise NotSent(
            Reason.NO_REGISTRATION_ENDPOINT,
            f"{what}: turn on dynamic client registration at the provider, or set the"
            " registration endpoint of the provider here",
        )
    _check_origin(access, url, "registration endpoint", Reason.NO_REGISTRATION_ENDPOINT)
    return url


def token_endpoint(access: Access, discovery: Discovery) -> Url:
    """Where a token for the provider's credential comes from.

    Raises:
        NotSent: discovery names no endpoint, or one at another origin.
    """
    url = urls.parse(discovery.token_endpoint)
    if url is None:
        text = f"{access.provider.well_known_uri} has no token_endpoint"
        raise NotSent(Reason.NO_REGISTRATION_ENDPOINT, text)
    _check_origin(access, url, "token endpoint", Reason.PROVIDER_ADDRESS_NOT_ALLOWED)
    return url


def _check_origin(access: Access, url: Url, what: str, reason: Reason) -> None:
    """Reject an origin that an administrator has not set: secrets are not sent there."""
    origins = access.origins
    if url.origin in origins:
        return
    text = (
        f"the {what} in the discovery document is at {url.origin}, the well-known URL at"
        f" {origins[0]}: credentials are not sent to another origin"
    )
    if what == "registration endpoint":
        text += "; if this is correct, set the registration endpoint of the provider here"
    raise NotSent(reason, text)


def _url(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) and urls.parse(value) else ""


def _list(document: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    values = document.get(name)
    if not isinstance(values, list):
        return None
    return tuple(
        each
        for each in values[:_MAX_VALUES]
        if isinstance(each, str) and len(each) <= _MAX_VALUE and each.isprintable()
    )


def _copy(error: NotSent) -> NotSent:
    return NotSent(
        error.reason,
        error.message,
        http_status=error.http_status,
        error=error.error,
        description=error.description,
        retry_after_s=error.retry_after_s,
    )
