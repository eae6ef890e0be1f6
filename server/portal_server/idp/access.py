"""How a provider and its clients are addressed: the secrets are in plain text here."""

from dataclasses import dataclass, field

from portal_server.domain.provider import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A provider with its secrets in plain text. It is never logged."""

    provider: Provider
    registration_access_token: str = field(default="", repr=False)
    credential_client_secret: str = field(default="", repr=False)

    @property
    def version(self) -> tuple[str, str]:
        """Changes with the provider: the key of what is cached for it."""
        return (self.provider.uid, self.provider.etag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handle:
    """How a registered client is addressed at its provider (RFC 7592, section 3)."""

    client_id: str
    registration_client_uri: str = ""
    registration_access_token: str = field(default="", repr=False)
