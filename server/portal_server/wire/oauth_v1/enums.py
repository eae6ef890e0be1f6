"""The words of the domain and the values of the proto enums.

No table: the enum has the name of the words' type, and each value is the enum's prefix
and the name of the word.
"""

from enum import StrEnum
from functools import cache
from typing import Any, Generic, TypeVar

from portal.oauth.v1 import client_type_pb2
from portal_server.domain.fields import Unknown

Word = TypeVar("Word", bound=StrEnum)

_PACKAGE = client_type_pb2.DESCRIPTOR.package
_POOL = client_type_pb2.DESCRIPTOR.pool


class Vocabulary(Generic[Word]):
    """The words of one type as values of the proto enum of the same name."""

    def __init__(self, words: type[Word]) -> None:
        enum = _POOL.FindEnumTypeByName(f"{_PACKAGE}.{words.__name__}")
        self.unset = enum.values_by_number[0].name
        """The name of the value 0."""
        self._prefix = self.unset.removesuffix("UNSPECIFIED")
        self._names = {value.number: value.name for value in enum.values}
        self.numbers: dict[Word | None, int] = {None: 0} | {
            word: enum.values_by_name[self.name(word)].number for word in words
        }
        """The number of each word; 0 for None."""
        self._words = {self.numbers[word]: word for word in words}
        self._spellings = {spelling: word for word in words for spelling in (self.name(word), word)}

    def name(self, word: StrEnum) -> str:
        """The name of a word's enum value."""
        return self._prefix + word.name

    def word(self, number: int) -> Word | Unknown:
        """The word of an enum value; Unknown for 0 and for numbers without a name."""
        return self._words.get(number) or Unknown(self._names.get(number, str(number)))

    def optional_word(self, number: int) -> Word | Unknown | None:
        """The word of an enum value; None for 0."""
        return self.word(number) if number else None

    def parse(self, text: str) -> Word | Unknown:
        """The word of the name of an enum value, or of the RFC's own word."""
        return self._spellings.get(text) or Unknown(text)


@cache
def vocabulary_of(words: type[Word]) -> Vocabulary[Word]:
    """The vocabulary of a type of words."""
    return Vocabulary(words)


def wire_name(word: StrEnum) -> str:
    """The name of a word's enum value."""
    return vocabulary_of(type(word)).name(word)


def number_of(word: StrEnum | None) -> Any:
    """The number of a word's enum value; 0 for None. The stubs have a type for each enum."""
    return vocabulary_of(type(word)).numbers[word] if word else 0
