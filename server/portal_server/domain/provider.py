"""Providers: the OAuth servers at which clients are registered.

A resource has three types. A *draft* is what a caller requests, unchecked. A
*spec* is a draft that the rules have accepted. The resource itself is a stored
spec with the fields that the server adds.

Words are those of the RFCs, and are stored as such. Each API has its own spelling
of them (an enum value, `it_token`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from portal_server.domain import fields
from portal_server.domain.errors import Invalid, Violation
from portal_server.domain.fields import (
    Field,
    Flag,
    Pem,
    Scope,
    Secret,
    Text,
    Unknown,
    Uri,
    Word,
    missing,
)
from portal_server.domain.identity import etag_of


class ProviderType(StrEnum):
    """The software of a provider."""

    KEYCLOAK = "keycloak"
    GLUU = "gluu"
    OKTA = "okta"
    OTHER = "other"


class CredentialType(StrEnum):
    """What is presented to a provider to register clients."""

    NONE = "none"
    INITIAL_ACCESS_TOKEN = "initial_access_token"  # noqa: S105 - a word
    CLIENT_CREDENTIALS = "client_credentials"
    SSWS = "ssws"


PROVIDER: Mapping[str, Field] = {
    "name": Text(max_length=255, required=True, filterable=True),
    "type": Word(vocabulary=ProviderType, required=True),
    "well_known_uri": Uri(max_length=2048, required=True),
    "tls_insecure_skip_verify": Flag(),
    "registration_access_token": Secret(max_length=4096),
    "registration_endpoint": Uri(max_length=2048),
    "ca_certificate": Pem(max_length=65536),
    "credential_type": Word(vocabulary=CredentialType),
    "credential_client_id": Text(max_length=255),
    "credential_client_secret": Secret(max_length=4096),
    "credential_scope": Scope(max_length=1024),
}
"""The fields that a caller can write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderDraft:
    """A provider as a caller requests it."""

    name: str = ""
    type: ProviderType | Unknown | None = None
    well_known_uri: str = ""
    tls_insecure_skip_verify: bool = False
    registration_access_token: str = field(default="", repr=False)
    registration_endpoint: str = ""
    ca_certificate: str = ""
    credential_type: CredentialType | Unknown | None = None
    credential_client_id: str = ""
    credential_client_secret: str = field(default="", repr=False)
    credential_scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """A provider as the rules accept it. Its secrets are `Sealed` once they are stored.

    The fields with a default are missing in responses that earlier versions stored.
    """

    name: str
    type: ProviderType
    well_known_uri: str
    tls_insecure_skip_verify: bool
    registration_access_token: str = field(repr=False)
    registration_endpoint: str = ""
    ca_certificate: str = ""
    credential_type: CredentialType | None = None
    credential_client_id: str = ""
    credential_client_secret: str = field(default="", repr=False)
    credential_scope: str = ""

    @property
    def credential(self) -> CredentialType:
        """The type that is used: `credential_type`, or the default for the other fields."""
        if self.credential_type:
            return self.credential_type
        if self.type is ProviderType.OKTA:
            return CredentialType.SSWS
        has_token = bool(self.registration_access_token)
        return CredentialType.INITIAL_ACCESS_TOKEN if has_token else CredentialType.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(ProviderSpec):
    """A stored provider. Times are UTC."""

    id: int
    uid: str
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """The entity tag of what is stored, quotes included (RFC 9110, section 8.8.3)."""
        return etag_of(self.uid, self.update_time)

    def redacted(self) -> "Provider":
        """The same without its secrets, but with whether they are set."""
        return replace(
            self,
            registration_access_token="set" if self.registration_access_token else "",
            credential_client_secret="set" if self.credential_client_secret else "",
        )


# What each type of credential needs in addition to its secret. A secret may be missing: an
# export has none, and the check of the provider reports it.
_NEEDS: Mapping[object, tuple[str, ...]] = {
    CredentialType.CLIENT_CREDENTIALS: ("credential_client_id",),
}


def check_provider(draft: ProviderDraft, others: Iterable[Violation] = ()) -> ProviderSpec:
    """Accept a provider; `others` are violations of the same request that are already known.

    Raises:
        Invalid: with all violations.
    """
    violations = list(others)
    accepted = fields.check(draft, PROVIDER, violations)
    violations += (
        missing(name) for name in _NEEDS.get(draft.credential_type, ()) if not accepted[name]
    )
    if violations:
        raise Invalid(*violations)
    return ProviderSpec(**accepted)
