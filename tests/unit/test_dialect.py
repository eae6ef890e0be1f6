"""How the REST dialect spells the model."""

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.rest.v1 import portal_rest_pb2 as pb
from portal_server.domain.client_type import (
    CLIENT_TYPE,
    ClientTypeDraft,
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
    check_client_type,
)
from portal_server.domain.errors import Invalid, Rule
from portal_server.domain.fields import Unknown
from portal_server.domain.provider import CredentialType, ProviderType
from portal_server.wire.rest_v1 import dialect
from portal_server.wire.rest_v1.codec import Codec

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RESOURCE = {
    "name": "x",
    "description": "",
    "response_types": (ResponseType.ID_TOKEN, ResponseType.CODE),
    "grant_types": (GrantType.PKCE,),
    "token_endpoint_auth_method": None,
    "okta_app_type": OktaAppType.WEB,
    "id": 7,
    "create_time": NOW,
    "update_time": NOW,
}
CODEC = Codec(CLIENT_TYPE, pb.ClientType)
VOCABULARIES = [ProviderType, ResponseType, GrantType, TokenEndpointAuthMethod, OktaAppType]


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


@pytest.mark.parametrize("words", VOCABULARIES)
def test_each_word_is_read_as_it_is_spelled(words: type[StrEnum]) -> None:
    read = [dialect.read_word(words, dialect.spell(word)) for word in words]

    assert read == list(words)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param(ResponseType, "RESPONSE_TYPE_CODE", id="the enum value"),
        pytest.param(ResponseType, "Code", id="another case"),
        pytest.param(ResponseType, "code token", id="two words"),
        pytest.param(ProviderType, "okta", id="the model's okta"),
        pytest.param(ProviderType, "OKTA", id="capitals"),
        pytest.param(ProviderType, "Okta ", id="a blank after"),
        pytest.param(GrantType, "code", id="a word of another list"),
        pytest.param(OktaAppType, " ", id="a blank"),
    ],
)
def test_any_other_word_is_unknown(words: type[StrEnum], text: str) -> None:
    assert dialect.read_word(words, text) == Unknown(text)


@pytest.mark.parametrize("words", VOCABULARIES)
def test_an_empty_text_is_not_a_word(words: type[StrEnum]) -> None:
    assert dialect.read_word(words, "") is None
    assert dialect.read_words(words, "") == ()


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
        pytest.param("id_token", [ResponseType.ID_TOKEN], id="the word of the RFC"),
    ],
)
def test_a_list_is_words_with_commas_between(text: str, words: list[ResponseType]) -> None:
    assert list(dialect.read_words(ResponseType, text)) == words


@given(st.lists(st.sampled_from(GrantType), min_size=1, unique=True))
def test_a_list_is_read_as_it_is_written(words: list[GrantType]) -> None:
    stored = SimpleNamespace(**RESOURCE | {"grant_types": tuple(words)})
    written = CODEC.response(stored)["grant_type"]

    assert " " not in written
    assert written.count(",") == len(words) - 1
    assert list(dialect.read_words(GrantType, written)) == words


def test_a_resource_is_written_in_the_dialects_spelling() -> None:
    assert CODEC.response(SimpleNamespace(**RESOURCE)) == {
        "name": "x",
        "description": "",
        "response_types": "it_token,code",
        "grant_type": "pkce",
        "token_endpoint_auth_method": "",
        "okta_app_type": "web",
        "id": 7,
        "created_at": "2026-01-02 03:04",
        "updated_at": "2026-01-02 03:04",
    }


def test_both_spellings_of_id_token_are_one_value() -> None:
    draft = ClientTypeDraft(
        name="x",
        response_types=dialect.read_words(ResponseType, "id_token,code,it_token"),
        grant_types=(GrantType.PKCE,),
    )
    spec = check_client_type(draft, ProviderType.OTHER)

    assert spec.response_types == (ResponseType.ID_TOKEN, ResponseType.CODE)


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
    assert dialect.write_minute(time) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, False) for text in ("", "false", "False", "FALSE", "0")),
        *((text, True) for text in ("true", "True", "TRUE", "tRuE", "1")),
    ],
)
def test_a_flag_is_true_or_false(text: str, value: bool) -> None:  # noqa: FBT001
    assert dialect.read_flag("force", text) is value


@pytest.mark.parametrize("text", ["10", "01", "-1", "yes", "on", " true", "true ", "null"])
def test_a_flag_has_no_other_values(text: str) -> None:
    with pytest.raises(Invalid) as rejection:
        dialect.read_flag("force", text)

    [violation] = rejection.value.violations
    assert (violation.field, violation.rule) == ("force", Rule.UNKNOWN_VALUE)


def test_equal_words_of_different_types_have_their_own_spelling() -> None:
    assert dialect.spell(GrantType.CLIENT_CREDENTIALS) == "client_credentials"
    assert dialect.spell(CredentialType.CLIENT_CREDENTIALS) == "ClientCredentials"
    assert dialect.spell(ResponseType.NONE) == "none"
    assert dialect.spell(CredentialType.NONE) == "None"
    assert dialect.spell(CredentialType.SSWS) == "SSWS"
