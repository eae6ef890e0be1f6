"""Another portal, read over the REST API that portals have."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar

import httpx
from pydantic import ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from portal_cli.documents import ClientTypeDocument, ProviderDocument, described
from portal_cli.errors import CommandError, Exit
from portal_client.connection import check_key

_BASE: Final = "portal-api"
_TRIES: Final = 8
_BACKOFF: Final = wait_random_exponential(multiplier=0.2, max=10.0)
_LONGEST_WAIT_S: Final = 120.0
_BUSY: Final = {408, 425, 429, 500, 502, 503, 504}
# What every portal takes: it is the default.
_PER_PAGE: Final = 20
# Where the dialect has another word than the RFCs. `it_token` is *sic*.
_WORDS: Final = {"it_token": "id_token"}

# Of the old portal's JSON: an object, or whatever stands in its place.
Row = Any
Document = TypeVar("Document", ProviderDocument, ClientTypeDocument)


class BadRow(Exception):
    """A row that cannot be taken over; the text says which and why."""


class _BadAnswer(Exception):
    """What was asked for is not to be had; something else may be."""


class _TryAgain(Exception):
    """The portal did not answer, or not yet."""

    def __init__(self, text: str, *, answered: bool, after: float = 0.0) -> None:
        """Take what happened, whether it answered, and the seconds that it asks to wait for."""
        super().__init__(text)
        self.answered = answered
        self.after = after


class Source:
    """A portal to read from."""

    def __init__(
        self, url: str, key: str, timeout: float, per_page: int, told: Callable[[str], None]
    ) -> None:
        """Take where it is and how to ask.

        Args:
            url: its address, with or without `/portal-api`.
            key: a key that may read.
            timeout: seconds to wait for each answer.
            per_page: rows to ask for at a time.
            told: gets a line for people when something is tried again.

        Raises:
            CommandError: the address or the key is none.
        """
        try:
            check_key(key)
        except ValueError as error:
            raise CommandError(str(error), Exit.USAGE) from None
        self._key = key
        self._per_page = per_page
        self._told = told
        # A portal may be slow; a dropped connection is tried again with a new one. No redirect is
        # followed: the key is for the host that was named.
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
        except _BadAnswer as error:
            raise CommandError(f"{self._client.base_url}: {error}") from None

    def client_types(self, provider: Row) -> list[Row]:
        """All client types of a provider. Raises: BadRow, CommandError."""
        try:
            return list(self._pages(f"/oauth-providers/{provider['ID']}/client-types"))
        except _BadAnswer as error:
            raise BadRow(f"provider {_title(provider)}: {error}") from None

    def _pages(self, path: str) -> Iterator[Row]:
        """All rows, page by page. A portal may cap `per_page`: the end is an empty page.

        Rows that come or go meanwhile shift the pages: a row that comes twice is passed over.
        """
        seen: set[int | str] = set()
        page = 1
        while rows := self._page(path, page):
            new = {name: row for row in rows if (name := _identity(row)) not in seen}
            if not new:  # it knows no pages
                return
            yield from new.values()
            seen.update(new)
            page += 1

    def _page(self, path: str, page: int) -> list[Row]:
        query = {"page": page, "per_page": self._per_page}
        try:
            answer: httpx.Response = self._try_again(self._get, path, query)
        except _TryAgain as error:
            if error.answered:
                raise _BadAnswer(str(error)) from None
            raise CommandError(f"{self._client.base_url}: {error}; start again to go on") from None
        status, said = answer.status_code, self._errors(answer)
        if status == httpx.codes.BAD_REQUEST and page == 1 and self._per_page > _PER_PAGE:
            self._per_page = _PER_PAGE
            return self._page(path, page)
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise CommandError(f"{self._client.base_url} answers {status} to GET {path}{said}")
        if status != httpx.codes.OK:
            raise _BadAnswer(f"it answers {status} to GET {path}{said}")
        rows: Any = None
        with suppress(ValueError, RecursionError):
            rows = answer.json()
        if not isinstance(rows, list):
            raise _BadAnswer(f"it answers no array to GET {path}")
        return rows

    def _get(self, path: str, query: dict[str, int]) -> httpx.Response:
        try:
            answer = self._client.get(path, params=query)
        except httpx.RequestError as error:
            what = str(error) or type(error).__name__
            raise _TryAgain(f"GET {path}: {what}", answered=False) from None
        if answer.status_code in _BUSY:
            raise _TryAgain(
                f"it answers {answer.status_code} to GET {path}",
                answered=True,
                after=_seconds(answer.headers.get("Retry-After", "")),
            )
        return answer

    @property
    def _try_again(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(_TRIES),
            wait=_wait,
            before_sleep=self._tell,
            reraise=True,
        )

    def _tell(self, state: RetryCallState) -> None:
        self._told(f"{_failure(state)}; trying again")

    def _errors(self, answer: httpx.Response) -> str:
        """What it says of a refusal, without the key should it repeat that."""
        if answer.has_redirect_location:
            return f", to be sent to {answer.headers['Location']}"
        try:
            said = "; ".join(map(str, answer.json()["errors"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        return f": {said.replace(self._key, '<the key>')}"


def _address(url: str) -> httpx.URL:
    """The address of its API. Raises: CommandError."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise CommandError("--from: must be an address such as https://old-portal", Exit.USAGE)
    path = parsed.path.rstrip("/")
    return parsed.copy_with(
        path=path if path.endswith(f"/{_BASE}") else f"{path}/{_BASE}", query=None, fragment=None
    )


def _failure(state: RetryCallState) -> _TryAgain:
    error = state.outcome and state.outcome.exception()
    assert isinstance(error, _TryAgain)  # noqa: S101 - nothing else is tried again
    return error


def _wait(state: RetryCallState) -> float:
    return max(_BACKOFF(state), _failure(state).after)


def _seconds(text: str) -> float:
    """What `Retry-After` asks for (RFC 9110, section 10.2.3); of a date, nothing."""
    return min(float(text), _LONGEST_WAIT_S) if text.isdecimal() else 0.0


def _identity(row: Row) -> int | str:
    """Its ID; of a row that has none, all of it."""
    if isinstance(row, dict) and _is_id(row.get("ID")):
        return int(row["ID"])
    return json.dumps(row, sort_keys=True)


def _is_id(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def provider(row: Row) -> ProviderDocument:
    """A provider of the dialect, without its client types. Raises: BadRow."""
    what = f"provider {_title(row)}"
    values = _object(row, what)
    if not _is_id(values.get("ID")):
        raise BadRow(f"{what}: ID: must be an integer")
    return _document(
        ProviderDocument,
        what,
        {
            "name": values.get("Name"),
            "type": str(values.get("Type") or "").lower(),
            "well_known_uri": values.get("WellKnownURL"),
            "tls_insecure_skip_verify": values.get("SSLInsecureSkipVerify") or False,
        },
    )


def client_type(row: Row, where: Row) -> ClientTypeDocument:
    """A client type of the dialect, of this provider. Raises: BadRow."""
    what = f"client type {_title(row)} of provider {_title(where)}"
    values = _object(row, what)
    return _document(
        ClientTypeDocument,
        what,
        {
            "name": values.get("Name"),
            "description": values.get("Description") or "",
            "response_types": _words(values.get("ResponseTypes")),
            "grant_types": _words(values.get("GrantType")),
            "token_endpoint_auth_method": values.get("TokenEndpointAuthMethod") or None,
            "okta_app_type": values.get("OktaAppType") or None,
        },
    )


def _title(row: Row) -> str:
    return f"{row.get('Name')!r} ({row.get('ID')})" if isinstance(row, dict) else "row"


def _object(row: Row, what: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadRow(f"{what}: is no object: {json.dumps(row):.60}")
    return row


def _document(kind: type[Document], what: str, values: dict[str, Any]) -> Document:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise BadRow(f"{what}: {described(error)}") from None


def _words(text: Any) -> Any:
    """A comma-separated list, each word once; anything else as it is, for the check to refuse."""
    if not isinstance(text, str):
        return text
    words = (word.strip() for word in text.split(","))
    return list(dict.fromkeys(_WORDS.get(word, word) for word in words if word))
