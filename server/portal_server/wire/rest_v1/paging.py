"""The pages of the REST dialect: by number, with a limit."""

from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.lists import PageRange

# Each row is a message of its own.
MAX_PER_PAGE = 1000
DEFAULT_PER_PAGE = 20
# With it, the offset of a row has at most 64 bits.
MAX_PAGE_NUMBER = 2**31 - 1


def page_range(*, per_page: int | None, page: int | None, limit: int | None) -> PageRange:
    """The rows that the numbers of a request stand for; None is "not given".

    Raises:
        Invalid: a number is under 1 or over its maximum.
    """
    violations: list[Violation] = []
    for field, given, most in (
        ("per_page", per_page, MAX_PER_PAGE),
        ("page", page, MAX_PAGE_NUMBER),
        ("limit", limit, MAX_PER_PAGE),
    ):
        if given is not None and not 1 <= given <= most:
            message = f"must be between 1 and {most}"
            violations.append(Violation(field, Rule.OUT_OF_RANGE, message))
    if violations:
        raise Invalid(*violations)
    rows = per_page or DEFAULT_PER_PAGE
    return PageRange(limit=min(rows, limit or rows), offset=rows * ((page or 1) - 1))
