"""Kinds of fields, and the rule that each kind checks.

The table of a resource (`PROVIDER`, `CLIENT_TYPE`) has one entry for each field
that a caller can write. The checks, the filters and the OpenAPI document read
these tables: no other code has a limit or a vocabulary.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from portal_server.domain.certificates import certificate_problem
from portal_server.domain.errors import Rule, Violation
from portal_server.domain.redirect_uris import redirect_uri_problem
from portal_server.domain.urls import is_http_url

# Errors quote the request in the trailers, which have 8 KiB.
MAX_NAMED = 8
"""How many unknown values an error names."""
_MAX_QUOTED = 40

# RFC 6749, section 3.3.
SCOPE = re.compile(r"[!#-[\]-~]+(?: [!#-[\]-~]+)*")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is not in the vocabulary of its field.

    An API passes it on, so that the check reports it together with all other violations;
    the error quotes `text`.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text of at most `max_length` Unicode characters."""

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
            # SQLite stores NUL in text, PostgreSQL does not.
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
        if len(violations) == before and given and not is_http_url(given):
            message = "must be an absolute http or https URL without user information or fragment"
            violations.append(Violation(name, Rule.MALFORMED, message))
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem(Text):
    """Certificates in the PEM format (RFC 7468)."""

    def check(self, name: str, given: str, violations: list[Violation]) -> str:
        """Add what is wrong with a value to the violations; returns the value."""
        before = len(violations)
        Text.check(self, name, given, violations)
        problem = certificate_problem(given) if given and len(violations) == before else ""
        if problem:
            violations.append(Violation(name, Rule.MALFORMED, problem))
        return given


class Sealed(str):
    """A secret as it is stored: encrypted, and readable only with the encryption key."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret(Text):
    """A text that is stored encrypted and is in no response."""

    def check(self, name: str, given: str, violations: list[Violation]) -> str:
        """Add what is wrong with a value to the violations; returns the value."""
        # A stored secret was checked before it was stored.
        return given if isinstance(given, Sealed) else Text.check(self, name, given, violations)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    filterable = False

    def check(self, _name: str, given: bool, _violations: list[Violation]) -> bool:  # noqa: FBT001
        """Any value is valid."""
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a vocabulary; None if it is not set."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RedirectUris:
    """Redirect URIs (RFC 6749, section 3.1.2), in their order. Duplicates are dropped."""

    max_count: int
    max_length: int
    max_total: int
    """Characters of all URIs: a list of clients has them all."""
    required = False
    filterable = False

    def check(
        self, name: str, given: Iterable[str], violations: list[Violation]
    ) -> tuple[str, ...]:
        """Add what is wrong with a value to the violations; returns the URIs."""
        once = tuple(dict.fromkeys(given))
        if len(once) > self.max_count:
            message = f"has {len(once)} URIs; at most {self.max_count} are allowed"
            violations.append(Violation(name, Rule.OUT_OF_RANGE, message))
            return once
        total = sum(map(len, once))
        if total > self.max_total:
            message = f"has {total} characters; at most {self.max_total} are allowed"
            violations.append(Violation(name, Rule.TOO_LONG, message))
            return once
        for uri in once:
            problem = redirect_uri_problem(uri, self.max_length)
            if problem:
                violations.append(Violation(name, Rule.MALFORMED, f"{quote(uri)} {problem}"))
        return once


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope(Text):
    """Scope values, separated by single spaces (RFC 6749, section 3.3)."""

    def check(self, name: str, given: str, violations: list[Violation]) -> str:
        """Add what is wrong with a value to the violations; returns the value."""
        before = len(violations)
        Text.check(self, name, given, violations)
        if len(violations) == before and given and not SCOPE.fullmatch(given):
            message = "must be scope values separated by single spaces"
            violations.append(Violation(name, Rule.MALFORMED, message))
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Keys and values of the caller."""

    max_count: int
    max_key_length: int
    max_value_length: int
    required = False
    filterable = False

    def check(
        self, name: str, given: Mapping[str, str], violations: list[Violation]
    ) -> dict[str, str]:
        """Add what is wrong with a value to the violations; returns the labels."""
        if len(given) > self.max_count:
            message = f"has {len(given)} keys; at most {self.max_count} are allowed"
            violations.append(Violation(name, Rule.OUT_OF_RANGE, message))
            return dict(given)
        key = Text(max_length=self.max_key_length, required=True)
        value = Text(max_length=self.max_value_length)
        for each, text in given.items():
            found: list[Violation] = []
            key.check(name, each, found)
            value.check(name, text, found)
            violations += (
                Violation(name, one.rule, f"{quote(each)} {one.message}") for one in found
            )
        return dict(sorted(given.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """A whole number from 1; None if it is not set."""

    maximum: int
    required = False
    filterable = False

    def check(self, name: str, given: int | None, violations: list[Violation]) -> int | None:
        """Add what is wrong with a value to the violations; returns the number."""
        if given is not None and not 1 <= given <= self.maximum:
            message = f"must be from 1 to {self.maximum}"
            violations.append(Violation(name, Rule.OUT_OF_RANGE, message))
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """Ids of resources. Duplicates are dropped, the order is kept."""

    max_count: int
    required = False
    filterable = False

    def check(
        self, name: str, given: Iterable[int], violations: list[Violation]
    ) -> tuple[int, ...]:
        """Add what is wrong with a value to the violations; returns the ids."""
        once = tuple(dict.fromkeys(given))
        if len(once) > self.max_count:
            message = f"has {len(once)} ids; at most {self.max_count} are allowed"
            violations.append(Violation(name, Rule.OUT_OF_RANGE, message))
        elif any(id_ < 1 for id_ in once):
            violations.append(Violation(name, Rule.OUT_OF_RANGE, "must be ids, which begin at 1"))
        return once


@dataclass(frozen=True, slots=True)
class Time:
    """A time in UTC; None if it is not set."""

    required = False
    filterable = False

    def check(
        self, name: str, given: datetime | Unknown | None, violations: list[Violation]
    ) -> datetime | None:
        """Add what is wrong with a value to the violations; returns the time."""
        if isinstance(given, Unknown):
            violations.append(Violation(name, Rule.OUT_OF_RANGE, "is not a time before 10000"))
            return None
        return given


Field: TypeAlias = (
    Text
    | Uri
    | Pem
    | Secret
    | Scope
    | Flag
    | Word
    | Words
    | RedirectUris
    | Labels
    | Integer
    | Ids
    | Time
)
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
    """A text of the request as an error quotes it: shortened if it is long."""
    return f'"{text}"' if len(text) <= _MAX_QUOTED else f'"{text[:_MAX_QUOTED]}…"'


def _unknown(name: str, word: Unknown, vocabulary: type[StrEnum]) -> Violation:
    message = f"unknown value {quote(word.text)}"
    return Violation(name, Rule.UNKNOWN_VALUE, message, tuple(vocabulary))
