"""The checks of a provider: what was found and what to do, as texts for an administrator."""

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import chain
from typing import Any

from portal_server.domain.discovery import CheckOutcome, Discovery, ProviderCheck
from portal_server.domain.errors import NotSent, ProviderError, Reason
from portal_server.domain.provider import CredentialType, ProviderType
from portal_server.idp import urls
from portal_server.idp.access import Access
from portal_server.idp.calls import Call, Caller
from portal_server.idp.connection import Response
from portal_server.idp.credentials import Credentials, name_of
from portal_server.idp.discovery import Discoveries, read, registration_endpoint
from portal_server.idp.outcomes import clean, failure, is_success
from portal_server.idp.urls import Url

_CERTIFICATE_DAYS = 14
_TOKEN_DAYS = 7
_MAX_PLACES = 12
_WELL_KNOWN = "/.well-known/"
_NAMES = ("openid-configuration", "oauth-authorization-server")


@dataclass(frozen=True, slots=True)
class _Found:
    """What the request for the discovery document had."""

    discovery: Discovery | None = None
    response: Response | None = None
    error: NotSent | None = None


def check(
    access: Access, caller: Caller, discoveries: Discoveries, credentials: Credentials
) -> tuple[ProviderCheck, ...]:
    """Check a provider; an error is the result of a check."""
    try:
        with caller.call(access) as call:
            found = _find(call, discoveries)
            return (
                _discovery(call, found),
                _tls(access, found),
                _endpoint(access, found),
                _credential(call, found, credentials),
            )
    except ProviderError as error:
        return (
            _failed("discovery", error.message),
            *(
                ProviderCheck(name, CheckOutcome.SKIPPED, "the provider was not called")
                for name in ("tls", "registration_endpoint", "credential")
            ),
        )


def _find(call: Call, discoveries: Discoveries) -> _Found:
    try:
        discovery, response = discoveries.fetch(call)
    except NotSent as error:
        return _Found(error=error)
    return _Found(discovery, response)


def _discovery(call: Call, found: _Found) -> ProviderCheck:
    name = "discovery"
    text = call.access.provider.well_known_uri
    url = urls.parse(text)
    if url is None:
        return _failed(name, f"{text} is not a valid URL")
    if found.error:
        message = found.error.message
        # Without a status, the host was not reached: other paths would not be either.
        return _failed(
            name, _other_place(call, url) or message if found.error.http_status else message
        )
    discovery = found.discovery or Discovery()
    if not discovery.issuer:
        return _warning(name, f"{text} is a JSON object without an issuer; check the URL")
    if text.rstrip("/") not in _locations(discovery.issuer):
        return _warning(
            name,
            f"the document names the issuer {discovery.issuer}, which does not belong to {text}:"
            " the provider may not accept tokens that were created with another host name;"
            " use the URL under which the provider is known",
        )
    return ProviderCheck(name, CheckOutcome.OK, f"the issuer is {discovery.issuer}")


def _other_place(call: Call, url: Url) -> str:
    """A sentence about where the document is, if it is not at the well-known URL."""
    for place in _places(url):
        try:
            discovery, _ = read(call, place)
        except ProviderError as error:
            if error.http_status:
                continue
            return ""
        if discovery.registration_endpoint.rstrip("/") == url.text.rstrip("/"):
            return (
                f"{url.text} is the registration endpoint, not the well-known URL."
                f" Set the well-known URL to {place.text}"
            )
        if discovery.issuer:
            return (
                f"there is no discovery document at {url.text}, but one at {place.text}:"
                " set the well-known URL to that"
            )
    return ""


def _places(url: Url) -> Iterator[Url]:
    """Where the document may be instead: below each folder of the path."""
    path = url.path
    if _WELL_KNOWN in path:
        before, _, rest = path.partition(_WELL_KNOWN)
        bases = [before or "/".join(("", *rest.split("/")[1:]))]
    else:
        parts = path.rstrip("/").split("/")
        bases = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    # The likely place below each folder, then the next one.
    texts = zip(*(_locations(f"{url.origin}{base}") for base in bases), strict=True)
    for text in list(dict.fromkeys(chain(*texts)))[:_MAX_PLACES]:
        place = urls.parse(text)
        if place and place.text != url.text:
            yield place


def _locations(issuer: str) -> tuple[str, ...]:
    """Where the document of an issuer is (OpenID Connect Discovery, 4; RFC 8414, section 3).

    Some providers mix both; Keycloak has both documents at both places.
    """
    url = urls.parse(issuer)
    if url is None:
        return ()
    path = url.path.rstrip("/")
    after = tuple(f"{url.origin}{path}{_WELL_KNOWN}{name}" for name in _NAMES)
    between = tuple(f"{url.origin}{_WELL_KNOWN}{name}{path}" for name in reversed(_NAMES))
    return (after[0], between[0], after[1], between[1])


def _tls(access: Access, found: _Found) -> ProviderCheck:  # noqa: PLR0911 - a case each
    name = "tls"
    provider = access.provider
    if provider.well_known_uri.lower().startswith("http:"):
        return _warning(
            name, "the well-known URL is http: credentials are sent without encryption; use https"
        )
    if found.error and found.error.reason is Reason.PROVIDER_TLS_NOT_TRUSTED:
        return _failed(
            name,
            f"{found.error.message}. Set the CA certificate of the provider, or have its server"
            " send a certificate for this host name with all intermediate certificates",
        )
    if found.response is None:
        if found.error and found.error.http_status:
            return ProviderCheck(name, CheckOutcome.OK, "the certificate is trusted")
        return ProviderCheck(name, CheckOutcome.SKIPPED, "there was no connection")
    if provider.tls_insecure_skip_verify:
        return _warning(
            name,
            "certificates are not checked, so anyone on the network path can read the credential;"
            " set the CA certificate of the provider instead",
        )
    end = found.response.certificate_expire_time
    if end is None:
        return ProviderCheck(name, CheckOutcome.OK, "the certificate is trusted")
    text = f"the certificate is trusted and expires on {end:%Y-%m-%d}"
    if end - datetime.now(UTC) < timedelta(days=_CERTIFICATE_DAYS):
        return _warning(name, f"{text}: renew it at the provider")
    return ProviderCheck(name, CheckOutcome.OK, text)


def _endpoint(access: Access, found: _Found) -> ProviderCheck:
    name = "registration_endpoint"
    override = access.provider.registration_endpoint
    if override:
        text = f"clients are registered at {override}, which is set for the provider"
        return ProviderCheck(name, CheckOutcome.OK, text)
    if found.discovery is None:
        return ProviderCheck(name, CheckOutcome.SKIPPED, "there is no discovery document")
    try:
        url = registration_endpoint(access, found.discovery)
    except NotSent as error:
        return _failed(name, error.message)
    return ProviderCheck(name, CheckOutcome.OK, f"clients are registered at {url.text}")


def _credential(call: Call, found: _Found, credentials: Credentials) -> ProviderCheck:
    name = "credential"
    access = call.access
    kind = access.provider.credential
    try:
        if kind is CredentialType.NONE:
            return _no_credential(access)
        if kind is CredentialType.CLIENT_CREDENTIALS:
            credentials.authorization(call)
            text = "the token endpoint accepts the service account"
            return ProviderCheck(name, CheckOutcome.OK, text)
        credentials.authorization(call)
        if access.provider.type is ProviderType.OKTA:
            return _okta(call, found, credentials)
    except ProviderError as error:
        return _failed(name, error.message)
    return _initial_access_token(access, found)


def _no_credential(access: Access) -> ProviderCheck:
    text = "no credential is sent, so the provider must allow anyone to register clients"
    if access.provider.type is ProviderType.KEYCLOAK:
        more = "Keycloak allows this only for trusted hosts; create an initial access token"
        return _warning("credential", f"{text}; {more}")
    return ProviderCheck("credential", CheckOutcome.OK, text)


def _okta(call: Call, found: _Found, credentials: Credentials) -> ProviderCheck:
    """Read one client: an API token that can read may usually also register."""
    name = "credential"
    access = call.access
    url = urls.parse(access.provider.registration_endpoint)
    if url is None and found.discovery is not None:
        url = registration_endpoint(access, found.discovery)
    place = urls.parse(f"{url.text.partition('?')[0]}?limit=1") if url else None
    if place is None:
        return ProviderCheck(name, CheckOutcome.SKIPPED, "there is no registration endpoint")
    response = credentials.send(call, "GET", place)
    if is_success(response):
        return ProviderCheck(name, CheckOutcome.OK, "the provider accepts the API token")
    error = failure(response, credentials.secrets(access), credential=name_of(access))
    if response.status == HTTPStatus.FORBIDDEN:
        return _warning(
            name,
            f"{error.message}. It may not list clients, so a client whose response was lost"
            " cannot be found; give it the scope okta.clients.read",
        )
    return _failed(name, error.message)


def _initial_access_token(access: Access, found: _Found) -> ProviderCheck:
    name = "credential"
    claims = _claims(access.registration_access_token)
    end = claims.get("exp")
    issuer = claims.get("iss")
    known = found.discovery.issuer if found.discovery else ""
    if not isinstance(end, int | float) or isinstance(end, bool):
        text = "a token is set; only the first registration shows whether the provider accepts it"
        return ProviderCheck(name, CheckOutcome.SKIPPED, text)
    left_s = end - time.time()
    if left_s <= 0:
        return _failed(name, "the initial access token has expired: create another one")
    if isinstance(issuer, str) and known and issuer != known:
        return _warning(
            name,
            f"the initial access token was created for the issuer {clean(issuer)}, the provider"
            f" is {known}: it may not accept the token. Create one under that host name",
        )
    days = int(left_s // 86400)
    left = f"in {days} days" if days else "within a day"
    text = f"the initial access token expires {left}"
    if days < _TOKEN_DAYS:
        return _warning(name, f"{text}: create another one")
    return ProviderCheck(name, CheckOutcome.OK, text)


def _claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, without verification: they are only shown (RFC 7519, section 3)."""
    part = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004
    try:
        claims = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _failed(name: str, text: str) -> ProviderCheck:
    return ProviderCheck(name, CheckOutcome.FAILED, text)


def _warning(name: str, text: str) -> ProviderCheck:
    return ProviderCheck(name, CheckOutcome.WARNING, text)
