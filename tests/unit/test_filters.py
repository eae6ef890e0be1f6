"""The filter language of the List methods."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal_server.domain.client_type import GrantType, OktaAppType, ResponseType
from portal_server.domain.errors import Invalid, Rule
from portal_server.domain.fields import Field, Text, Word, Words
from portal_server.domain.lists import MAX_CONDITIONS, Comparison, Condition
from portal_server.wire.oauth_v1 import filters

FIELDS: Mapping[str, Field] = {
    "name": Text(max_length=255, filterable=True),
    "description": Text(max_length=255),
    "response_types": Words(vocabulary=ResponseType),
    "grant_types": Words(vocabulary=GrantType),
    "okta_app_type": Word(vocabulary=OktaAppType),
}
EQUALS, DIFFERS, HAS = Comparison.EQUALS, Comparison.DIFFERS, Comparison.HAS


def rejected(text: str) -> tuple[Rule, str]:
    with pytest.raises(Invalid) as error:
        filters.parse(text, FIELDS)
    [violation] = error.value.violations
    assert violation.field == "filter"
    return violation.rule, violation.message


@pytest.mark.parametrize(
    ("text", "comparison", "value"),
    [
        pytest.param('name = "a"', EQUALS, "a", id="="),
        pytest.param('name != "a"', DIFFERS, "a", id="!="),
        pytest.param('name : "a"', HAS, "a", id=":"),
        pytest.param('name="a"', EQUALS, "a", id="no blanks"),
        pytest.param('name!="a"', DIFFERS, "a", id="!= without blanks"),
        pytest.param('name:"a"', HAS, "a", id=": without blanks"),
        pytest.param(' \t\nname\n=\r\n"a"\v ', EQUALS, "a", id="any blanks"),
        pytest.param("name = a", EQUALS, "a", id="a bare value"),
        pytest.param("name=a", EQUALS, "a", id="a bare value without blanks"),
        pytest.param("name = a.b-c_d9", EQUALS, "a.b-c_d9", id="all a bare value may have"),
        pytest.param("name = größe", EQUALS, "größe", id="a bare value of other letters"),
        pytest.param("name = AND", EQUALS, "AND", id="AND as a value"),
        pytest.param("name = name", EQUALS, "name", id="a field's name as a value"),
        pytest.param("name = 'a'", EQUALS, "a", id="single quotes"),
        pytest.param("name = 'a\"b'", EQUALS, 'a"b', id="double quotes in single ones"),
        pytest.param('name = "it\'s"', EQUALS, "it's", id="a single quote in double ones"),
        pytest.param(r'name = "a\"b"', EQUALS, 'a"b', id="an escaped double quote"),
        pytest.param(r"name = 'a\'b'", EQUALS, "a'b", id="an escaped single quote"),
        pytest.param(r'name = "a\\b"', EQUALS, r"a\b", id="an escaped backslash"),
        pytest.param(r'name = "a\\"', EQUALS, "a\\", id="an escaped backslash at the end"),
        pytest.param(r'name = "a\\\"b"', EQUALS, r"a\"b", id="a backslash and a quote"),
        pytest.param(r'name = "a\nb"', EQUALS, "anb", id="an escape that needs none"),
        pytest.param('name = "a AND b = c"', EQUALS, "a AND b = c", id="a filter as a value"),
        pytest.param('name = " a "', EQUALS, " a ", id="blanks in a value"),
        pytest.param('name = "a\nb"', EQUALS, "a\nb", id="a newline in a value"),
        pytest.param('name = "100% _\N{GRINNING FACE}"', EQUALS, "100% _\N{GRINNING FACE}", id="%"),
        pytest.param('name = ""', EQUALS, "", id="an empty value"),
    ],
)
def test_a_text_is_compared_with_a_value(text: str, comparison: Comparison, value: str) -> None:
    assert filters.parse(text, FIELDS) == [Condition("name", comparison, value)]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        pytest.param(
            "response_types : RESPONSE_TYPE_ID_TOKEN",
            Condition("response_types", HAS, ResponseType.ID_TOKEN),
            id="an enum value of a list",
        ),
        pytest.param(
            "grant_types:device_code",
            Condition("grant_types", HAS, GrantType.DEVICE_CODE),
            id="the RFC's word of a list",
        ),
        pytest.param(
            'okta_app_type = "OKTA_APP_TYPE_WEB"',
            Condition("okta_app_type", EQUALS, OktaAppType.WEB),
            id="an enum value in quotes",
        ),
        pytest.param(
            "okta_app_type != web",
            Condition("okta_app_type", DIFFERS, OktaAppType.WEB),
            id="a word that is not",
        ),
        pytest.param(
            "okta_app_type = OKTA_APP_TYPE_UNSPECIFIED",
            Condition("okta_app_type", EQUALS, None),
            id="unset",
        ),
        pytest.param(
            'okta_app_type != ""', Condition("okta_app_type", DIFFERS, None), id="set to any"
        ),
    ],
)
def test_a_word_is_compared_by_either_of_its_spellings(text: str, condition: Condition) -> None:
    assert filters.parse(text, FIELDS) == [condition]


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\N{NO-BREAK SPACE}\x1c"])
def test_an_empty_filter_has_no_conditions(text: str) -> None:
    assert filters.parse(text, FIELDS) == []


def test_conditions_are_joined_by_and_and_keep_their_order() -> None:
    parsed = filters.parse("name = b AND grant_types:pkce AND name:a AND name != AND", FIELDS)

    assert parsed == [
        Condition("name", EQUALS, "b"),
        Condition("grant_types", HAS, "pkce"),
        Condition("name", HAS, "a"),
        Condition("name", DIFFERS, "AND"),
    ]


@pytest.mark.parametrize(
    ("text", "rule", "words"),
    [
        pytest.param("nome = a", Rule.MALFORMED, "name, response_types", id="unknown field"),
        pytest.param("Name = a", Rule.MALFORMED, "has no field", id="a field in capitals"),
        pytest.param('"name" = a', Rule.MALFORMED, "has no field", id="a field in quotes"),
        pytest.param("= a", Rule.MALFORMED, "has no field", id="no field"),
        pytest.param("id = 1", Rule.MALFORMED, "has no field", id="not a field of the table"),
        pytest.param("description = a", Rule.MALFORMED, "has no field", id="not filterable"),
        pytest.param("name", Rule.MALFORMED, "=, !=, : after name", id="a field alone"),
        pytest.param("name a", Rule.MALFORMED, "=, !=, : after name", id="no comparison"),
        pytest.param("name =", Rule.MALFORMED, "expected a value", id="no value"),
        pytest.param("name = = a", Rule.MALFORMED, "expected a value", id="two comparisons"),
        pytest.param("name == a", Rule.MALFORMED, "expected a value", id="=="),
        pytest.param("name > a", Rule.MALFORMED, "character 5", id="a comparison we do not have"),
        pytest.param("name ! a", Rule.MALFORMED, "character 5", id="half a comparison"),
        pytest.param("name = *", Rule.MALFORMED, "character 7", id="a star"),
        pytest.param("(name = a)", Rule.MALFORMED, "character 1", id="parentheses"),
        pytest.param("-name = a", Rule.MALFORMED, "has no field", id="a minus"),
        pytest.param("NOT name = a", Rule.MALFORMED, "has no field", id="NOT"),
        pytest.param("name = a OR name = b", Rule.MALFORMED, "expected AND", id="OR"),
        pytest.param("name = a and name = b", Rule.MALFORMED, "expected AND", id="and"),
        pytest.param("name = a name = b", Rule.MALFORMED, "expected AND", id="no AND"),
        pytest.param('name = a "AND" name = b', Rule.MALFORMED, "expected AND", id="AND in quotes"),
        pytest.param("name = a b", Rule.MALFORMED, "expected AND", id="two values"),
        pytest.param("name = a AND", Rule.MALFORMED, "ends after AND", id="nothing after AND"),
        pytest.param("name = a AND ", Rule.MALFORMED, "ends after AND", id="a blank after AND"),
        pytest.param("AND name = a", Rule.MALFORMED, "has no field", id="AND first"),
        pytest.param("AND", Rule.MALFORMED, "has no field", id="AND alone"),
        pytest.param("name = a AND AND name = b", Rule.MALFORMED, "has no field", id="AND twice"),
        pytest.param('name = "a', Rule.MALFORMED, "character 7", id="an open quote"),
        pytest.param('name = "', Rule.MALFORMED, "character 7", id="a quote alone"),
        pytest.param("name = \"a'", Rule.MALFORMED, "character 7", id="quotes that differ"),
        pytest.param('name = "a\\"', Rule.MALFORMED, "character 7", id="an escaped last quote"),
        pytest.param("response_types = code", Rule.MALFORMED, "one of : after", id="= of a list"),
        pytest.param("response_types != code", Rule.MALFORMED, "one of : ", id="!= of a list"),
        pytest.param("okta_app_type : web", Rule.MALFORMED, "one of =, != ", id=": of a word"),
        pytest.param("okta_app_type = Web", Rule.UNKNOWN_VALUE, '"Web"', id="another case"),
        pytest.param("okta_app_type = tv", Rule.UNKNOWN_VALUE, '"tv"', id="an unknown word"),
        pytest.param(
            "grant_types:it_token", Rule.UNKNOWN_VALUE, '"it_token"', id="a word of another field"
        ),
        pytest.param("grant_types:''", Rule.UNKNOWN_VALUE, '""', id="no word of a list"),
        pytest.param(
            "response_types:RESPONSE_TYPE_UNSPECIFIED",
            Rule.UNKNOWN_VALUE,
            "RESPONSE_TYPE_UNSPECIFIED",
            id="unset of a list",
        ),
        pytest.param('name = "a\0b"', Rule.MALFORMED, "NUL", id="NUL in a value"),
        pytest.param("\0", Rule.MALFORMED, "NUL", id="NUL alone"),
    ],
)
def test_any_other_filter_is_rejected_with_the_reason(text: str, rule: Rule, words: str) -> None:
    found, message = rejected(text)

    assert found == rule
    assert words in message


def test_an_unknown_word_is_rejected_with_the_known_words() -> None:
    with pytest.raises(Invalid) as error:
        filters.parse("okta_app_type = tv", FIELDS)

    assert error.value.violations[0].allowed == tuple(OktaAppType)


def test_a_filter_has_at_most_2048_characters() -> None:
    longest = f'name = "{"x" * 2039}"'

    assert len(longest) == 2048
    assert filters.parse(longest, FIELDS) == [Condition("name", EQUALS, "x" * 2039)]
    assert rejected(longest + " ")[0] == Rule.TOO_LONG


LONG = "\N{GRINNING FACE}" * 2000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 2000 + " = a", id="a field"),
        pytest.param("name = a " + "x" * 2000, id="text in place of AND"),
        pytest.param(f'name = a "{LONG}"', id="quoted text in place of AND"),
        pytest.param(f'"{LONG}" = a', id="a field in quotes"),
        pytest.param("okta_app_type = " + "x" * 2000, id="a word"),
        pytest.param("name = a, " + "x" * 2000, id="not a token"),
    ],
)
def test_an_error_quotes_little_of_a_long_filter(text: str) -> None:
    _, message = rejected(text)

    assert len(message) < 1000


def parse_or_reject(text: str) -> tuple[list[Condition], list[str]]:
    try:
        return filters.parse(text, FIELDS), []
    except Invalid as error:
        return [], [violation.field for violation in error.violations]


@given(st.text() | st.text(alphabet="name=:!'\"\\ AND\n\x1c\N{NO-BREAK SPACE}(.", max_size=40))
def test_a_filter_is_parsed_or_rejected_without_a_crash(text: str) -> None:
    conditions, rejected_fields = parse_or_reject(text)

    assert rejected_fields in [[], ["filter"]]
    assert {condition.field for condition in conditions} <= set(FIELDS)
    assert bool(conditions or rejected_fields) == bool(text.strip())


PARTS = ["name", "okta_app_type", "grant_types", "=", "!=", ":", "AND", "web", "pkce", "''"]


@given(st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join))
def test_the_parts_of_filters_in_any_order_never_crash(
    text: str,
) -> None:
    conditions, rejected_fields = parse_or_reject(text)

    assert rejected_fields in [[], ["filter"]]
    assert rejected_fields or len(conditions) == (len(text.split()) + 1) // 4


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=500),
    st.sampled_from("\"'"),
)
def test_any_value_can_be_written_in_either_quotes(value: str, quote: str) -> None:
    escaped = value.replace("\\", "\\\\").replace(quote, "\\" + quote)

    assert filters.parse(f"name = {quote}{escaped}{quote}", FIELDS) == [
        Condition("name", EQUALS, value)
    ]


def test_a_filter_has_at_most_16_conditions() -> None:
    most = " AND ".join(f"name:n{number}" for number in range(MAX_CONDITIONS))

    assert len(filters.parse(most, FIELDS)) == MAX_CONDITIONS == 16
    assert rejected(f"{most} AND name:q") == (Rule.TOO_LONG, "has more than 16 conditions")
