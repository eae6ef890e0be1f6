"""Numbers of all rows, for the metrics. Each statement reads a whole table or an index."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import BigInteger, bindparam, cast, func, literal_column, select

from portal_server.storage.inserts import Cursor
from portal_server.storage.rows import api_keys, clients, responses
from portal_server.storage.sql.statements import Statement

# The bytes of the database, by the name of the dialect.
_SIZE = {
    "sqlite": "(SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)",
    "postgresql": "pg_database_size(current_database())",
}
# The bytes of the write-ahead log that the slowest replication slot needs.
_RETAINED = {
    "sqlite": "0",
    "postgresql": "coalesce((SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))"
    " FROM pg_replication_slots), 0)",
}


@dataclass(frozen=True, slots=True)
class Statistics:
    """The numbers. `clients` are by provider and state, valid `keys` by role; sizes in bytes.

    `retained_wal` is what PostgreSQL keeps of its write-ahead log for a replication slot.
    """

    clients: dict[tuple[int, str], int]
    keys: dict[str, int]
    kept_responses: int
    kept_bytes: int
    size: int
    retained_wal: int


class StatisticsStatements:
    """The statements, compiled for one dialect."""

    def __init__(self, dialect: sqlalchemy.Dialect) -> None:
        table = clients.TABLE
        by = (table.c.provider_id, table.c.state)
        self.clients = Statement(select(*by, func.count().label("rows")).group_by(*by), dialect)
        keys = api_keys.TABLE
        now = bindparam("now", type_=keys.c.expire_time.type)
        is_valid = keys.c.revoke_time.is_(None) & (
            keys.c.expire_time.is_(None) | (keys.c.expire_time > now)
        )
        role = func.coalesce(keys.c.new_role, keys.c.role).label("role")
        of_role = select(role, func.count().label("rows")).where(is_valid)
        self.keys = Statement(of_role.group_by(keys.c.new_role, keys.c.role), dialect)
        sum_ = func.coalesce(func.sum(func.length(responses.RESPONSE)), 0)
        kept = select(func.count().label("rows"), cast(sum_, BigInteger).label("size"))
        self.responses = Statement(kept.select_from(responses.TABLE), dialect)
        size: Any = literal_column(_SIZE[dialect.name], BigInteger)
        retained: Any = cast(literal_column(_RETAINED[dialect.name]), BigInteger)
        self.sizes = Statement(select(size.label("size"), retained.label("retained")), dialect)


def read(cursor: Cursor, statements: StatisticsStatements, now: datetime) -> Statistics:
    """Read all numbers."""
    [kept] = cursor.rows(statements.responses)
    [sizes] = cursor.rows(statements.sizes)
    return Statistics(
        {
            (row["provider_id"], row["state"].value): row["rows"]
            for row in cursor.rows(statements.clients)
        },
        {row["role"].value: row["rows"] for row in cursor.rows(statements.keys, now=now)},
        kept["rows"],
        kept["size"],
        sizes["size"],
        sizes["retained"],
    )
