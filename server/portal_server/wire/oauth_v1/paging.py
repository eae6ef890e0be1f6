"""Ids and pages of the native requests, and checks whose violations are reported together."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Protocol
from zlib import crc32

from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.fields import missing
from portal_server.domain.lists import PageRange

# This many rows of maximum size fit into the 4 MiB that a gRPC client accepts by default.
MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50

_TOKEN = struct.Struct(">qI")


class ListRequest(Protocol):
    """The fields of every List request (AIP-158). Most also have a `filter` (AIP-132)."""

    page_size: int
    page_token: str


def collect_violations(*checks: Callable[[], Any]) -> list[Any]:
    """Run all checks; returns what each returns.

    Raises:
        Invalid: with the violations of all checks that raise it.
    """
    results: list[Any] = []
    violations: list[Violation] = []
    for check in checks:
        try:
            results.append(check())
        except Invalid as error:
            violations.extend(error.violations)
    if violations:
        raise Invalid(*violations)
    return results


def required_ids(**ids: int | str) -> None:
    """Accept ids that are set.

    Raises:
        Invalid: one is 0 or empty, which stands for "not set" in proto3.
    """
    absent = [missing(name) for name, id_ in ids.items() if not id_]
    if absent:
        raise Invalid(*absent)


def page_range(request: ListRequest, *scope: object) -> PageRange:
    """The rows that a List request selects.

    `scope` is what must be the same for all pages, in addition to the filter: a token of
    another list is rejected, because it would return the wrong rows.

    Raises:
        Invalid: page_size is negative, or page_token is not from this list.
    """
    size, after = collect_violations(
        lambda: _page_size(request.page_size), lambda: _after(request, scope)
    )
    return PageRange(limit=size, after=after)


def _page_size(given: int) -> int:
    if given < 0:
        raise Invalid(Violation("page_size", Rule.OUT_OF_RANGE, "must not be negative"))
    return min(given or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def _after(request: ListRequest, scope: tuple[object, ...]) -> int:
    if not request.page_token:
        return 0
    try:
        after, _ = _TOKEN.unpack(urlsafe_b64decode(request.page_token + "=="))
    except (ValueError, struct.error):
        after = None
    # Compared with a new token, because the decoder skips characters that are not base 64.
    if after is None or request.page_token != page_token(after, request, *scope):
        text = "is not a token of this list: provider_id and filter must be the same"
        raise Invalid(Violation("page_token", Rule.MALFORMED, text))
    return int(after)


def page_token(after: int | None, request: ListRequest, *scope: object) -> str:
    """The token of the page after the row with this id; "" for None: there are no more pages.

    An id, unlike a number of rows, stays valid when rows before it are added or deleted.
    """
    if after is None:
        return ""
    packed = _TOKEN.pack(
        after, crc32(repr((*scope, getattr(request, "filter", ""), after)).encode())
    )
    return urlsafe_b64encode(packed).rstrip(b"=").decode()
