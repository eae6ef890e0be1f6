"""Kinds of fields, and the rule that each kind checks.

The table of a resource (`PROVIDER`, `CLIENT_TYPE`) has one entry for each field
that a caller can write. The checks, the filters and the OpenAPI document read
these tables: a limit or a vocabulary is written nowhere else.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from pydantic import AnyHttpUrl, TypeAdapter, ValidationError

from portal_server.domain.errors import Rule, Violation

# Errors quote the request in the trailers, which have 8 KiB.
MAX_NAMED = 8
"""How many unknown values an error names."""
_MAX_QUOTED = 40

# RFC 3986, section 4.3, an absolute-URI: no fragment. No user information either,
# because it would be a secret in every response. No flags, because the patterns of
# JSON Schema have none.
URI = re.compile(
    r"[hH][tT][tT][pP][sS]?://"
    r"(?:\w(?:[\w-]*\w)?(?:\.\w(?:[\w-]*\w)?)*\.?|\[[0-9a-fA-F:.]+\])"  # name or address
    r"(?::0*[1-9][0-9]{0,4})?"
    r"(?:[/?][^\s\x00-\x1f\x7f\\#]*)?"
)
_HTTP_URL = TypeAdapter(AnyHttpUrl)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is not in the vocabulary of its field.

    A surface passes it on, so that the check reports it together with all other
    violations; `text` is what the error quotes.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text of at most `max_length` Unicode characters."""

    max_length: int
    required: bool = False
    filterable: bool = False

    def check(self, name: str, given: str, violations: list[Violation]) -> str:
        """Add what is wrong with a value to the violations; returns the value."""
        if self.required and not given.strip():
            message = "must not be blank" if given else "is required"
            violations.append(Violation(name, Rule.REQUIRED, message))
        elif len(given) > self.max_length:
            message = f"is {len(given)} characters long; at most {self.max_length} are allowed"
            violations.append(Violation(name, Rule.TOO_LONG, message))
        elif "\0" in given:
            # SQLite stores NUL in a text, PostgreSQL does not.
            message = "must not contain the NUL character"
            violations.append(Violation(name, Rule.MALFORMED, message))
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Uri(Text):
    """An absolute http or https URL."""

    def check(self, name: str, given: str, violations: list[Violation]) -> str:
        """Add what is wrong with a value to the violations; returns the value."""
        before = len(violations)
        Text.check(self, name, given, violations)
        if len(violations) == before and not _is_http_url(given):
            message = "must be an absolute http or https URL without user information or fragment"
            violations.append(Violation(name, Rule.MALFORMED, message))
        return given


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    filterable = False

    def check(self, _name: str, given: bool, _violations: list[Violation]) -> bool:  # noqa: FBT001
        """Any value is valid."""
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a vocabulary; None where it is not set."""

    vocabulary: type[StrEnum]
    required: bool = False
    filterable: bool = True

    def check(
        self, name: str, given: StrEnum | Unknown | None, violations: list[Violation]
    ) -> StrEnum | None:
        """Add what is wrong with a value to the violations; returns the word."""
        if isinstance(given, Unknown):
            violations.append(_unknown(name, given, self.vocabulary))
            return None
        if given is None and self.required:
            violations.append(missing(name, self.vocabulary))
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A list of words of a vocabulary. Duplicates are dropped, the order is kept."""

    vocabulary: type[StrEnum]
    required: bool = False
    filterable: bool = True

    def check(
        self, name: str, given: Iterable[StrEnum | Unknown], violations: list[Violation]
    ) -> tuple[StrEnum, ...]:
        """Add what is wrong with a value to the violations; returns the words."""
        once = dict.fromkeys(given)
        unknown = [word for word in once if isinstance(word, Unknown)]
        violations.extend(_unknown(name, word, self.vocabulary) for word in unknown[:MAX_NAMED])
        if not once and self.required:
            message = "needs at least one value"
            violations.append(Violation(name, Rule.REQUIRED, message, tuple(self.vocabulary)))
        return tuple(word for word in once if not isinstance(word, Unknown))


Field: TypeAlias = Text | Uri | Flag | Word | Words
"""A kind of field with its limits."""


def check(draft: object, table: Mapping[str, Field], violations: list[Violation]) -> dict[str, Any]:
    """Add what is wrong with a draft to the violations; returns its values by name of field."""
    return {
        name: field.check(name, getattr(draft, name), violations) for name, field in table.items()
    }


def values_of(source: object, table: Mapping[str, Field]) -> dict[str, Any]:
    """The values of a resource's fields, by name."""
    return {name: getattr(source, name) for name in table}


def missing(name: str, vocabulary: Iterable[StrEnum] = ()) -> Violation:
    """The violation of a required field that is not set."""
    return Violation(name, Rule.REQUIRED, "is required", tuple(vocabulary))


def quote(text: str) -> str:
    """A text of the request as an error quotes it: shortened where it is long."""
    return f'"{text}"' if len(text) <= _MAX_QUOTED else f'"{text[:_MAX_QUOTED]}…"'


def _unknown(name: str, word: Unknown, vocabulary: type[StrEnum]) -> Violation:
    message = f"unknown value {quote(word.text)}"
    return Violation(name, Rule.UNKNOWN_VALUE, message, tuple(vocabulary))


def _is_http_url(text: str) -> bool:
    # The pattern decides the form, pydantic whether such a host can exist.
    try:
        return bool(URI.fullmatch(text) and _HTTP_URL.validate_python(text))
    except ValidationError:
        return False
