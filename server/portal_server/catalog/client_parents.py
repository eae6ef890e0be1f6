"""The provider and the client type of a client, and what they decide about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from portal_server.catalog.registrations import (
    Registrations,
    is_confidential,
)
from portal_server.domain import registration
from portal_server.domain.calls import Call
from portal_server.domain.client import (
    Client,
    ClientDraft,
    ClientSpec,
    Metadata,
    check_client,
)
from portal_server.domain.client_type import ClientType
from portal_server.domain.discovery import Discovery, Finding, FindingSeverity
from portal_server.domain.errors import (
    Precondition,
    ProviderError,
    Reason,
    Unimplemented,
)
from portal_server.domain.identity import Ref
from portal_server.domain.provider import Provider
from portal_server.idp.access import Access
from portal_server.idp.registrar import Registrar
from portal_server.storage.store import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Parents:
    """The provider and the client type of a client, and the provider with its secrets."""

    provider: Provider
    client_type: ClientType
    access: Access

    def plan(self, spec: ClientSpec, uid: str, discovery: Discovery | None) -> registration.Plan:
        """What is sent to register this client, and what is wrong or surprising about it."""
        return registration.plan(self.client_type, self.provider.type, spec, uid, discovery)

    def checked(self, draft: ClientDraft) -> ClientSpec:
        """Accept a client of this client type. Raises: Invalid."""
        unmet = registration.redirect_uri_violations(
            self.client_type, self.provider.type, draft.redirect_uris
        )
        return check_client(draft, unmet)


class ClientParents:
    """Reads the provider and the client type of a client, from the database and the provider."""

    def __init__(self, store: Store, registrations: Registrations, registrar: Registrar) -> None:
        self._store = store
        self._registrations = registrations
        self._registrar = registrar

    def of(self, call: Call, provider: Ref, client_type: Ref) -> Parents:
        """The current provider and client type. Raises: NotFound, Precondition."""

        def work(tx: Transaction) -> tuple[Provider, ClientType]:
            parent = tx.providers.get(provider)
            return parent, tx.client_types.get(parent.id, client_type)

        parent, type_ = self._store.read_latest(call, work)
        access = self._registrations.access(parent)
        return Parents(provider=parent, client_type=type_, access=access)

    def discover(self, parents: Parents) -> Discovery | None:
        """The discovery document; None if only the endpoint of the provider is needed."""
        try:
            return self._registrar.discover(parents.access)
        except ProviderError:
            if parents.provider.registration_endpoint:
                return None
            raise

    def require_secret(self, parents: Parents, client: Client, metadata: Metadata) -> None:
        """Accept an update that makes a public client confidential, if it can get a secret.

        Some providers give it none in the response to an update, and it then needs a rotation.
        """
        if not is_confidential(metadata) or is_confidential(
            {**client.requested, **client.registered}
        ):
            return
        try:
            self._registrar.check_rotation(parents.access, metadata)
        except Unimplemented:
            text = (
                f"client {client.id} is public, and its client type now has an authentication"
                " method: an update cannot give it a secret; register a new client, then"
                " delete this one"
            )
            raise Precondition(Reason.CLIENT_STATE, text) from None


def require_registrable(findings: Sequence[Finding]) -> None:
    """Accept a registration without errors. Raises: Precondition."""
    errors = [one.text for one in findings if one.severity is FindingSeverity.ERROR]
    if errors:
        raise Precondition(Reason.CLIENT_TYPE_NOT_REGISTRABLE, "; ".join(errors))
