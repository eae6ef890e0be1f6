"""The use cases, as the servicers need them.

Those that call identity providers are protocols, so that tests need no provider.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from portal_server.catalog.client_types import ClientTypes
from portal_server.catalog.providers import Providers
from portal_server.catalog.updates import Change, Etags
from portal_server.domain.calls import Call
from portal_server.domain.client import Client, ClientDraft, Found, Preview, Registration
from portal_server.domain.discovery import ProviderCheck
from portal_server.domain.identity import Ref
from portal_server.domain.lists import Condition, Page, PageRange
from portal_server.domain.provider import ProviderDraft


class Clients(Protocol):
    """The clients that are registered at providers."""

    def preview(self, call: Call, provider: Ref, client_type: Ref, draft: ClientDraft) -> Preview:
        """What a registration would send."""

    def register(
        self, call: Call, provider: Ref, client_type: Ref, draft: ClientDraft
    ) -> Registration:
        """Register a client at the provider."""

    def get(self, call: Call, provider: Ref, ref: Ref, client_type: Ref | None = None) -> Client:
        """Get a client; if a client type is given, one of this type."""

    def list(
        self,
        call: Call,
        provider: Ref,
        client_type: Ref | None,
        where: Sequence[Condition],
        rows: PageRange,
    ) -> Page[Client]:
        """List the clients that meet all conditions."""

    def update(
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        change: Change[ClientDraft],
        client_type: Ref | None = None,
    ) -> Client:
        """Update a client at the provider and here."""

    def delete(  # noqa: PLR0913 - which client, and on what conditions
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        *,
        force: bool = False,
        etags: Etags = None,
        client_type: Ref | None = None,
    ) -> None:
        """Delete a client at the provider, then here."""

    def rotate(
        self,
        call: Call,
        provider: Ref,
        ref: Ref,
        etags: Etags = None,
        client_type: Ref | None = None,
    ) -> Registration:
        """Replace the secret of a client."""

    def check(self, call: Call, provider: Ref, ref: Ref) -> Client:
        """Read a client at the provider, and store what is different there."""

    def resolve(
        self, call: Call, provider: Ref, ref: Ref, found: Found, etags: Etags = None
    ) -> Client:
        """End a state in which only a person knows what is true at the provider."""


class ProviderChecks(Protocol):
    """The checks of providers."""

    def check(self, call: Call, ref: Ref) -> tuple[ProviderCheck, ...]:
        """Check a stored provider."""

    def check_draft(self, call: Call, draft: ProviderDraft) -> tuple[ProviderCheck, ...]:
        """Check a provider that is not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """All use cases."""

    providers: Providers
    client_types: ClientTypes
    clients: Clients
    provider_checks: ProviderChecks
