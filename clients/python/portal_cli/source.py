"""Another portal, read over the REST API that portals have."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar

import httpx
from pydantic import ValidationError
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from portal_cli.documents import ClientTypeDocument, ProviderDocument, described
from portal_cli.errors import CommandError

_BASE: Final = "portal-api"
_TRIES: Final = 6
_MAX_WAIT_S: Final = 10.0
_BUSY: Final = {408, 425, 429, 500, 502, 503, 504}
# Where the dialect has another word than the RFCs. `it_token` is *sic*.
_WORDS: Final = {"it_token": "id_token"}

Row = dict[str, Any]
Document = TypeVar("Document", ProviderDocument, ClientTypeDocument)


class BadRow(Exception):
    """A row that cannot be taken over; the text says which and why."""


class _TryAgain(Exception):
    """The portal did not answer, or not yet."""


class Source:
    """A portal to read from."""

    def __init__(self, url: str, key: str, timeout: float, per_page: int) -> None:
        """Take its address, with or without `/portal-api`, a key, and seconds for an answer."""
        base = url.rstrip("/")
        if not base.endswith(_BASE):
            base = f"{base}/{_BASE}"
        self._per_page = per_page
        # A portal may be slow; a dropped connection is tried again with a new one.
        self._client = httpx.Client(
            base_url=base,
            headers={"Authorization": key, "Accept": "application/json"},
            timeout=timeout,
            follow_redirects=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def providers(self) -> list[Row]:
        """All providers. Raises: CommandError."""
        return list(self._pages("/oauth-providers"))

    def client_types(self, provider: Row) -> list[Row]:
        """All client types of a provider. Raises: CommandError."""
        return list(self._pages(f"/oauth-providers/{provider['ID']}/client-types"))

    def _pages(self, path: str) -> Iterator[Row]:
        """All rows, page by page. A portal may cap `per_page`: the end is an empty page.

        Rows that come or go meanwhile shift the pages: a row that comes twice is passed over.
        """
        seen: set[Any] = set()
        page = 1
        while rows := self._get(path, page):
            new = [row for row in rows if row.get("ID") not in seen]
            if not new:  # it knows no pages
                return
            yield from new
            seen.update(row.get("ID") for row in new)
            page += 1

    def _get(self, path: str, page: int) -> list[Row]:
        try:
            return self._try_again(self._try_to_get, path, page)
        except _TryAgain as error:
            raise CommandError(f"{self._client.base_url}: {error}; start again to go on") from None

    def _try_to_get(self, path: str, page: int) -> list[Row]:
        try:
            answer = self._client.get(path, params={"page": page, "per_page": self._per_page})
        except httpx.TransportError as error:
            raise _TryAgain(str(error) or type(error).__name__) from None
        except httpx.InvalidURL as error:
            raise CommandError(f"{self._client.base_url}: {error}") from None
        if answer.status_code in _BUSY:
            raise _TryAgain(f"answers {answer.status_code} to GET {path}")
        if answer.status_code != httpx.codes.OK:
            raise CommandError(
                f"{self._client.base_url} answers {answer.status_code} to GET {path}"
                f"{_errors(answer)}"
            )
        rows: Any = None
        with suppress(ValueError):
            rows = answer.json()
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise CommandError(f"{self._client.base_url}: GET {path} answers no array of objects")
        return [dict(row) for row in rows]

    @property
    def _try_again(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(_TRIES),
            wait=wait_exponential_jitter(initial=0.2, max=_MAX_WAIT_S),
            reraise=True,
        )


def _errors(answer: httpx.Response) -> str:
    try:
        return ": " + "; ".join(map(str, answer.json()["errors"]))
    except (ValueError, KeyError, TypeError):
        return ""


def provider(row: Row) -> ProviderDocument:
    """A provider of the dialect, without its client types. Raises: BadRow."""
    return _document(
        ProviderDocument,
        f"provider {_title(row)}",
        {
            "name": row.get("Name"),
            "type": str(row.get("Type") or "").lower(),
            "well_known_uri": row.get("WellKnownURL"),
            "tls_insecure_skip_verify": row.get("SSLInsecureSkipVerify") or False,
        },
    )


def client_type(row: Row, where: Row) -> ClientTypeDocument:
    """A client type of the dialect, of this provider. Raises: BadRow."""
    return _document(
        ClientTypeDocument,
        f"client type {_title(row)} of provider {_title(where)}",
        {
            "name": row.get("Name"),
            "description": row.get("Description") or "",
            "response_types": _words(row.get("ResponseTypes")),
            "grant_types": _words(row.get("GrantType")),
            "token_endpoint_auth_method": row.get("TokenEndpointAuthMethod") or None,
            "okta_app_type": row.get("OktaAppType") or None,
        },
    )


def _document(kind: type[Document], what: str, values: Row) -> Document:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise BadRow(f"{what}: {described(error)}") from None


def _title(row: Row) -> str:
    return f"{row.get('Name')!r} ({row.get('ID')})"


def _words(text: Any) -> Any:
    """A comma-separated list, each word once; anything else as it is, for the check to refuse."""
    if not isinstance(text, str):
        return text
    words = (word.strip() for word in text.split(","))
    return list(dict.fromkeys(_WORDS.get(word, word) for word in words if word))
