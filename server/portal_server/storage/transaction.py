"""What a job can do with rows: one attribute for each resource."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy

from portal_server.domain.errors import Resource
from portal_server.storage.encryption import Vault
from portal_server.storage.inserts import Adds, Cursor, InsertStatements, ValidatingCursor
from portal_server.storage.rows import client_types, clients, providers
from portal_server.storage.rows.api_keys import ApiKeyRows, ApiKeyStatements
from portal_server.storage.rows.audit import AuditRows, AuditStatements
from portal_server.storage.rows.client_types import ClientTypeRows, ClientTypeStatements
from portal_server.storage.rows.clients import ClientRows, ClientStatements
from portal_server.storage.rows.leases import LeaseRows, LeaseStatements
from portal_server.storage.rows.providers import ProviderRows, ProviderStatements
from portal_server.storage.rows.responses import ResponseRows, ResponseStatements
from portal_server.storage.rows.secrets import SecretRows, SecretStatements


class Statements:
    """All statements, compiled for one dialect, and the vault for their secrets."""

    def __init__(self, dialect: sqlalchemy.Dialect, vault: Vault) -> None:
        # In the order in which new rows refer to each other.
        self.inserts = {
            Resource.PROVIDER: InsertStatements(providers.TABLE, dialect),
            Resource.CLIENT_TYPE: InsertStatements(client_types.TABLE, dialect),
            Resource.CLIENT: InsertStatements(clients.TABLE, dialect),
        }
        self.providers = ProviderStatements(dialect, vault)
        self.client_types = ClientTypeStatements(dialect)
        self.clients = ClientStatements(dialect, vault)
        self.responses = ResponseStatements(dialect)
        self.api_keys = ApiKeyStatements(dialect)
        self.leases = LeaseStatements(dialect)
        self.audit = AuditStatements(dialect)
        self.secrets = {
            table.name: SecretStatements(table, dialect, vault)
            for table in (providers.TABLE, clients.TABLE)
        }


_compiled: dict[tuple[str, ...], Statements] = {}


def statements_for(dialect: sqlalchemy.Dialect, vault: Vault) -> Statements:
    """All statements for a dialect of `open_engine`, compiled once in this process."""
    key = dialect.name, *vault.begins
    if key not in _compiled:
        _compiled[key] = Statements(dialect, vault)
    return _compiled[key]


class Transaction:
    """The rows, in one transaction. Nothing is stored before it ends.

    With `validate_only`, the transaction only reads, and writes to rows have no effect.
    """

    __slots__ = (
        "_cursor",
        "api_keys",
        "audit",
        "client_types",
        "clients",
        "leases",
        "providers",
        "responses",
        "secrets",
    )

    def __init__(
        self, cursor: Any, statements: Statements, adds: Adds = (), *, validate_only: bool = False
    ) -> None:
        kind = ValidatingCursor if validate_only else Cursor
        self._cursor = kind(cursor, statements.inserts, adds)
        self.providers = ProviderRows(self._cursor, statements.providers)
        self.client_types = ClientTypeRows(self._cursor, statements.client_types)
        self.clients = ClientRows(self._cursor, statements.clients)
        self.responses = ResponseRows(self._cursor, statements.responses)
        self.api_keys = ApiKeyRows(self._cursor, statements.api_keys)
        self.leases = LeaseRows(self._cursor, statements.leases)
        self.audit = AuditRows(self._cursor, statements.audit)
        self.secrets = SecretRows(self._cursor, statements.secrets)

    @contextmanager
    def within(self, provider_ids: frozenset[int]) -> Iterator[None]:
        """Find only the providers with these ids in this block, or all if there are none."""
        self.providers.allowed = provider_ids
        try:
            yield
        finally:
            self.providers.allowed = frozenset()

    @property
    def written(self) -> int:
        """How many statements have written."""
        return self._cursor.written

    def flush(self) -> None:
        """Insert the rows that are deferred; nothing else follows."""
        self._cursor.finish()
