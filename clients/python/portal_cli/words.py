"""The words of the RFCs, which people write, beside the numbers of the API's enums."""

from collections.abc import Iterable
from typing import Any, Final

from portal_client import (
    GrantType,
    OktaAppType,
    ProviderType,
    ResponseType,
    TokenEndpointAuthMethod,
)


class Vocabulary:
    """One enum: a word is its value's name without what all names begin with."""

    def __init__(self, enum: Any) -> None:
        """Take the enum."""
        unset, *names = enum.keys()
        prefix = unset.removesuffix("UNSPECIFIED")
        self._numbers = {name.removeprefix(prefix).lower(): enum.Value(name) for name in names}
        self._words = {number: word for word, number in self._numbers.items()}

    @property
    def words(self) -> tuple[str, ...]:
        """All words."""
        return tuple(self._numbers)

    def checked(self, word: str) -> str:
        """The word. Raises ValueError, with the words that there are, for any other."""
        if word not in self._numbers:
            raise ValueError(f"{word!r} is none of {', '.join(self._numbers)}")
        return word

    def number(self, word: str | None) -> Any:
        """The enum's value; 0 for no word."""
        return self._numbers[word] if word else 0

    def numbers(self, words: Iterable[str]) -> list[Any]:
        """The enum's values."""
        return [self._numbers[word] for word in words]

    def word(self, number: int) -> str | None:
        """The word of a value; None for 0, the number itself for one that is newer than we are."""
        return self._words.get(number, str(number)) if number else None

    def words_of(self, numbers: Iterable[int]) -> list[str]:
        """The words of values."""
        return [str(self.word(number)) for number in numbers]


PROVIDER_TYPE: Final = Vocabulary(ProviderType)
RESPONSE_TYPE: Final = Vocabulary(ResponseType)
GRANT_TYPE: Final = Vocabulary(GrantType)
TOKEN_ENDPOINT_AUTH_METHOD: Final = Vocabulary(TokenEndpointAuthMethod)
OKTA_APP_TYPE: Final = Vocabulary(OktaAppType)
