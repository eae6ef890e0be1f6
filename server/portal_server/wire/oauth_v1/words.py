"""The model's words beside the values of the proto enums.

There is no table: an enum value is its prefix and the word's name.
"""

from enum import StrEnum
from typing import Any, Generic, TypeVar

from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal_server.domain.client_type import (
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.fields import Unknown
from portal_server.domain.provider import ProviderType

Word = TypeVar("Word", bound=StrEnum)


class Vocabulary(Generic[Word]):
    """One enum of the protos and the words it stands for."""

    def __init__(self, words: type[Word], enum: Any, prefix: str) -> None:
        """Take the words, the proto enum and what its values begin with."""
        self._enum = enum
        self.words = tuple(words)
        self.prefix = prefix
        self.unset = prefix + "UNSPECIFIED"
        self._words = {int(enum.Value(prefix + word.name)): word for word in words}
        self._numbers = {word: number for number, word in self._words.items()}
        self._spellings = {self.name(word): word for word in words} | {
            str(word): word for word in words
        }

    def name(self, word: StrEnum) -> str:
        """The name of a word's enum value."""
        return self.prefix + word.name

    def number(self, word: Word | None) -> Any:
        """The enum value of a word; 0 for None."""
        return 0 if word is None else self._numbers[word]

    def word(self, number: int) -> Word | Unknown:
        """The word of an enum value; 0 and numbers without a name are Unknown."""
        if number in self._words:
            return self._words[number]
        known = number in self._enum.values()
        return Unknown(self._enum.Name(number) if known else str(number))

    def optional_word(self, number: int) -> Word | Unknown | None:
        """The word of an enum value; None for 0."""
        return self.word(number) if number else None

    def spelled(self, text: str) -> Word | Unknown:
        """The word that an enum value's name, or the RFC's own word, stands for."""
        return self._spellings.get(text) or Unknown(text)


PROVIDER_TYPE = Vocabulary(ProviderType, provider_pb2.ProviderType, "PROVIDER_TYPE_")
RESPONSE_TYPE = Vocabulary(ResponseType, client_type_pb2.ResponseType, "RESPONSE_TYPE_")
GRANT_TYPE = Vocabulary(GrantType, client_type_pb2.GrantType, "GRANT_TYPE_")
TOKEN_ENDPOINT_AUTH_METHOD = Vocabulary(
    TokenEndpointAuthMethod,
    client_type_pb2.TokenEndpointAuthMethod,
    "TOKEN_ENDPOINT_AUTH_METHOD_",
)
OKTA_APP_TYPE = Vocabulary(OktaAppType, client_type_pb2.OktaAppType, "OKTA_APP_TYPE_")

_BY_TYPE: dict[type[StrEnum], Vocabulary[Any]] = {
    ProviderType: PROVIDER_TYPE,
    ResponseType: RESPONSE_TYPE,
    GrantType: GRANT_TYPE,
    TokenEndpointAuthMethod: TOKEN_ENDPOINT_AUTH_METHOD,
    OktaAppType: OKTA_APP_TYPE,
}


def spell(word: StrEnum) -> str:
    """The name of any word's enum value; a word that is no enum's stays as it is."""
    vocabulary = _BY_TYPE.get(type(word))
    return vocabulary.name(word) if vocabulary else str(word)
