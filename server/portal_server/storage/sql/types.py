"""Column types: how words, lists of words, times and secrets are stored.

Words are stored as text and lists of words as JSON, so that a person can read
the tables. Times are UTC.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, String, TypeDecorator

from portal_server.domain.fields import Sealed

# How a short list of texts begins in JSON, as the portal writes it.
_TEXTS = ('["', b'["', "[]", b"[]")
_MAX_KEPT_BYTES = 256


def from_json(text: str | bytes) -> Any:
    """The value of a column with JSON; a list of texts is a tuple, so that it can be cached."""
    if text[:2] in _TEXTS and len(text) <= _MAX_KEPT_BYTES:
        return _texts(text)
    value = json.loads(text)
    texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return tuple(value) if texts else value


@lru_cache(1024)
def _texts(text: str | bytes) -> tuple[str, ...]:
    return tuple(json.loads(text))


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime, also on SQLite, which does not store time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Mark as UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Word(TypeDecorator[StrEnum]):
    """One word of a vocabulary, as text."""

    impl = String
    cache_ok = True

    def __init__(self, vocabulary: Callable[[str], StrEnum]) -> None:
        super().__init__(64)
        self.vocabulary = vocabulary

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        """Store the word itself."""
        return value if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> StrEnum | None:
        """Read the word back."""
        return value if value is None else self.vocabulary(value)


class Words(TypeDecorator[tuple[StrEnum, ...]]):
    """Words of a vocabulary in their order, as a JSON array."""

    impl = JSON
    cache_ok = True

    def __init__(self, vocabulary: Callable[[str], StrEnum]) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    def process_bind_param(
        self, value: tuple[StrEnum, ...] | None, dialect: Dialect
    ) -> list[str] | None:
        """Store the words themselves."""
        return value if value is None else [str(word) for word in value]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[StrEnum, ...] | None:
        """Read the words back."""
        return value if value is None else tuple(map(self.vocabulary, value))


class SecretText(TypeDecorator[str]):
    """A secret, encrypted before it gets here: see `storage.encryption`.

    `column` is its table and column.
    """

    impl = String
    cache_ok = True

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    def process_result_value(self, value: Any, dialect: Dialect) -> Sealed | None:
        """Read it back, still encrypted."""
        return value if value is None else Sealed(value)


# AUTOINCREMENT: without it SQLite would use the id of a deleted newest row again.
# PostgreSQL's sequences never do.
NEVER_REUSE_IDS = {"sqlite_autoincrement": True}
