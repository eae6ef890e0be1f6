"""Lists: which rows a caller requests, and the page that the caller gets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

MAX_CONDITIONS = 16
"""How many conditions a filter may have: each is checked for each row that a list reads."""
MAX_EXAMINED = 10_000
"""How many rows a page with a filter examines; the next page begins after those."""
MAX_OFFSET = 100_000
"""How many rows a page may skip."""


class Comparison(StrEnum):
    """How a condition compares (AIP-160)."""

    EQUALS = "="
    DIFFERS = "!="
    HAS = ":"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a list filter; a row must meet all of them.

    `value` is None for "unset". HAS means "contains": a part of a text, an
    element of a list.
    """

    field: str
    comparison: Comparison
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRange:
    """The rows of a page: skip `offset` rows after the id `after`, then return `limit` rows."""

    limit: int
    after: int = 0
    offset: int = 0


class HasId(Protocol):
    """A stored resource."""

    @property
    def id(self) -> int:
        """Its id."""


Item = TypeVar("Item", bound=HasId)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Resources in ascending order of id; `next_after` is None on the last page."""

    items: list[Item]
    next_after: int | None


def read_page(
    rows: PageRange,
    read: Callable[[PageRange], list[Item]],
    examined: Callable[[PageRange], int | None] = lambda _: None,
) -> Page[Item]:
    """The page with these rows; reads one row more, which shows whether another page follows.

    `examined` returns the last id that `read` has examined, if there may be rows after it that
    it has not. Such a page can have fewer items, or none (AIP-158).
    """
    items = read(replace(rows, limit=rows.limit + 1))
    if len(items) > rows.limit:
        items = items[: rows.limit]
        return Page(items, items[-1].id)
    return Page(items, examined(rows))
