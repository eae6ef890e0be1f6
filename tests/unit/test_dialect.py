"""How the REST dialect spells the model."""

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal_server.domain.client_type import (
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.errors import Invalid, Rule
from portal_server.domain.fields import Unknown
from portal_server.domain.provider import ProviderType
from portal_server.wire.rest_v1 import dialect

VOCABULARIES: list[Any] = [
    pytest.param(dialect.PROVIDER_TYPE, ProviderType, id="Type"),
    pytest.param(dialect.RESPONSE_TYPE, ResponseType, id="ResponseTypes"),
    pytest.param(dialect.GRANT_TYPE, GrantType, id="GrantType"),
    pytest.param(
        dialect.TOKEN_ENDPOINT_AUTH_METHOD, TokenEndpointAuthMethod, id="TokenEndpointAuthMethod"
    ),
    pytest.param(dialect.OKTA_APP_TYPE, OktaAppType, id="OktaAppType"),
]


@pytest.mark.parametrize(
    ("vocabulary", "spellings"),
    [
        (ProviderType, "Keycloak Gluu Okta Other"),
        (ResponseType, "code token it_token none"),
        (
            GrantType,
            (
                "authorization_code pkce client_credentials "
                "device_code refresh_token password implicit"
            ),
        ),
        (TokenEndpointAuthMethod, "client_secret_basic client_secret_post"),
        (OktaAppType, "web native browser service"),
    ],
)
def test_words_are_spelled_as_in_the_contract(vocabulary: type[StrEnum], spellings: str) -> None:
    assert [dialect.spell(word) for word in vocabulary] == spellings.split()


@pytest.mark.parametrize(("vocabulary", "words"), VOCABULARIES)
def test_each_word_is_read_as_it_is_spelled(
    vocabulary: dialect.Vocabulary[Any], words: type[StrEnum]
) -> None:
    read = [vocabulary.optional_word(dialect.spell(word)) for word in words]

    assert read == list(words)


@pytest.mark.parametrize(
    ("vocabulary", "text"),
    [
        pytest.param(dialect.RESPONSE_TYPE, "id_token", id="the RFC's id_token"),
        pytest.param(dialect.RESPONSE_TYPE, "RESPONSE_TYPE_CODE", id="the enum value"),
        pytest.param(dialect.RESPONSE_TYPE, "Code", id="another case"),
        pytest.param(dialect.RESPONSE_TYPE, "code token", id="two words"),
        pytest.param(dialect.PROVIDER_TYPE, "okta", id="the model's okta"),
        pytest.param(dialect.PROVIDER_TYPE, "OKTA", id="capitals"),
        pytest.param(dialect.PROVIDER_TYPE, "Okta ", id="a blank after"),
        pytest.param(dialect.GRANT_TYPE, "code", id="a word of another list"),
        pytest.param(dialect.OKTA_APP_TYPE, " ", id="a blank"),
    ],
)
def test_any_other_word_is_unknown(vocabulary: dialect.Vocabulary[Any], text: str) -> None:
    assert vocabulary.optional_word(text) == Unknown(text)


@pytest.mark.parametrize(("vocabulary", "_words"), VOCABULARIES)
def test_an_empty_text_is_no_word(vocabulary: dialect.Vocabulary[Any], _words: object) -> None:
    assert vocabulary.optional_word("") is None
    assert vocabulary.words("") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("code", [ResponseType.CODE], id="one"),
        pytest.param("code,token", [ResponseType.CODE, ResponseType.TOKEN], id="two"),
        pytest.param("token,code", [ResponseType.TOKEN, ResponseType.CODE], id="their order"),
        pytest.param("it_token", [ResponseType.ID_TOKEN], id="it_token"),
        pytest.param(
            " code ,\ttoken\n", [ResponseType.CODE, ResponseType.TOKEN], id="blanks around"
        ),
        pytest.param("code,code", [ResponseType.CODE, ResponseType.CODE], id="a word twice"),
        pytest.param("  ", [], id="blanks alone"),
        pytest.param(",", [Unknown(""), Unknown("")], id="a comma alone"),
        pytest.param("code,", [ResponseType.CODE, Unknown("")], id="a comma after"),
        pytest.param("code,,token", [ResponseType.CODE, Unknown(""), ResponseType.TOKEN], id=",,"),
        pytest.param("code, x y", [ResponseType.CODE, Unknown("x y")], id="an unknown one"),
        pytest.param("code;token", [Unknown("code;token")], id="another separator"),
        pytest.param('["code"]', [Unknown('["code"]')], id="JSON"),
        pytest.param("id_token", [Unknown("id_token")], id="the RFC's id_token"),
    ],
)
def test_a_list_is_words_with_commas_between(text: str, words: list[ResponseType]) -> None:
    assert list(dialect.RESPONSE_TYPE.words(text)) == words


@given(st.lists(st.sampled_from(GrantType), min_size=1))
def test_a_list_is_read_as_it_is_written(words: list[GrantType]) -> None:
    written = dialect.csv(words)

    assert " " not in written
    assert written.count(",") == len(words) - 1
    assert list(dialect.GRANT_TYPE.words(written)) == words


def test_a_list_is_written_in_the_dialects_spelling() -> None:
    words = [ResponseType.ID_TOKEN, ResponseType.CODE]

    assert dialect.csv(words) == "it_token,code"


@pytest.mark.parametrize(
    ("time", "text"),
    [
        pytest.param(
            datetime(2024, 2, 29, 23, 59, 59, 999999, UTC), "2024-02-29 23:59", id="no rounding"
        ),
        pytest.param(datetime(2024, 1, 2, 3, 4, tzinfo=UTC), "2024-01-02 03:04", id="zeros"),
        pytest.param(
            datetime(2024, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))),
            "2023-12-31 22:30",
            id="another zone",
        ),
    ],
)
def test_a_time_is_a_minute_in_utc(time: datetime, text: str) -> None:
    assert dialect.minute(time) == text


@pytest.mark.parametrize(("text", "value"), [("", False), ("false", False), ("true", True)])
def test_a_flag_is_true_or_false(text: str, value: bool) -> None:  # noqa: FBT001
    assert dialect.flag("force", text) is value


@pytest.mark.parametrize("text", ["True", "TRUE", "1", "0", "yes", " true", "true ", "null"])
def test_a_flag_is_nothing_else(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        dialect.flag("force", text)

    [violation] = refusal.value.violations
    assert (violation.field, violation.rule) == ("force", Rule.UNKNOWN_VALUE)
