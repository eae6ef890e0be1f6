"""What prevents the deletion of a client type or a provider: its registered clients."""

from typing import Protocol

from portal_server.domain.calls import Call
from portal_server.domain.errors import Precondition, Reason
from portal_server.domain.identity import Ref
from portal_server.storage.store import Transaction

# How many clients an error names.
_NAMED = 3


class ClientRemoval(Protocol):
    """Removes clients at the provider, then here."""

    def remove_all(self, call: Call, provider: Ref, client_type: Ref | None = None) -> None:
        """Delete all clients of a provider or client type."""


def require_no_clients(
    tx: Transaction, what: str, provider_id: int, client_type_id: int | None = None
) -> None:
    """Accept a provider or client type without clients.

    Raises:
        Precondition: it has some; the error counts them and names the first.
    """
    count, names = tx.clients.in_use(provider_id, client_type_id, _NAMED)
    if count:
        clients = "1 client" if count == 1 else f"{count} clients"
        named = ", ".join(names) + (", …" if count > len(names) else "")
        text = f"{what} has {clients}: {named}; delete them first, or set force"
        raise Precondition(Reason.CLIENTS_EXIST, text)
