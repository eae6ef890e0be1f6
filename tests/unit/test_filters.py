"""The filter language of the List methods."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal_server.domain.client_type import GrantType, OktaAppType, ResponseType
from portal_server.domain.errors import Invalid, Rule
from portal_server.domain.lists import MAX_CONDITIONS, Comparison, Condition
from portal_server.wire.oauth_v1 import filters
from portal_server.wire.oauth_v1.words import GRANT_TYPE, OKTA_APP_TYPE, RESPONSE_TYPE

FIELDS: filters.Fields = {
    "name": filters.TextField(),
    "response_types": filters.WordsField(RESPONSE_TYPE),
    "grant_types": filters.WordsField(GRANT_TYPE),
    "okta_app_type": filters.WordField(OKTA_APP_TYPE),
}
EQUALS, DIFFERS, HAS = Comparison.EQUALS, Comparison.DIFFERS, Comparison.HAS


def refused(text: str) -> tuple[Rule, str]:
    with pytest.raises(Invalid) as refusal:
        filters.parse(text, FIELDS)
    [violation] = refusal.value.violations
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
        pytest.param("id = 1", Rule.MALFORMED, "has no field", id="a field not to be filtered by"),
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
        pytest.param("grant_types:it_token", Rule.UNKNOWN_VALUE, '"it_token"', id="another's word"),
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
def test_anything_else_is_refused_with_what_is_wrong(text: str, rule: Rule, words: str) -> None:
    found, message = refused(text)

    assert found == rule
    assert words in message


def test_an_unknown_word_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Invalid) as refusal:
        filters.parse("okta_app_type = tv", FIELDS)

    assert refusal.value.violations[0].allowed == tuple(OktaAppType)


def test_a_filter_may_have_2048_characters_and_no_more() -> None:
    longest = f'name = "{"x" * 2039}"'

    assert len(longest) == 2048
    assert filters.parse(longest, FIELDS) == [Condition("name", EQUALS, "x" * 2039)]
    assert refused(longest + " ")[0] == Rule.TOO_LONG


LONG = "\N{GRINNING FACE}" * 2000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 2000 + " = a", id="a field"),
        pytest.param("name = a " + "x" * 2000, id="what stands where AND should"),
        pytest.param(f'name = a "{LONG}"', id="what stands in quotes where AND should"),
        pytest.param(f'"{LONG}" = a', id="a field in quotes"),
        pytest.param("okta_app_type = " + "x" * 2000, id="a word"),
        pytest.param("name = a, " + "x" * 2000, id="what cannot be read"),
    ],
)
def test_a_refusal_quotes_little_of_a_long_filter(text: str) -> None:
    _, message = refused(text)

    assert len(message) < 1000


def read_or_refused(text: str) -> tuple[list[Condition], list[str]]:
    try:
        return filters.parse(text, FIELDS), []
    except Invalid as refusal:
        return [], [violation.field for violation in refusal.violations]


@given(st.text() | st.text(alphabet="name=:!'\"\\ AND\n\x1c\N{NO-BREAK SPACE}(.", max_size=40))
def test_a_filter_is_read_or_refused_and_never_breaks_the_reader(text: str) -> None:
    conditions, refused_fields = read_or_refused(text)

    assert refused_fields in [[], ["filter"]]
    assert {condition.field for condition in conditions} <= set(FIELDS)
    assert bool(conditions or refused_fields) == bool(text.strip())


PARTS = ["name", "okta_app_type", "grant_types", "=", "!=", ":", "AND", "web", "pkce", "''"]


@given(st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join))
def test_the_parts_of_filters_in_any_order_never_break_the_reader(text: str) -> None:
    conditions, refused_fields = read_or_refused(text)

    assert refused_fields in [[], ["filter"]]
    assert refused_fields or len(conditions) == (len(text.split()) + 1) // 4


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=500),
    st.sampled_from("\"'"),
)
def test_any_value_can_be_written_in_either_quotes(value: str, quote: str) -> None:
    escaped = value.replace("\\", "\\\\").replace(quote, "\\" + quote)

    assert filters.parse(f"name = {quote}{escaped}{quote}", FIELDS) == [
        Condition("name", EQUALS, value)
    ]


def test_a_filter_has_so_many_conditions_and_no_more() -> None:
    most = " AND ".join(f"name:n{number}" for number in range(MAX_CONDITIONS))

    assert len(filters.parse(most, FIELDS)) == MAX_CONDITIONS == 16
    assert refused(f"{most} AND name:q") == (Rule.TOO_LONG, "has more than 16 conditions")
