"""Every rule and every limit of the fields."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal_server.domain.client_type import (
    ClientTypeDraft,
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
    check_becomes_okta,
    check_client_type,
)
from portal_server.domain.errors import Invalid, Precondition, Rule, Violation
from portal_server.domain.fields import Unknown
from portal_server.domain.provider import ProviderDraft, ProviderType, check_provider

URI = "https://idp.test/.well-known/openid-configuration"
PROVIDER = ProviderDraft(name="p", type=ProviderType.KEYCLOAK, well_known_uri=URI)
CLIENT_TYPE = ClientTypeDraft(
    name="c", response_types=(ResponseType.CODE,), grant_types=(GrantType.PKCE,)
)
WIDE = "\N{GRINNING FACE}"
BLANKS = [
    pytest.param(" ", id="a space"),
    pytest.param(" " * 300, id="more spaces than a name may be long"),
    pytest.param("\t\r\n\v\f", id="tab and newlines"),
    pytest.param("\N{NO-BREAK SPACE}", id="a no-break space"),
    pytest.param("\N{EM SPACE}", id="an em space"),
    pytest.param("\N{IDEOGRAPHIC SPACE}\N{LINE SEPARATOR}", id="an ideographic space"),
]


def violations_of_provider(**changes: Any) -> tuple[Violation, ...]:
    with pytest.raises(Invalid) as error:
        check_provider(replace(PROVIDER, **changes))
    return error.value.violations


def violations_of_client_type(
    type_: ProviderType = ProviderType.KEYCLOAK, **changes: Any
) -> tuple[Violation, ...]:
    with pytest.raises(Invalid) as error:
        check_client_type(replace(CLIENT_TYPE, **changes), type_)
    return error.value.violations


def fields_and_rules(violations: Sequence[Violation]) -> list[tuple[str, Rule]]:
    return [(violation.field, violation.rule) for violation in violations]


@pytest.mark.parametrize("field", ["name", "well_known_uri"])
@pytest.mark.parametrize("blank", BLANKS)
def test_a_required_text_of_a_provider_is_not_blank(field: str, blank: str) -> None:
    [violation] = violations_of_provider(**{field: blank})

    assert violation == Violation(field, Rule.REQUIRED, "must not be blank")


@pytest.mark.parametrize("blank", BLANKS)
def test_the_name_of_a_client_type_is_not_blank(blank: str) -> None:
    [violation] = violations_of_client_type(name=blank)

    assert violation == Violation("name", Rule.REQUIRED, "must not be blank")


@pytest.mark.parametrize("field", ["name", "well_known_uri"])
def test_a_missing_text_of_a_provider_is_reported_as_required(field: str) -> None:
    [violation] = violations_of_provider(**{field: ""})

    assert violation == Violation(field, Rule.REQUIRED, "is required")


def test_a_provider_without_a_type_is_rejected_with_the_allowed_types() -> None:
    [violation] = violations_of_provider(type=None)

    assert violation == Violation("type", Rule.REQUIRED, "is required", tuple(ProviderType))


@pytest.mark.parametrize(
    ("field", "vocabulary"), [("response_types", ResponseType), ("grant_types", GrantType)]
)
def test_an_empty_list_of_words_is_rejected_with_the_allowed_words(
    field: str, vocabulary: type[StrEnum]
) -> None:
    changes: dict[str, Any] = {field: ()}
    [violation] = violations_of_client_type(**changes)

    assert violation == Violation(
        field, Rule.REQUIRED, "needs at least one value", tuple(vocabulary)
    )


@pytest.mark.parametrize("character", ["a", "ü", WIDE])
@pytest.mark.parametrize(
    ("field", "most"), [("name", 255), ("description", 4096)], ids=["name", "description"]
)
def test_a_text_of_a_client_type_may_be_as_long_as_its_limit_in_characters_and_no_longer(
    field: str, most: int, character: str
) -> None:
    longest: dict[str, Any] = {field: character * most}
    longer: dict[str, Any] = {field: character * (most + 1)}
    spec = check_client_type(replace(CLIENT_TYPE, **longest), ProviderType.OTHER)
    [violation] = violations_of_client_type(**longer)

    assert getattr(spec, field) == character * most
    assert (violation.field, violation.rule) == (field, Rule.TOO_LONG)
    assert str(most) in violation.message
    assert str(most + 1) in violation.message


@pytest.mark.parametrize(
    ("field", "start", "most"),
    [
        pytest.param("name", "", 255, id="name"),
        pytest.param("well_known_uri", "https://a/", 2048, id="well_known_uri"),
        pytest.param("registration_access_token", "", 4096, id="registration_access_token"),
    ],
)
def test_a_text_of_a_provider_may_be_as_long_as_its_limit_and_no_longer(
    field: str, start: str, most: int
) -> None:
    longest: dict[str, Any] = {field: start.ljust(most, "x")}
    spec = check_provider(replace(PROVIDER, **longest))
    violations = violations_of_provider(**{field: longest[field] + "x"})

    assert getattr(spec, field) == longest[field]
    assert fields_and_rules(violations) == [(field, Rule.TOO_LONG)]


@pytest.mark.parametrize("text", ["\0", "a\0", "\0b", "a\0b"])
@pytest.mark.parametrize("field", ["name", "well_known_uri", "registration_access_token"])
def test_no_text_of_a_provider_holds_a_nul(field: str, text: str) -> None:
    assert fields_and_rules(violations_of_provider(**{field: text})) == [(field, Rule.MALFORMED)]


@pytest.mark.parametrize("text", ["\0", "a\0", "\0b", "a\0b"])
@pytest.mark.parametrize("field", ["name", "description"])
def test_no_text_of_a_client_type_holds_a_nul(field: str, text: str) -> None:
    changes: dict[str, Any] = {field: text}

    assert fields_and_rules(violations_of_client_type(**changes)) == [(field, Rule.MALFORMED)]


def test_blanks_around_a_name_are_kept() -> None:
    spec = check_provider(replace(PROVIDER, name=" a\tb\n"))

    assert spec.name == " a\tb\n"


@pytest.mark.parametrize(
    ("field", "words", "vocabulary"),
    [
        pytest.param("response_types", (Unknown("x"),), ResponseType, id="response_types"),
        pytest.param("grant_types", (Unknown("x"),), GrantType, id="grant_types"),
        pytest.param(
            "token_endpoint_auth_method",
            Unknown("x"),
            TokenEndpointAuthMethod,
            id="token_endpoint_auth_method",
        ),
        pytest.param("okta_app_type", Unknown("x"), OktaAppType, id="okta_app_type"),
    ],
)
@pytest.mark.parametrize("type_", [ProviderType.OTHER, ProviderType.OKTA])
def test_an_unknown_word_is_rejected_with_the_known_ones(
    type_: ProviderType, field: str, words: Any, vocabulary: type[StrEnum]
) -> None:
    changes = {"okta_app_type": OktaAppType.WEB, field: words}
    [violation] = violations_of_client_type(type_, **changes)

    assert violation == Violation(field, Rule.UNKNOWN_VALUE, 'unknown value "x"', tuple(vocabulary))


def test_an_unknown_type_of_a_provider_is_rejected_with_the_known_ones() -> None:
    [violation] = violations_of_provider(type=Unknown("Ping"))

    assert violation == Violation(
        "type", Rule.UNKNOWN_VALUE, 'unknown value "Ping"', tuple(ProviderType)
    )


def test_known_words_do_not_excuse_an_unknown_one_among_them() -> None:
    words = (ResponseType.CODE, Unknown("x"), ResponseType.TOKEN, Unknown("y"))
    violations = violations_of_client_type(response_types=words)

    assert [v.message for v in violations] == ['unknown value "x"', 'unknown value "y"']


def test_an_unknown_word_given_twice_is_reported_once() -> None:
    assert len(violations_of_client_type(grant_types=(Unknown("x"), Unknown("x")))) == 1


@pytest.mark.parametrize("field", ["response_types", "grant_types"])
def test_at_most_8_unknown_words_of_a_list_are_quoted(field: str) -> None:
    words: dict[str, Any] = {field: tuple(Unknown(str(number)) for number in range(100))}
    violations = violations_of_client_type(**words)

    assert [v.message for v in violations] == [f'unknown value "{n}"' for n in range(8)]


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        pytest.param("x" * 40, "x" * 40, id="40 characters are quoted whole"),
        pytest.param("x" * 41, "x" * 40 + "…", id="41 are cut"),
        pytest.param(WIDE * 5000, WIDE * 40 + "…", id="wide ones are counted as one"),
        pytest.param("", "", id="none"),
    ],
)
def test_a_long_unknown_word_is_cut(text: str, quoted: str) -> None:
    [violation] = violations_of_client_type(okta_app_type=Unknown(text))

    assert violation.message == f'unknown value "{quoted}"'


@given(st.lists(st.sampled_from(ResponseType), min_size=1))
def test_words_keep_their_order_and_duplicates_are_dropped(words: list[ResponseType]) -> None:
    draft = replace(CLIENT_TYPE, response_types=tuple(words))
    kept = check_client_type(draft, ProviderType.OTHER).response_types

    assert len(kept) == len(set(kept))
    assert set(kept) == set(words)
    assert list(kept) == sorted(set(words), key=words.index)


def test_a_word_given_twice_stays_where_it_was_first() -> None:
    words = (GrantType.PKCE, GrantType.IMPLICIT, GrantType.PKCE, GrantType.PASSWORD)
    spec = check_client_type(replace(CLIENT_TYPE, grant_types=words), ProviderType.OTHER)

    assert spec.grant_types == (GrantType.PKCE, GrantType.IMPLICIT, GrantType.PASSWORD)


def test_all_violations_of_a_client_type_are_reported_at_once_in_the_order_of_its_fields() -> None:
    violations = violations_of_client_type(
        ProviderType.OKTA,
        name=" ",
        description="x" * 4097,
        response_types=(Unknown("a"), ResponseType.CODE, Unknown("b")),
        grant_types=(),
        token_endpoint_auth_method=Unknown("c"),
        okta_app_type=None,
    )

    assert fields_and_rules(violations) == [
        ("name", Rule.REQUIRED),
        ("description", Rule.TOO_LONG),
        ("response_types", Rule.UNKNOWN_VALUE),
        ("response_types", Rule.UNKNOWN_VALUE),
        ("grant_types", Rule.REQUIRED),
        ("token_endpoint_auth_method", Rule.UNKNOWN_VALUE),
        ("okta_app_type", Rule.REQUIRED),
    ]


def test_all_violations_of_a_provider_are_reported_at_once_in_the_order_of_its_fields() -> None:
    violations = violations_of_provider(
        name="",
        type=Unknown("x"),
        well_known_uri="ftp://x",
        registration_access_token="x" * 4097,
    )

    assert fields_and_rules(violations) == [
        ("name", Rule.REQUIRED),
        ("type", Rule.UNKNOWN_VALUE),
        ("well_known_uri", Rule.MALFORMED),
        ("registration_access_token", Rule.TOO_LONG),
    ]


def test_an_empty_draft_is_rejected_for_each_required_field() -> None:
    with pytest.raises(Invalid) as of_provider:
        check_provider(ProviderDraft())
    with pytest.raises(Invalid) as of_client_type:
        check_client_type(ClientTypeDraft(), ProviderType.OTHER)

    assert [v.field for v in of_provider.value.violations] == ["name", "type", "well_known_uri"]
    assert [v.field for v in of_client_type.value.violations] == [
        "name",
        "response_types",
        "grant_types",
    ]


def test_a_client_type_of_an_okta_provider_needs_an_app_type_and_the_error_reports_why() -> None:
    [violation] = violations_of_client_type(ProviderType.OKTA)

    assert (violation.field, violation.rule) == ("okta_app_type", Rule.REQUIRED)
    assert violation.allowed == tuple(OktaAppType)
    assert "Okta" in violation.message


@pytest.mark.parametrize("type_", [t for t in ProviderType if t is not ProviderType.OKTA])
def test_a_client_type_of_another_provider_needs_no_app_type(type_: ProviderType) -> None:
    assert check_client_type(CLIENT_TYPE, type_).okta_app_type is None


def test_an_okta_app_type_is_kept_whatever_the_provider_is() -> None:
    draft = replace(CLIENT_TYPE, okta_app_type=OktaAppType.NATIVE)
    kept = {check_client_type(draft, type_).okta_app_type for type_ in ProviderType}

    assert kept == {OktaAppType.NATIVE}


def texts(most: int, least: int = 0) -> st.SearchStrategy[str]:
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(characters, min_size=least, max_size=most)


@given(
    st.builds(
        ClientTypeDraft,
        name=texts(255, 1).filter(str.strip),
        description=texts(300),
        response_types=st.lists(st.sampled_from(ResponseType), min_size=1, unique=True).map(tuple),
        grant_types=st.lists(st.sampled_from(GrantType), min_size=1, unique=True).map(tuple),
        token_endpoint_auth_method=st.none() | st.sampled_from(TokenEndpointAuthMethod),
        okta_app_type=st.sampled_from(OktaAppType),
    ),
    st.sampled_from(ProviderType),
)
def test_a_client_type_that_breaks_no_rule_is_accepted_unchanged(
    draft: ClientTypeDraft, type_: ProviderType
) -> None:
    assert asdict(check_client_type(draft, type_)) == asdict(draft)


@given(
    st.builds(
        ProviderDraft,
        name=texts(255, 1).filter(str.strip),
        type=st.sampled_from(ProviderType),
        well_known_uri=st.from_regex(
            r"https?://[a-z]{1,20}(\.[a-z]{2,20}){0,3}(:[1-9][0-9]{0,3})?(/[a-z0-9._~-]{0,9}){0,4}"
            r"(\?[a-z=&]{0,9})?",
            fullmatch=True,
        ),
        tls_insecure_skip_verify=st.booleans(),
        registration_access_token=texts(300),
    )
)
def test_a_provider_that_breaks_no_rule_is_accepted_unchanged(draft: ProviderDraft) -> None:
    assert asdict(check_provider(draft)) == asdict(draft)


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param(URI, id="the usual one"),
        pytest.param("http://idp.test/x", id="http"),
        pytest.param("HTTPS://IDP.TEST/x", id="capitals"),
        pytest.param("https://idp.test", id="no path"),
        pytest.param("https://idp.test/", id="an empty path"),
        pytest.param("https://idp.test?realm=a/b", id="a query and no path"),
        pytest.param("https://localhost/x", id="one label"),
        pytest.param("https://idp.test:8443/x", id="a port"),
        pytest.param("https://idp.test:1/x", id="the first port"),
        pytest.param("https://idp.test:65535/x", id="the last port"),
        pytest.param("https://192.0.2.7:8443/x", id="IPv4"),
        pytest.param("https://[2001:db8::1]/x", id="IPv6"),
        pytest.param("https://[::1]:8443/x", id="IPv6 and a port"),
        pytest.param("https://bücher.example/x", id="an international host"),
        pytest.param("https://xn--bcher-kva.example/x", id="an international host in ASCII"),
        pytest.param("https://idp.test/a@b:c", id="@ in the path"),
        pytest.param("https://idp.test/?a=b@c", id="@ in the query"),
        pytest.param("https://idp.test/%20/x", id="a space in percent"),
        pytest.param("https://idp.test//x", id="two slashes in the path"),
    ],
)
def test_an_absolute_http_url_is_a_well_known_uri_and_is_kept_as_it_is(uri: str) -> None:
    assert check_provider(replace(PROVIDER, well_known_uri=uri)).well_known_uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("idp.test", id="a host alone"),
        pytest.param("/x", id="a path alone"),
        pytest.param("//idp.test/x", id="no scheme"),
        pytest.param("https:", id="a scheme alone"),
        pytest.param("http:idp.test", id="no slashes"),
        pytest.param("http:/idp.test", id="one slash"),
        pytest.param("http:///idp.test", id="three slashes"),
        pytest.param("http://", id="no host"),
        pytest.param("http:///x", id="no host and a path"),
        pytest.param("http://?x", id="no host and a query"),
        pytest.param("http://#x", id="no host and a fragment"),
        pytest.param("http://:80/", id="no host and a port"),
        pytest.param("ftp://idp.test/x", id="ftp"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("javascript:alert(1)", id="javascript"),
        pytest.param("xhttp://idp.test/x", id="a scheme that ends in http"),
        pytest.param("httpss://idp.test/x", id="a scheme that begins with https"),
        pytest.param("https://user@idp.test/x", id="a user"),
        pytest.param("https://user:word@idp.test/x", id="a user and a password"),
        pytest.param("https://:word@idp.test/x", id="a password"),
        pytest.param("https://@idp.test/x", id="an empty user"),
        pytest.param("https://idp.test:word@evil.test/x", id="a user like a host"),
        pytest.param(" https://idp.test/x", id="a space before"),
        pytest.param("https://idp.test/x ", id="a space after"),
        pytest.param("https://idp.test/a b", id="a space in the path"),
        pytest.param("https://idp test/x", id="a space in the host"),
        pytest.param("https://idp.test/a\tb", id="a tab"),
        pytest.param("https://idp.test/x\n", id="a newline after"),
        pytest.param("https://idp.test/a\r\nHost: evil.test", id="a newline inside"),
        pytest.param("ht\ntps://idp.test/x", id="a newline in the scheme"),
        pytest.param("https://idp\n.test/x", id="a newline in the host"),
        pytest.param("https://idp.test/a\N{NO-BREAK SPACE}b", id="a no-break space"),
        pytest.param("https://idp.test/a\x01b", id="a control character in the path"),
        pytest.param("https://idp.test/a\x7fb", id="DEL in the path"),
        pytest.param("https://idp.\x01test/", id="a control character in the host"),
        pytest.param("https:\\\\idp.test\\x", id="backslashes for slashes"),
        pytest.param("https://idp.test\\@evil.test/", id="a backslash in the host"),
        pytest.param("https://idp.test/a\\b", id="a backslash in the path"),
        pytest.param("https://idp.test:65536/x", id="a port too high"),
        pytest.param("https://idp.test:-1/x", id="a port below zero"),
        pytest.param("https://idp.test:port/x", id="a port that is not a number"),
        pytest.param("https://[::1/x", id="an open bracket"),
        pytest.param("https://::1/x", id="IPv6 without brackets"),
        pytest.param("https://[::g]/x", id="no IPv6"),
        pytest.param("https://192.0.2.256/x", id="no IPv4"),
        pytest.param("https://a<b>/x", id="a host of other characters"),
        pytest.param("https://a%/x", id="a percent sign in the host"),
    ],
)
def test_anything_else_is_not_a_well_known_uri(uri: str) -> None:
    [violation] = violations_of_provider(well_known_uri=uri)

    assert (violation.field, violation.rule) == ("well_known_uri", Rule.MALFORMED)
    assert uri not in violation.message


@given(st.text())
def test_a_well_known_uri_is_accepted_unchanged_or_rejected(uri: str) -> None:
    kept: str | None = None
    broken: list[str] = []
    try:
        kept = check_provider(replace(PROVIDER, well_known_uri=uri)).well_known_uri
    except Invalid as error:
        broken = [violation.field for violation in error.violations]

    assert (kept, broken) in [(uri, []), (None, ["well_known_uri"])]


def test_a_provider_becomes_okta_when_each_client_type_has_an_app_type() -> None:
    check_becomes_okta([])

    with pytest.raises(Precondition, match="app type: 3, 5") as error:
        check_becomes_okta([3, 5])
    assert error.value.reason == "OKTA_APP_TYPE_MISSING"
