"""The secrets in the rows of all tables, for a change of the encryption key."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import Column, String, Table, bindparam, func, or_, select, update

from portal_server.storage.encryption import SecretNotReadable, Vault, secret_columns_of
from portal_server.storage.inserts import Cursor
from portal_server.storage.sql.clauses import LIMIT, number
from portal_server.storage.sql.statements import Row, Statement


@dataclass(frozen=True, slots=True)
class Piece:
    """The result for some rows: the last id, how many secrets, and those that cannot be read."""

    last: int
    encrypted: int
    problems: Sequence[str]


class SecretStatements:
    """The statements for one table, compiled for one dialect."""

    def __init__(self, table: Table, dialect: sqlalchemy.Dialect, vault: Vault) -> None:
        self.vault = vault
        self.columns = secret_columns_of(table)
        secrets = [table.c[name] for name in self.columns]
        current = bindparam("current", type_=String)

        def is_old(column: Column[str]) -> sqlalchemy.ColumnElement[bool]:
            begin = func.substr(column, 1, func.length(current))
            return (column != "") & (begin != current)

        self.old = Statement(
            select(table.c.id, table.c.uid, *secrets)
            .where(table.c.id > number("after"), or_(*map(is_old, secrets)))
            .order_by(table.c.id)
            .limit(LIMIT),
            dialect,
        )
        this = table.c.id == number("which")
        before = bindparam("before", type_=String)
        self.replace = {}
        for secret in secrets:
            query = update(table).where(this, secret == before)
            self.replace[secret.name] = Statement(query, dialect, secret.name)


class SecretRows:
    """The secrets, in one transaction."""

    __slots__ = ("_cursor", "_statements")

    def __init__(self, cursor: Cursor, statements: dict[str, SecretStatements]) -> None:
        self._cursor = cursor
        self._statements = statements

    @property
    def tables(self) -> Sequence[str]:
        """The tables with secrets."""
        return list(self._statements)

    def encrypt_again(self, table: str, after: int, limit: int) -> Piece | None:
        """Re-encrypt the secrets of some rows after this id that do not use the first key.

        The update times of the rows stay. None: there are no more rows.

        Raises: Precondition (there is no key, or not the one of a secret).
        """
        statements = self._statements[table]
        current = next(iter(statements.vault.begins), "")
        rows = self._cursor.rows(statements.old, after=after, limit=limit, current=current)
        if not rows:
            return None
        encrypted, problems = 0, []
        for row in rows:
            try:
                encrypted += self._encrypt(statements, row, current)
            except SecretNotReadable as problem:
                problems.append(str(problem))
        return Piece(rows[-1]["id"], encrypted, problems)

    def _encrypt(self, statements: SecretStatements, row: Row, current: str) -> int:
        changed = 0
        for name, column in statements.columns.items():
            before = row[name]
            if before and not before.startswith(current):
                text = statements.vault.open(column, row["uid"], before)
                sealed = statements.vault.seal(column, row["uid"], text)
                # Not if a server has just written another one.
                values = {name: sealed, "which": row["id"], "before": before}
                changed += self._cursor.change(statements.replace[name], values)
        return changed
