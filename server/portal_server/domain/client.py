"""Clients: they are registered at a provider from a client type (RFC 7591).

A client has the same types as other resources: draft, spec, stored form. It also has
a state: whether it exists at the provider.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from portal_server.domain import fields
from portal_server.domain.discovery import Finding
from portal_server.domain.errors import Invalid, Violation
from portal_server.domain.fields import Field, Labels, RedirectUris, Scope, Text, Unknown
from portal_server.domain.identity import etag_of


class ClientState(StrEnum):
    """Whether a client exists at the provider; see docs/clients.md."""

    REGISTERING = "registering"
    ACTIVE = "active"
    UPDATING = "updating"
    UNKNOWN = "unknown"
    DELETING = "deleting"
    DETACHED = "detached"
    ORPHANED = "orphaned"
    EXPIRED = "expired"


class ClientResolution(StrEnum):
    """What a person found at the provider."""

    GONE = "gone"
    ADOPT = "adopt"
    FORGET = "forget"


CLIENT: Mapping[str, Field] = {
    "name": Text(max_length=255, required=True, filterable=True),
    "redirect_uris": RedirectUris(max_count=50, max_length=2048, max_total=8192),
    "scope": Scope(max_length=4096),
    "labels": Labels(max_count=16, max_key_length=63, max_value_length=255),
}
"""The fields that a caller can write."""

Metadata = Mapping[str, Any]
"""Client metadata (RFC 7591, section 2), as JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientDraft:
    """A client as a caller requests it."""

    name: str = ""
    redirect_uris: tuple[str, ...] = ()
    scope: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSpec:
    """A client as the rules accept it."""

    name: str
    redirect_uris: tuple[str, ...]
    scope: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One piece of metadata that the provider granted differently; JSON, "" for nothing."""

    field: str
    asked: str
    granted: str
    wider: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderClient:
    """A client as the provider returned it. `metadata` has no secrets; times are UTC.

    `message` is what is wrong with it.
    """

    client_id: str
    metadata: Metadata
    client_secret: str = field(default="", repr=False)
    registration_client_uri: str = ""
    registration_access_token: str = field(default="", repr=False)
    client_id_issue_time: datetime | None = None
    client_secret_expire_time: datetime | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client(ClientSpec):
    """A stored client. Times are UTC. Its secrets are `Sealed`.

    `due_time` is when the reconciler processes it next, and `attempts` how often it did so
    without a result. `client_secret_digest` is that of the secret that a response returned last;
    "" if none is known.
    """

    id: int
    uid: str
    provider_id: int
    client_type_id: int
    state: ClientState
    state_time: datetime
    message: str = ""
    client_id: str = ""
    client_id_issue_time: datetime | None = None
    client_secret_expire_time: datetime | None = None
    client_secret: str = field(default="", repr=False)
    client_secret_available_time: datetime | None = None
    client_secret_digest: str = field(default="", repr=False)
    requested: Metadata = field(default_factory=dict)
    registered: Metadata = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    registration_client_uri: str = ""
    registration_access_token: str = field(default="", repr=False)
    verify_time: datetime | None = None
    due_time: datetime | None = None
    attempts: int = 0
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """The entity tag of what is stored, quotes included (RFC 9110, section 8.8.3)."""
        return etag_of(self.uid, self.update_time)

    @property
    def registration_access_token_set(self) -> bool:
        """Whether a registration access token is stored."""
        return bool(self.registration_access_token)

    @property
    def new_client_secret(self) -> str:
        """Always "": only the response to an update that replaced the secret has it."""
        return ""

    @property
    def client_name(self) -> str:
        """Its name at the provider, with the mark that identifies it there."""
        return client_name(self.name, self.uid)

    def redacted(self) -> "Client":
        """The same without its secrets, but with whether they are set."""
        return replace(
            self,
            client_secret="set" if self.client_secret else "",
            client_secret_digest="",
            registration_access_token="set" if self.registration_access_token else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a registration would send, and its URL; "" if it is not known."""

    uri: str
    metadata: Metadata
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A client with its secret, in plain text; "" if it has none, or no new one."""

    client: Client
    client_secret: str = field(default="", repr=False)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a person found at the provider; the other fields are those of ADOPT."""

    resolution: ClientResolution | Unknown | None = None
    client_id: str = ""
    registration_client_uri: str = ""
    registration_access_token: str = field(default="", repr=False)


# Keycloak stores names of at most 255 characters.
_MAX_NAME = 240
_MARK_DIGITS = 12


def client_name(name: str, uid: str) -> str:
    """The name of a client at the provider: its name, then a mark that no other client has.

    The mark is the random end of the uid (RFC 9562, section 5.7).
    """
    return f"{name[:_MAX_NAME]} [{uid[-_MARK_DIGITS:]}]"


def check_client(draft: ClientDraft, others: Iterable[Violation] = ()) -> ClientSpec:
    """Accept a client; `others` are violations of the same request that are already known.

    Raises:
        Invalid: with all violations.
    """
    violations = list(others)
    accepted = fields.check(draft, CLIENT, violations)
    if violations:
        raise Invalid(*violations)
    return ClientSpec(**accepted)
