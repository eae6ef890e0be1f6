"""Parts that the statements of all resources share."""

from collections.abc import Callable
from typing import Any, Literal

import sqlalchemy
from sqlalchemy import BigInteger, BindParameter, Select, bindparam

from portal_server.storage.sql.statements import Statement

Lock = Literal["shared", "exclusive"]
"""What others can do with a row until the transaction ends: read it, or nothing."""


def number(name: str) -> BindParameter[int]:
    """A parameter for a number. It must not have the name of a column that the statement sets.

    With the type of the column, PostgreSQL would report an error for a number that is too
    large for it, instead of finding no row.
    """
    return bindparam(name, type_=BigInteger)


LIMIT, OFFSET = number("limit"), number("offset")


def locked(
    query: Select[Any], dialect: sqlalchemy.Dialect, make: Callable[..., Any] | None = None
) -> dict[Lock | None, Statement]:
    """The statements that read rows with each lock; SQLite ignores the locks.

    `make`: see `Statement.making`; the objects that it makes without a lock are kept.
    """

    def reading(query: Select[Any], *, keep: bool = False) -> Statement:
        statement = Statement(query, dialect)
        return statement.making(make, keep=keep) if make else statement

    unlocked = reading(query, keep=True)
    shared = reading(query.with_for_update(read=True))
    exclusive = reading(query.with_for_update())
    shared.unlocked = exclusive.unlocked = unlocked
    return {None: unlocked, "shared": shared, "exclusive": exclusive}
