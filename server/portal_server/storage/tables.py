"""The tables, as SQLModel models, and how a word, a list of words and a time are kept.

A column has the name of the model's field that it keeps. Times are UTC. Words
are kept as text and lists of words as JSON, so that a person can read the
tables. A `uid` is random (UUID version 4) and nothing looks it up: an index that
only proved it unique would write a page of its own for every row.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    String,
    TypeDecorator,
)
from sqlmodel import Field, SQLModel

from portal_server.domain.client_type import (
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.keys import Role
from portal_server.domain.provider import ProviderType


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime, also where the database keeps none (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the database UTC."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Say that it is UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Word(TypeDecorator[StrEnum]):
    """One word of a vocabulary, as text."""

    impl = String
    cache_ok = True

    def __init__(self, vocabulary: Callable[[str], StrEnum]) -> None:
        """Take the vocabulary."""
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
        """Take the vocabulary."""
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


# AUTOINCREMENT: without it SQLite gives the id of a deleted newest row again.
# PostgreSQL's sequences never do.
_NEVER_REUSE_IDS = {"sqlite_autoincrement": True}


class ProviderRow(SQLModel, table=True):
    """A provider."""

    __tablename__: ClassVar[Any] = "provider"
    __table_args__ = (_NEVER_REUSE_IDS,)

    id: int | None = Field(default=None, primary_key=True)
    uid: str = Field(max_length=36)
    name: str
    type: ProviderType = Field(sa_type=Word(ProviderType))
    well_known_uri: str
    tls_insecure_skip_verify: bool
    registration_access_token: str = Field(repr=False)
    create_time: datetime = Field(sa_type=UtcTime)
    update_time: datetime = Field(sa_type=UtcTime)


class ClientTypeRow(SQLModel, table=True):
    """A client type; goes with its provider."""

    __tablename__: ClassVar[Any] = "client_type"
    __table_args__ = (
        Index("ix_client_type_provider_id_id", "provider_id", "id"),
        _NEVER_REUSE_IDS,
    )

    id: int | None = Field(default=None, primary_key=True)
    uid: str = Field(max_length=36)
    provider_id: int = Field(foreign_key="provider.id", ondelete="CASCADE")
    name: str
    description: str
    response_types: list[ResponseType] = Field(sa_type=Words(ResponseType))
    grant_types: list[GrantType] = Field(sa_type=Words(GrantType))
    token_endpoint_auth_method: TokenEndpointAuthMethod | None = Field(
        sa_type=Word(TokenEndpointAuthMethod)
    )
    okta_app_type: OktaAppType | None = Field(sa_type=Word(OktaAppType))
    create_time: datetime = Field(sa_type=UtcTime)
    update_time: datetime = Field(sa_type=UtcTime)


class AnswerRow(SQLModel, table=True):
    """The answer of a write, kept for the case that its request comes again.

    In ascending order of id they are in ascending order of time.
    """

    __tablename__: ClassVar[Any] = "answer"
    __table_args__ = (_NEVER_REUSE_IDS,)

    # As many as there are writes: four bytes would be used up within days.
    id: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger().with_variant(Integer, "sqlite")
    )
    digest: bytes = Field(sa_type=LargeBinary, unique=True)
    fingerprint: bytes = Field(sa_type=LargeBinary)
    # As JSON; without a `key_id`, in the form of the version before.
    answer: bytes = Field(sa_type=LargeBinary, repr=False)
    create_time: datetime = Field(sa_type=UtcTime)
    key_id: str | None = Field(default=None)


class ApiKeyRow(SQLModel, table=True):
    """An API key: its hash, never its text."""

    __tablename__: ClassVar[Any] = "api_key"

    key_id: str = Field(max_length=8, primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary, repr=False)
    role: Role = Field(sa_type=Word(Role))
    note: str
    create_time: datetime = Field(sa_type=UtcTime)
    revoke_time: datetime | None = Field(sa_type=UtcTime)
