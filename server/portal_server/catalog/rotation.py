"""A change of the encryption key: re-encrypts all secrets, while servers run."""

import time
from collections.abc import Callable, Sequence

from portal_server.domain.calls import Call
from portal_server.storage.rows.secrets import Piece
from portal_server.storage.store import Store, Transaction

PIECE_ROWS = 100
# The pause between pieces, so that the writes of the servers hardly wait.
_PAUSE_S = 0.02


def encrypt_again(
    store: Store, call: Call, report: Callable[[str, int], None], rows: int = PIECE_ROWS
) -> Sequence[str]:
    """Encrypt all secrets that do not use the first key, including those in plain text.

    Each piece is a separate transaction, so an interruption loses at most one piece.
    `report` gets each table and how many of its secrets were encrypted.

    Returns:
        The secrets that cannot be read, which stay unchanged.

    Raises:
        PortalError: the storage failed, or there is no key, or not the one of a secret.
    """

    def piece_of(table: str, after: int) -> Piece | None:
        def work(tx: Transaction) -> Piece | None:
            piece = tx.secrets.encrypt_again(table, after, rows)
            if piece and piece.encrypted:
                facts: dict[str, str | int] = {
                    "table": table,
                    "secrets": piece.encrypted,
                    "last_id": piece.last,
                }
                tx.audit.add_maintenance(call, facts)
            return piece

        return store.write(call, work)

    problems: list[str] = []
    for table in store.read_latest(call, lambda tx: tx.secrets.tables):
        after = encrypted = 0
        while piece := piece_of(table, after):
            after = piece.last
            encrypted += piece.encrypted
            problems += piece.problems
            time.sleep(_PAUSE_S)
        report(table, encrypted)
    return problems
