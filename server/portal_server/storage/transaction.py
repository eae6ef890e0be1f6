"""What a job can do with rows: one attribute for each resource."""

from typing import Any

import sqlalchemy

from portal_server.domain.errors import Resource
from portal_server.storage.inserts import Adds, Cursor, InsertStatements
from portal_server.storage.rows import client_types, providers
from portal_server.storage.rows.api_keys import ApiKeyRows, ApiKeyStatements
from portal_server.storage.rows.client_types import ClientTypeRows, ClientTypeStatements
from portal_server.storage.rows.providers import ProviderRows, ProviderStatements
from portal_server.storage.rows.responses import ResponseRows, ResponseStatements


class Statements:
    """All statements, compiled for one dialect."""

    def __init__(self, dialect: sqlalchemy.Dialect) -> None:
        # In the order in which new rows refer to each other.
        self.inserts = {
            Resource.PROVIDER: InsertStatements(providers.TABLE, dialect),
            Resource.CLIENT_TYPE: InsertStatements(client_types.TABLE, dialect),
        }
        self.providers = ProviderStatements(dialect)
        self.client_types = ClientTypeStatements(dialect)
        self.responses = ResponseStatements(dialect)
        self.api_keys = ApiKeyStatements(dialect)


_compiled: dict[str, Statements] = {}


def statements_for(dialect: sqlalchemy.Dialect) -> Statements:
    """All statements for a dialect of `open_engine`, compiled once in this process."""
    if dialect.name not in _compiled:
        _compiled[dialect.name] = Statements(dialect)
    return _compiled[dialect.name]


class Transaction:
    """The rows, in one transaction. Nothing is stored before it ends."""

    __slots__ = ("_cursor", "api_keys", "client_types", "providers", "responses")

    def __init__(self, cursor: Any, statements: Statements, adds: Adds = ()) -> None:
        self._cursor = Cursor(cursor, statements.inserts, adds)
        self.providers = ProviderRows(self._cursor, statements.providers)
        self.client_types = ClientTypeRows(self._cursor, statements.client_types)
        self.responses = ResponseRows(self._cursor, statements.responses)
        self.api_keys = ApiKeyRows(self._cursor, statements.api_keys)

    @property
    def written(self) -> int:
        """How many statements have written."""
        return self._cursor.written

    def flush(self) -> None:
        """Insert the rows that are deferred."""
        self._cursor.flush()
