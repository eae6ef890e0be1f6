"""Reads another portal over its REST API."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar
from uuid import UUID

import httpx
from google.protobuf.descriptor import Descriptor
from pydantic import ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from portal.rest.v1 import portal_rest_pb2
from portal_cli import documents, fields, unreachable
from portal_cli.errors import CommandError, Exit
from portal_cli.fields import Field
from portal_client import ClientType, Provider
from portal_client.connection import check_key

CID: Final = "CID"

_BASE: Final = "portal-api"
_ATTEMPTS: Final = 8
_BACKOFF: Final = wait_random_exponential(multiplier=0.2, max=10.0)
_LONGEST_WAIT_S: Final = 120.0
_BUSY: Final = {408, 425, 429, 500, 502, 503, 504}
# The default of the REST API, which every portal accepts.
_PER_PAGE: Final = 20
# Values that the REST API spells differently from the RFCs. `it_token` is intentional.
_WORDS: Final = {
    "it_token": "id_token",
    "initialaccesstoken": "initial_access_token",
    "clientcredentials": "client_credentials",
}
# Fields that the REST API names differently.
_RENAMED: Final = {
    "well_known_uri": "well_known_url",
    "tls_insecure_skip_verify": "ssl_insecure_skip_verify",
    "registration_endpoint": "registration_url",
    "grant_types": "grant_type",
}

# An element of a list in the portal's JSON; should be an object, may be anything.
Row = Any
Resource = TypeVar("Resource", Provider, ClientType)


class BadRow(Exception):
    """A row that cannot be imported; the text names it and the reason."""


class _BadResponse(Exception):
    """A response that is an error or not a list. Requests for other paths may succeed."""


class _Retryable(Exception):
    """A request that failed and may succeed later.

    Attributes:
        responded: whether there was a response.
        after: the seconds to wait that the response requests.
    """

    def __init__(self, text: str, *, responded: bool, after: float = 0.0) -> None:
        super().__init__(text)
        self.responded = responded
        self.after = after


class Source:
    """The portal to import from.

    Args:
        url: the base URL, with or without `/portal-api`.
        key: an API key that can read.
        timeout: seconds to wait for each response.
        per_page: rows of a page.
        notify: called with a line of text before each retry.

    Raises:
        CommandError: the URL or the API key is invalid.
    """

    def __init__(
        self, url: str, key: str, timeout: float, per_page: int, notify: Callable[[str], None]
    ) -> None:
        try:
            check_key(key)
        except ValueError as error:
            raise CommandError(str(error), Exit.USAGE) from None
        self._key = key
        self._per_page = per_page
        self._notify = notify
        self._reached = False
        # Redirects are not followed: the API key is for this host only.
        self._client = httpx.Client(
            base_url=_address(url),
            headers={"Authorization": key, "Accept": "application/json"},
            timeout=timeout,
            follow_redirects=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def providers(self) -> list[Row]:
        """All providers. Raises: CommandError."""
        try:
            return list(self._pages("/oauth-providers"))
        except _BadResponse as error:
            raise CommandError(f"{self._client.base_url}: {error}") from None

    def client_types(self, provider: Row) -> list[Row]:
        """All client types of a provider. Raises: BadRow, CommandError."""
        try:
            return list(self._pages(f"/oauth-providers/{provider['ID']}/client-types"))
        except _BadResponse as error:
            raise BadRow(f"provider {_title(provider)}: {error}") from None

    def _pages(self, path: str) -> Iterator[Row]:
        """All rows, page by page. A portal may cap `per_page`, so the end is an empty page.

        Concurrent inserts and deletes shift the pages: a row that repeats is skipped.
        """
        seen: set[int | str] = set()
        page = 1
        while rows := self._page(path, page):
            new = {name: row for row in rows if (name := _identity(row)) not in seen}
            if not new:  # the portal ignores `page`
                return
            yield from new.values()
            seen.update(new)
            page += 1

    def _page(self, path: str, page: int) -> list[Row]:
        query = {"page": page, "per_page": self._per_page}
        try:
            response: httpx.Response = self._retrying(self._get, path, query)
        except _Retryable as error:
            if error.responded:
                raise _BadResponse(str(error)) from None
            text = f"{self._client.base_url}: {error}; run the command again to continue"
            raise CommandError(text, Exit.NO_SERVER) from None
        status, errors = response.status_code, self._errors(response)
        if status == httpx.codes.BAD_REQUEST and page == 1 and self._per_page > _PER_PAGE:
            self._per_page = _PER_PAGE
            return self._page(path, page)
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            text = f"{self._client.base_url}: status {status} for GET {path}{errors}"
            raise CommandError(text, Exit.NO_PERMISSION)
        if status != httpx.codes.OK:
            raise _BadResponse(f"status {status} for GET {path}{errors}")
        rows: Any = None
        with suppress(ValueError, RecursionError):
            rows = response.json()
        if not isinstance(rows, list):
            raise _BadResponse(f"the response to GET {path} is not a JSON array")
        return rows

    def _get(self, path: str, query: dict[str, int]) -> httpx.Response:
        try:
            response = self._client.get(path, params=query)
        except httpx.RequestError as error:
            if final := unreachable.reason(error, self._client.base_url, reached=self._reached):
                text = f"{self._client.base_url}: {final}"
                raise CommandError(text, Exit.NO_SERVER) from None
            what = str(error) or type(error).__name__
            raise _Retryable(f"GET {path}: {what}", responded=False) from None
        self._reached = True
        if response.status_code in _BUSY:
            raise _Retryable(
                f"status {response.status_code} for GET {path}",
                responded=True,
                after=_seconds(response.headers.get("Retry-After", "")),
            )
        return response

    @property
    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception_type(_Retryable),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=_wait,
            before_sleep=lambda state: self._notify(f"{_failure(state)}; retrying"),
            reraise=True,
        )

    def _errors(self, response: httpx.Response) -> str:
        """The errors in a response, without the API key in case they repeat it."""
        if response.has_redirect_location:
            return f", a redirect to {response.headers['Location']}"
        try:
            errors = "; ".join(map(str, response.json()["errors"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        return f": {errors.replace(self._key, '<API key>')}"


def _address(url: str) -> httpx.URL:
    """The base URL of the REST API. Raises: CommandError."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise CommandError("--from: must be a URL such as https://old-portal", Exit.USAGE)
    path = parsed.path.rstrip("/")
    return parsed.copy_with(
        path=path if path.endswith(f"/{_BASE}") else f"{path}/{_BASE}", query=None, fragment=None
    )


def _failure(state: RetryCallState) -> _Retryable:
    error = state.outcome and state.outcome.exception()
    assert isinstance(error, _Retryable)  # noqa: S101 - nothing else is retried
    return error


def _wait(state: RetryCallState) -> float:
    return max(_BACKOFF(state), _failure(state).after)


def _seconds(text: str) -> float:
    """The seconds in `Retry-After` (RFC 9110, section 10.2.3); 0 for a date."""
    return min(float(text), _LONGEST_WAIT_S) if text.isdecimal() else 0.0


def _identity(row: Row) -> int | str:
    """The ID of a row, or the whole row if it has none."""
    if isinstance(row, dict) and _is_id(row.get("ID")):
        return int(row["ID"])
    return json.dumps(row, sort_keys=True)


def _is_id(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def provider(row: Row) -> Provider:
    """The provider in a row. Raises: BadRow."""
    what = f"provider {_title(row)}"
    if not _is_id(_object(row, what).get("ID")):
        raise BadRow(f"{what}: ID: must be an integer")
    return _resource(Provider, what, row)


def client_type(row: Row, parent: Row) -> ClientType:
    """The client type in a row of a provider. Raises: BadRow."""
    what = f"client type {_title(row)} of provider {_title(parent)}"
    return _resource(ClientType, what, _object(row, what))


def _title(row: Row) -> str:
    return f"{row.get('Name')!r} ({row.get('ID')})" if isinstance(row, dict) else "row"


def _object(row: Row, what: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadRow(f"{what}: not a JSON object: {json.dumps(row):.60}")
    return row


def _resource(kind: type[Resource], what: str, row: dict[str, Any]) -> Resource:
    resource = kind.DESCRIPTOR
    values = {
        field.name: _value(field, row.get(key(resource, field)))
        for field in fields.shared(resource)
    }
    given = {name: value for name, value in values.items() if value not in (None, "")}
    try:
        return documents.parse(kind, given | {"uid": _uid(row)})
    except ValidationError as error:
        raise BadRow(f"{what}: {documents.describe(error)}") from None


def _uid(row: dict[str, Any]) -> str | None:
    """The CID, if it is a UUID: the portal's own id of a resource."""
    try:
        return str(UUID(row.get(CID)))
    except (TypeError, ValueError, AttributeError):
        return None


def key(resource: Descriptor, field: Field) -> str:
    """The key of a field in the JSON of the REST API. Raises: KeyError."""
    rest = portal_rest_pb2.DESCRIPTOR.message_types_by_name[resource.name]
    return rest.fields_by_name[_RENAMED.get(field.name, field.name)].json_name


def _value(field: Field, value: Any) -> Any:
    """What a document has in place of a value of the REST API."""
    if not (field.numbers and isinstance(value, str)):
        return value  # as it is: validation accepts or rejects it
    words = [_word(word) for word in value.split(",")]
    # A repeated value counts once.
    return list(dict.fromkeys(filter(None, words))) if field.repeated else _word(value)


def _word(text: str) -> str:
    word = text.strip().lower()
    return _WORDS.get(word, word)
