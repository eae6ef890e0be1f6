"""How a provider and its clients are addressed: the secrets are in plain text here."""

from dataclasses import dataclass, field
from datetime import datetime

from portal_server.domain.provider import Provider
from portal_server.idp import urls

Version = tuple[str, datetime]
"""A provider at one time: its uid, and when it was last changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A provider with its secrets in plain text. It is never logged."""

    provider: Provider
    registration_access_token: str = field(default="", repr=False)
    credential_client_secret: str = field(default="", repr=False)

    @property
    def version(self) -> Version:
        """Changes with the provider: the key of its cache entries and connections."""
        return (self.provider.uid, self.provider.update_time)

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins that may see secrets and clients' tokens: an administrator sets them."""
        given = (self.provider.well_known_uri, self.provider.registration_endpoint)
        return tuple(url.origin for text in given if (url := urls.parse(text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Handle:
    """How a registered client is addressed at its provider (RFC 7592, section 3)."""

    client_id: str
    registration_client_uri: str = ""
    registration_access_token: str = field(default="", repr=False)
