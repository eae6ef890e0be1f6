"""The pages of REST lists: by number, with a limit."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from portal.rest.v1 import portal_rest_pb2 as pb
from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.lists import MAX_OFFSET, Item, Page, PageRange

MAX_PER_PAGE = 10_000
DEFAULT_PER_PAGE = 20
# With it, the offset of a row has at most 64 bits.
MAX_PAGE_NUMBER = 2**31 - 1

# At most this many rows are in memory.
_ROWS_PER_READ = 200
_ROWS_PER_PART = 50


_List = pb.ListProvidersRequest | pb.ListClientTypesRequest | pb.ListClientsRequest


def page_range(request: _List) -> PageRange:
    """The rows that a request selects.

    Raises:
        Invalid: a number is under 1 or over its maximum.
    """
    violations: list[Violation] = []

    def number(field: str, most: int) -> int | None:
        if not request.HasField(field):  # type: ignore[arg-type]
            return None
        given: int = getattr(request, field)
        if not 1 <= given <= most:
            message = f"must be between 1 and {most}"
            violations.append(Violation(field, Rule.OUT_OF_RANGE, message))
        return given

    per_page = number("per_page", MAX_PER_PAGE) or DEFAULT_PER_PAGE
    page = number("page", MAX_PAGE_NUMBER) or 1
    limit = number("limit", MAX_PER_PAGE) or per_page
    if violations:
        raise Invalid(*violations)
    return PageRange(limit=min(per_page, limit), offset=per_page * (page - 1))


def read_parts(rows: PageRange, read: Callable[[PageRange], Page[Item]]) -> Iterator[list[Item]]:
    """The rows of a page, in the parts in which they are sent.

    Raises:
        Invalid: there are rows on this page, but too many before them.
    """
    found = _read_rows(rows, read)
    while part := list(islice(found, _ROWS_PER_PART)):
        yield part


def _read_rows(rows: PageRange, read: Callable[[PageRange], Page[Item]]) -> Iterator[Item]:
    if rows.offset > MAX_OFFSET:
        # Skipping rows takes as long as reading them.
        if not read(PageRange(limit=1, offset=MAX_OFFSET)).items:
            return
        text = f"a page begins after at most {MAX_OFFSET} rows; for more use the native API"
        raise Invalid(Violation("page", Rule.OUT_OF_RANGE, text))
    while True:
        part = read(replace(rows, limit=min(rows.limit, _ROWS_PER_READ)))
        yield from part.items
        rest = rows.limit - len(part.items)
        if not rest or part.next_after is None:
            return
        rows = PageRange(limit=rest, after=part.next_after)
