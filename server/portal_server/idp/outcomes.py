"""What a response means: a client, or an error with the provider's text."""

import json
import re
import time
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from portal_server.domain.client import ProviderClient
from portal_server.domain.errors import (
    NotSent,
    OutcomeUnknown,
    ProviderError,
    Reason,
    Rejected,
)
from portal_server.idp import urls
from portal_server.idp.connection import Response

MAX_WORDS = 500
"""How much of a provider's text is passed on, in characters."""
_MAX_ID = 255
_MAX_SECRET = 4096
_MAX_TOKEN = 16384
# The longest metadata that this portal sends is less than half as long.
_MAX_METADATA = 32 * 1024
_MIN_HIDDEN = 4
_TAG = re.compile(r"<[^<>]{0,200}>")
# What RFC 7591, section 3.2.1, adds to the metadata. The rest of a client's data is its metadata.
_ADDED = frozenset(
    {
        "client_id",
        "client_secret",
        "client_id_issued_at",
        "client_secret_expires_at",
        "registration_access_token",
        "registration_client_uri",
    }
)
# RFC 9110, section 15: responses of 3xx and 4xx say that the request was not carried out, with two
# exceptions. 303 (15.4.4) redirects to the result of a request that may have been carried out.
# 408 (15.5.9) is also sent by gateways that have waited for the provider.
_MAYBE_DONE = frozenset({HTTPStatus.SEE_OTHER, HTTPStatus.REQUEST_TIMEOUT})
# Of 5xx, only these say that the server could not begin: the method is not implemented (RFC 9110,
# section 15.6.2), neither is the version of HTTP (15.6.6), or a network lets no request through
# (RFC 6585, section 6). Gateways send 502, 503 and 504 after a request has reached the provider.
_NEVER_DONE = frozenset(
    {
        HTTPStatus.NOT_IMPLEMENTED,
        HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
        HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED,
    }
)
# RFC 6750, section 2.1, and what RFC 6749 allows in a token (appendix A.12).
_TOKEN = re.compile(r"[!-~]+")


def is_success(response: Response) -> bool:
    """Whether the status reports success (RFC 9110, section 15.3)."""
    return HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES


def is_rejection(status: int) -> bool:
    """Whether the provider did nothing of what was requested (RFC 9110, section 15)."""
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return status not in _MAYBE_DONE
    return status in _NEVER_DONE


def clean(text: object, hidden: Iterable[str] = ()) -> str:
    """A text of a provider as callers see it: one short line, without HTML and `hidden`."""
    if not isinstance(text, str):
        return ""
    for secret in hidden:
        if len(secret) >= _MIN_HIDDEN:
            text = text.replace(secret, "[secret]")
    text = _TAG.sub(" ", text[: MAX_WORDS * 8]).replace("<", " ").replace(">", " ")
    text = "".join(" " if unicodedata.category(each)[0] == "C" else each for each in text)
    text = " ".join(text.split())
    return text if len(text) <= MAX_WORDS else f"{text[: MAX_WORDS - 1]}…"


def failure(
    response: Response, hidden: Iterable[str] = (), *, credential: str = "credential"
) -> ProviderError:
    """The error that a response is; `credential` is what was presented.

    `is_rejection` tells which statuses mean that nothing was done. A success counts as an error
    if its body cannot be used.
    """
    status = response.status
    error, description = _words(response, hidden)
    words = ": ".join(part for part in (error, description) if part)
    text = f"the provider responded with status {status}" + (f": {words}" if words else "")
    wait_s = _retry_after_s(response)
    kind: type[ProviderError] = Rejected
    reason = Reason.PROVIDER_REJECTED
    if is_success(response):
        problem = response.problem or "has no client_id, or is not a JSON object"
        text = f"the provider responded with status {status}, but its response {problem}"
        kind, reason = OutcomeUnknown, Reason.PROVIDER_OUTCOME_UNKNOWN
        if response.timed_out:
            reason = Reason.PROVIDER_TIMEOUT
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        reason = Reason.PROVIDER_BUSY
    elif status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        reason = Reason.PROVIDER_CREDENTIAL_REJECTED
        text = (
            f"the provider does not accept the {credential}; it{text.removeprefix('the provider')}"
        )
    elif HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        text += f"; it redirects{_redirect(response)}, but such requests do not follow redirects"
    if not (is_success(response) or is_rejection(status)):
        kind, reason = OutcomeUnknown, Reason.PROVIDER_OUTCOME_UNKNOWN
    result = kind(
        reason,
        text,
        http_status=status,
        error=error,
        description=description,
        retry_after_s=wait_s,
    )
    if isinstance(result, OutcomeUnknown) and is_success(response):
        result.client_id = _located(response)
    return result


def not_sent(error: ProviderError, what: str) -> NotSent:
    """The error of a request that prepared another one, which was then not sent."""
    reason = error.reason
    if not isinstance(error, NotSent) and reason is not Reason.PROVIDER_BUSY:
        reason = Reason.PROVIDER_UNREACHABLE
    return NotSent(
        reason,
        f"{what}: {error.message}",
        http_status=error.http_status,
        error=error.error,
        description=error.description,
        retry_after_s=error.retry_after_s,
    )


def client_of(response: Response, hidden: Iterable[str]) -> ProviderClient:
    """The client of a successful response (RFC 7591, section 3.2.1; RFC 7592, section 3).

    Its registration_client_uri may be at another origin, which must not see its token.

    Raises:
        OutcomeUnknown, Rejected: the response has no client.
    """
    document = response.json() if is_success(response) else None
    if not isinstance(document, dict) or not _is_text(document.get("client_id"), _MAX_ID):
        raise failure(response, hidden)
    secret = document.get("client_secret") or ""
    if not (secret == "" or _is_text(secret, _MAX_SECRET)):
        raise failure(response, hidden)
    return ProviderClient(
        client_id=document["client_id"],
        metadata=metadata_of(document),
        client_secret=secret,
        registration_client_uri=_uri_of(document),
        registration_access_token=token_of(document, "registration_access_token"),
        client_id_issue_time=_time(document.get("client_id_issued_at")),
        client_secret_expire_time=_time(document.get("client_secret_expires_at")),
    )


def metadata_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata in a client's document: without secrets, and storable in both databases.

    It is bounded: a value that would make it longer than 32 KiB of JSON is omitted, and so
    is null, which some providers return for dozens of settings.
    """
    metadata = {
        name: storable(value)
        for name, value in document.items()
        if not (value is None or name in _ADDED or "secret" in name or storable(name) != name)
    }
    if len(json.dumps(metadata)) <= _MAX_METADATA:
        return metadata
    bounded: dict[str, Any] = {}
    left = _MAX_METADATA
    for name, value in metadata.items():
        length = len(name) + len(json.dumps(value))
        if length <= left:
            left -= length
            bounded[name] = value
    return bounded


def token_of(document: Mapping[str, Any], name: str) -> str:
    """A token that is valid in a header; "" if there is none."""
    value = document.get(name)
    usable = isinstance(value, str) and len(value) <= _MAX_TOKEN and _TOKEN.fullmatch(value)
    return str(value) if usable else ""


def storable(value: Any) -> Any:
    """A JSON value without NUL and lone surrogates, which databases do not store."""
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        return value.replace("\0", "�").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [storable(each) for each in value]
    if isinstance(value, dict):
        return {str(storable(name)): storable(each) for name, each in value.items()}
    return value


def _is_text(value: object, most: int) -> bool:
    # RFC 6749, appendix A: printable ASCII. Some providers have other letters in ids.
    return isinstance(value, str) and 0 < len(value) <= most and value.isprintable()


def _uri_of(document: Mapping[str, Any]) -> str:
    text = document.get("registration_client_uri")
    url = urls.parse(text) if isinstance(text, str) else None
    return url.text if url else ""


def _time(value: object) -> datetime | None:
    """Seconds since 1970 as a time; None for 0, which means never, and for what is not a number."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    try:
        return datetime.fromtimestamp(int(value), UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _words(response: Response, hidden: Iterable[str]) -> tuple[str, str]:
    """The provider's error and description (RFC 7591, section 3.2.2, or Okta's dialect)."""
    document = response.json()
    if not isinstance(document, dict):
        return "", ""
    hidden = tuple(hidden)
    error = clean(document.get("error") or document.get("errorCode"), hidden)
    parts = [
        document.get("error_description")
        or document.get("errorSummary")
        or document.get("errorMessage")
        or document.get("message")
    ]
    causes = document.get("errorCauses")
    if isinstance(causes, list):
        parts += [each.get("errorSummary") for each in causes[:8] if isinstance(each, dict)]
    description = "; ".join(text for part in parts if (text := clean(part, hidden)))
    return error, clean(description)


def _retry_after_s(response: Response) -> float:
    """How long to wait (RFC 9110, section 10.2.3, or Okta's header); at most an hour."""
    text = response.headers.get("retry-after", "")
    wait = 0.0
    if text.isascii() and text.isdigit():
        wait = float(text[:9])
    elif text:
        try:
            wait = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError, OSError):
            wait = 0.0
    else:
        reset = response.headers.get("x-rate-limit-reset", "")
        if reset.isascii() and reset.isdigit():
            wait = float(reset[:12]) - time.time()
    return min(max(wait, 0.0), 3600.0)


def _redirect(response: Response) -> str:
    url = urls.parse(response.headers.get("location", ""))
    return f" to {url.origin}" if url else ""


def _located(response: Response) -> str:
    """The client_id at the end of the Location header, as Keycloak and Hydra send it.

    It is available even if the body was truncated, so the client can be identified.
    """
    path = response.headers.get("location", "").partition("?")[0].partition("#")[0]
    text = unquote(path.rstrip("/").rpartition("/")[2])
    return text if _is_text(text, _MAX_ID) else ""
