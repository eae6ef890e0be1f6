"""What the messages of both native services have in common: ids, masks, pages, times."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Protocol
from zlib import crc32

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.fields import MAX_NAMED, quote
from portal_server.domain.lists import PageRange

# So many rows, each as long as may be, are a message that every gRPC client
# accepts: 4 MiB unless it is configured otherwise.
MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50

_TOKEN = struct.Struct(">qI")


class ListRequest(Protocol):
    """What every List request has (AIP-132, AIP-158)."""

    page_size: int
    page_token: str
    filter: str


class HasEtag(Protocol):
    """A resource, or a request to delete one."""

    etag: str


def together(*checks: Callable[[], Any]) -> list[Any]:
    """What each check returns.

    Raises:
        Invalid: some refuse; with the violations of all of them.
    """
    results: list[Any] = []
    broken: list[Violation] = []
    for check in checks:
        try:
            results.append(check())
        except Invalid as error:
            broken.extend(error.violations)
    if broken:
        raise Invalid(*broken)
    return results


def required_ids(**ids: int) -> None:
    """Accept ids that are given.

    Raises:
        Invalid: one is 0, which is how proto3 says "absent".
    """
    absent = [Violation(name, Rule.REQUIRED, "is required") for name, id_ in ids.items() if not id_]
    if absent:
        raise Invalid(*absent)


def masked_fields(mask: FieldMask, message: Message, writable: Collection[str]) -> set[str]:
    """The fields that an update writes (AIP-134).

    No mask: those that are set. `*`: all. Fields that callers cannot write are
    ignored (AIP-203).

    Raises:
        Invalid: the mask names a field that the message does not have.
    """
    if not mask.paths:
        return {field.name for field, _ in message.ListFields()} & set(writable)
    known: Any = message.DESCRIPTOR.fields_by_name
    unknown = [path for path in mask.paths if path != "*" and path not in known]
    if unknown:
        quoted = ", ".join(map(quote, unknown[:MAX_NAMED]))
        fields = ", ".join(writable)
        text = f"has unknown fields: {quoted}; allowed: {fields}, *"
        raise Invalid(Violation("update_mask", Rule.UNKNOWN_FIELD, text))
    return set(writable) if "*" in mask.paths else set(mask.paths) & set(writable)


def etags_of(message: HasEtag) -> set[str] | None:
    """The etag that must still be stored, if one is given (AIP-154)."""
    return {message.etag} if message.etag else None


def slice_of(request: ListRequest, *scope: object) -> PageRange:
    """The rows that a List request asks for.

    `scope` is what must be the same from page to page beside the filter: a
    token of another list is refused instead of giving wrong rows.

    Raises:
        Invalid: page_size is negative, or page_token is none of this list's.
    """
    size, after = together(lambda: _page_size(request.page_size), lambda: _after(request, scope))
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
    # Made again, because the decoder passes over what is no base 64.
    if after is None or request.page_token != page_token(after, request, *scope):
        text = "is not a token of this list: it must come from the same provider_id and filter"
        raise Invalid(Violation("page_token", Rule.MALFORMED, text))
    return int(after)


def page_token(after: int | None, request: ListRequest, *scope: object) -> str:
    """The token of the page after the row with this id; "" when there is none.

    The id is a fixed place in the list: rows that come or go before it move nothing.
    """
    if after is None:
        return ""
    packed = _TOKEN.pack(after, crc32(repr((*scope, request.filter, after)).encode()))
    return urlsafe_b64encode(packed).rstrip(b"=").decode()


def timestamp(time: datetime) -> Timestamp:
    """An aware time as a message."""
    return Timestamp(seconds=int(time.timestamp()), nanos=time.microsecond * 1000)
