"""How the REST dialect writes the model: spellings, comma-separated lists, times."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Generic, TypeVar

from portal_server.domain.client_type import (
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.fields import Unknown
from portal_server.domain.provider import ProviderType
from portal_server.wire.requests import of_header
from portal_server.wire.status import Surface

Word = TypeVar("Word", bound=StrEnum)

# Where the dialect does not use the RFCs' word. `it_token` is *sic*.
_SPELLINGS: dict[StrEnum, str] = {
    ResponseType.ID_TOKEN: "it_token",
    ProviderType.KEYCLOAK: "Keycloak",
    ProviderType.GLUU: "Gluu",
    ProviderType.OKTA: "Okta",
    ProviderType.OTHER: "Other",
}


def spell(word: StrEnum) -> str:
    """A word as the dialect writes it."""
    return _SPELLINGS.get(word, str(word))


SURFACE = Surface(
    {
        "name": "Name",
        "type": "Type",
        "well_known_uri": "WellKnownURL",
        "tls_insecure_skip_verify": "SSLInsecureSkipVerify",
        "registration_access_token": "RegistrationAccessToken",
        "description": "Description",
        "response_types": "ResponseTypes",
        "grant_types": "GrantType",
        "token_endpoint_auth_method": "TokenEndpointAuthMethod",
        "okta_app_type": "OktaAppType",
        "request_id": "Idempotency-Key",
        "if_match": "If-Match",
    },
    spell,
    of_header,
)


class Vocabulary(Generic[Word]):
    """Words as the dialect writes them."""

    def __init__(self, words: type[Word]) -> None:
        """Take the words."""
        self._words = {spell(word): word for word in words}

    def optional_word(self, text: str) -> Word | Unknown | None:
        """The word of a text; None for "", Unknown for what is no word."""
        return self._words.get(text) or Unknown(text) if text else None

    def words(self, text: str) -> tuple[Word | Unknown, ...]:
        """The words of a comma-separated list; blanks around commas do not count."""
        if not text.strip():
            return ()
        parts = (part.strip() for part in text.split(","))
        return tuple(self._words.get(part) or Unknown(part) for part in parts)


PROVIDER_TYPE = Vocabulary(ProviderType)
RESPONSE_TYPE = Vocabulary(ResponseType)
GRANT_TYPE = Vocabulary(GrantType)
TOKEN_ENDPOINT_AUTH_METHOD = Vocabulary(TokenEndpointAuthMethod)
OKTA_APP_TYPE = Vocabulary(OktaAppType)


def csv(words: Iterable[StrEnum]) -> str:
    """Words as a comma-separated list."""
    return ",".join(map(spell, words))


def minute(time: datetime) -> str:
    """A time in UTC, `YYYY-MM-DD HH:MM`."""
    return time.astimezone(UTC).isoformat(" ", "minutes")[: len("YYYY-MM-DD HH:MM")]


def flag(field: str, text: str) -> bool:
    """What a query parameter says; "" is false.

    Raises:
        Invalid: it is neither `true` nor `false`.
    """
    if text not in ("", "true", "false"):
        raise Invalid(Violation(field, Rule.UNKNOWN_VALUE, "must be true or false"))
    return text == "true"
