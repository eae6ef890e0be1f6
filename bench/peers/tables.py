"""The peers' tables as in the SQLModel tutorial."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import uuid4

from sqlalchemy import JSON, DateTime, Engine, Index, LargeBinary
from sqlmodel import Field, Session, SQLModel, create_engine, select

from portal_server.domain import keys


def now() -> datetime:
    """The time of a row."""
    return datetime.now(UTC)


def new_uid() -> str:
    """The UUID of a row."""
    return str(uuid4())


class Provider(SQLModel, table=True):
    """A provider."""

    __tablename__: ClassVar[Any] = "provider"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = Field(default=None, primary_key=True)
    uid: str = Field(default_factory=new_uid, max_length=36)
    name: str
    type: str = Field(max_length=64)
    well_known_uri: str
    tls_insecure_skip_verify: bool = False
    registration_access_token: str = ""
    create_time: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    update_time: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


class ClientType(SQLModel, table=True):
    """A client type."""

    __tablename__: ClassVar[Any] = "client_type"
    __table_args__ = (
        Index("ix_client_type_provider_id_id", "provider_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    uid: str = Field(default_factory=new_uid, max_length=36)
    provider_id: int = Field(foreign_key="provider.id", ondelete="CASCADE")
    name: str
    description: str
    response_types: list[str] = Field(sa_type=JSON)
    grant_types: list[str] = Field(sa_type=JSON)
    token_endpoint_auth_method: str | None = Field(max_length=64)
    okta_app_type: str | None = Field(max_length=64)
    create_time: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    update_time: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


class ApiKey(SQLModel, table=True):
    """An API key, as the portal stores it. Only the Go peer reads them."""

    __tablename__: ClassVar[Any] = "api_key"

    key_id: str = Field(max_length=8, primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary)
    create_time: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    revoke_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


def open_engine(url: str) -> Engine:
    """An engine as in the tutorial.

    Durable as it comes: SQLite with a rollback journal and synchronous=FULL, PostgreSQL with
    synchronous_commit=on.
    """
    if url.startswith("sqlite"):
        return create_engine(url, connect_args={"check_same_thread": False})
    return create_engine(url)


def create_db_and_tables(engine: Engine) -> None:
    """Create the tables and provider 1 if they do not exist."""
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        if session.exec(select(Provider)).first() is None:
            session.add(
                Provider(
                    name="Example Keycloak",
                    type="keycloak",
                    well_known_uri="http://localhost/.well-known/openid-configuration",
                )
            )
            session.commit()


def create_api_key(engine: Engine) -> str:
    """Store a new API key; returns its text."""
    key_id, text = keys.generate()
    with Session(engine) as session:
        session.add(ApiKey(key_id=key_id, digest=keys.digest(text)))
        session.commit()
    return text
