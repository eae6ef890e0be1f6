"""The filter language of the List methods: comparisons joined by AND (AIP-160)."""

import re
from collections.abc import Collection, Iterator, Mapping

from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.fields import Field, Text, Unknown, Word, Words, quote
from portal_server.domain.lists import MAX_CONDITIONS, Comparison, Condition
from portal_server.wire.oauth_v1.enums import vocabulary_of

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<comparison>!=|=|:)
      | (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<bare>[\w.-]+)
    )""",
    re.VERBOSE,
)
MAX_FILTER = 2048

_EQUALITY = (Comparison.EQUALS, Comparison.DIFFERS)
_ESCAPE = re.compile(r"\\(.)")


def parse(text: str, table: Mapping[str, Field], exact: Collection[str] = ()) -> list[Condition]:
    """The conditions of a filter on the filterable fields of this table; none for "".

    The operator `:` is invalid for an `exact` field.

    Raises:
        Invalid: it is too long, has too many conditions or a syntax error, or refers to an
            unknown field, operator or value.
    """
    fields = {name: field for name, field in table.items() if field.filterable}
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
        conditions.append(_condition(kind, token, tokens, fields, exact))
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
    fields: Mapping[str, Field],
    exact: Collection[str],
) -> Condition:
    if kind != "bare" or name not in fields:
        raise _malformed(f"has no field {quote(name)}; fields: {', '.join(fields)}")
    field = fields[name]
    kind, sign = next(tokens)
    comparisons = _EQUALITY if name in exact else _comparisons(field)
    allowed = ", ".join(comparisons)
    if kind != "comparison" or sign not in comparisons:
        raise _malformed(f"expected one of {allowed} after {name}")
    kind, value = next(tokens)
    if kind not in ("bare", "quoted"):
        raise _malformed(f"expected a value after {name} {sign}")
    return Condition(name, Comparison(sign), _value(field, value))


def _comparisons(field: Field) -> tuple[Comparison, ...]:
    match field:
        case Words():
            return (Comparison.HAS,)
        case Text():
            return (Comparison.EQUALS, Comparison.DIFFERS, Comparison.HAS)
        case _:
            return _EQUALITY


def _value(field: Field, text: str) -> str | None:
    """The value to compare with; None for "unset". Raises: Invalid."""
    if not isinstance(field, (Word, Words)):
        return text
    vocabulary = vocabulary_of(field.vocabulary)
    if isinstance(field, Word) and text in ("", vocabulary.unset):
        return None
    word = vocabulary.parse(text)
    if isinstance(word, Unknown):
        message = f"has an unknown value {quote(text)}"
        raise Invalid(Violation("filter", Rule.UNKNOWN_VALUE, message, tuple(field.vocabulary)))
    return str(word)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise _malformed(f"has a syntax error at character {position + 1}")
        position = match.end()
        kind = str(match.lastgroup)
        value = match[kind]
        yield kind, _ESCAPE.sub(r"\1", value[1:-1]) if kind == "quoted" else value
    while True:
        yield "end", ""


def _malformed(message: str, rule: Rule = Rule.MALFORMED) -> Invalid:
    return Invalid(Violation("filter", rule, message))
