"""The filter language of the List methods: comparisons joined by AND (AIP-160)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.fields import Unknown, quote
from portal_server.domain.lists import MAX_CONDITIONS, Comparison, Condition
from portal_server.wire.oauth_v1.words import Vocabulary

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<comparison>!=|=|:)
      | (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<bare>[\w.-]+)
    )""",
    re.VERBOSE,
)
MAX_FILTER = 2048

_ESCAPE = re.compile(r"\\(.)")


class TextField:
    """A field that is compared as text."""

    comparisons = (Comparison.EQUALS, Comparison.DIFFERS, Comparison.HAS)

    def value(self, text: str) -> str | None:
        """Any text will do."""
        return text


class WordField:
    """A field that holds a word or nothing."""

    comparisons: tuple[Comparison, ...] = (Comparison.EQUALS, Comparison.DIFFERS)

    def __init__(self, vocabulary: Vocabulary[Any]) -> None:
        """Take the words it may hold."""
        self._vocabulary = vocabulary

    def value(self, text: str) -> str | None:
        """The word; None for "unset".

        Raises:
            Invalid: there is no such word.
        """
        if text in ("", self._vocabulary.unset):
            return None
        return self._word(text)

    def _word(self, text: str) -> str:
        word = self._vocabulary.spelled(text)
        if isinstance(word, Unknown):
            message = f"has an unknown value {quote(text)}"
            raise Invalid(Violation("filter", Rule.UNKNOWN_VALUE, message, self._vocabulary.words))
        return str(word)


class WordsField(WordField):
    """A field that holds a list of words."""

    comparisons = (Comparison.HAS,)

    def value(self, text: str) -> str | None:
        """The word. Raises: Invalid."""
        return self._word(text)


Fields = Mapping[str, TextField | WordField]
"""The fields that a list may be filtered by."""


def parse(text: str, fields: Fields) -> list[Condition]:
    """The conditions of a filter; none for "".

    Raises:
        Invalid: it is too long, has too many conditions or is not of the language,
            or names a field, a comparison or a word that there is not.
    """
    if len(text) > MAX_FILTER:
        raise _malformed(f"is longer than {MAX_FILTER} characters", Rule.TOO_LONG)
    if "\0" in text:
        raise _malformed("must not contain the NUL character")
    conditions: list[Condition] = []
    tokens = _tokens(text)
    kind, token = next(tokens)
    while kind != "end":
        if len(conditions) == MAX_CONDITIONS:
            raise _malformed(f"has more than {MAX_CONDITIONS} conditions", Rule.TOO_LONG)
        conditions.append(_condition(kind, token, tokens, fields))
        kind, token = next(tokens)
        if kind == "end":
            break
        if (kind, token) != ("bare", "AND"):
            raise _malformed(f"expected AND before {quote(token)}")
        kind, token = next(tokens)
        if kind == "end":
            raise _malformed("ends after AND")
    return conditions


def _condition(
    kind: str,
    name: str,
    tokens: Iterator[tuple[str, str]],
    fields: Fields,
) -> Condition:
    if kind != "bare" or name not in fields:
        raise _malformed(f"has no field {quote(name)}; fields: {', '.join(fields)}")
    field = fields[name]
    kind, sign = next(tokens)
    allowed = ", ".join(field.comparisons)
    if kind != "comparison" or sign not in field.comparisons:
        raise _malformed(f"expected one of {allowed} after {name}")
    kind, value = next(tokens)
    if kind not in ("bare", "quoted"):
        raise _malformed(f"expected a value after {name} {sign}")
    return Condition(name, Comparison(sign), field.value(value))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise _malformed(f"cannot be read from character {position + 1} on")
        position = match.end()
        kind = str(match.lastgroup)
        value = match[kind]
        yield kind, _ESCAPE.sub(r"\1", value[1:-1]) if kind == "quoted" else value
    while True:
        yield "end", ""


def _malformed(message: str, rule: Rule = Rule.MALFORMED) -> Invalid:
    return Invalid(Violation("filter", rule, message))
