"""Lists: which rows a caller asks for, and the page that they get."""

from dataclasses import dataclass
from enum import StrEnum

MAX_CONDITIONS = 16
"""How many conditions a filter may have: each is checked for each row that a list reads."""


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
