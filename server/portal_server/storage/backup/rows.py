"""Rows as JSON, from and to both databases, for any schema.

Tables are read from the database, not from the models: a backup of an earlier version has
the tables of that version.
"""

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    DateTime,
    LargeBinary,
    MetaData,
    Table,
    func,
    select,
)

from portal_server.storage.backup.archive import TableEntry
from portal_server.storage.sql.schema import TABLE as REVISION

_BATCH = 1000

Convert = Callable[[Any], Any]


class Rows(ABC):
    """The tables of a database, in a transaction on this connection."""

    def __init__(self, connection: Connection) -> None:
        metadata = MetaData()
        metadata.reflect(connection)
        self._connection = connection
        self.tables: Sequence[Table] = [
            table for table in metadata.sorted_tables if table.name != REVISION
        ]
        """In the order in which rows refer to each other."""

    def not_empty(self) -> Table | None:
        """A table that has rows."""
        for table in self.tables:
            if self._connection.scalar(select(select(table).limit(1).exists())):
                return table
        return None

    def broken_references(self) -> Iterator[str]:
        """A sentence for each foreign key with rows that refer to no row."""
        for table in self.tables:
            for key in table.foreign_keys:
                child, parent = key.parent, key.column
                parents = parent.table.alias("found")
                found = select(parents).where(parents.c[parent.name] == child)
                query = select(func.count(), func.min(child)).select_from(table)
                count, first = self._connection.execute(
                    query.where(child.is_not(None), ~found.exists())
                ).one()
                if count:
                    yield (
                        f"{table.name}.{child.name}: {count} rows refer to a {parent.table.name}"
                        f" that does not exist, such as {first}"
                    )

    def entry(self, table: Table) -> TableEntry:
        """What the manifest has about a table before its rows are read."""
        columns = [column.name for column in table.c]
        return TableEntry(name=table.name, columns=columns, last_id=self.last_id(table))

    def write(self, table: Table, lines: Iterable[bytes]) -> None:
        """Insert rows."""
        remaining = iter(lines)
        while batch := list(islice(remaining, _BATCH)):
            self._insert(table, batch)

    @abstractmethod
    def read(self, table: Table) -> Iterator[str]:
        """The rows as JSON objects, in the order of the primary key."""

    @abstractmethod
    def damage(self) -> Iterator[str]:
        """A sentence for each damaged part of the database, as far as the database finds it."""

    @abstractmethod
    def last_id(self, table: Table) -> int | None:
        """The last id of the table's sequence; None: it has none, or it is unused."""

    @abstractmethod
    def set_last_id(self, table: Table, last_id: int) -> None:
        """Let new ids begin after this one."""

    @abstractmethod
    def lock(self) -> None:
        """Prevent others from using the tables until the transaction ends."""

    @abstractmethod
    def _insert(self, table: Table, lines: Sequence[bytes]) -> None: ...


class PostgresRows(Rows):
    """PostgreSQL reads and writes the JSON itself."""

    def read(self, table: Table) -> Iterator[str]:
        """The rows as JSON objects, in the order of the primary key."""
        name, key = self._quoted(table.name), self._key(table)
        query = f"COPY (SELECT row_to_json(t) FROM {name} t ORDER BY {key}) TO STDOUT"  # noqa: S608
        with self._driver.cursor() as cursor, cursor.copy(query) as copy:
            for (line,) in copy.rows():
                # A newline is never in a string of JSON, but may be between the values.
                yield line.replace("\n", " ")

    def damage(self) -> Iterator[str]:
        """Nothing: PostgreSQL has checksums of pages, and amcheck, for its own operator."""
        yield from ()

    def last_id(self, table: Table) -> int | None:
        """The last id of the table's sequence; None: it has none, or it is unused."""
        sequence = self._sequence(table)
        if sequence is None:
            return None
        query = f"SELECT last_value FROM {sequence} WHERE is_called"  # noqa: S608 - its own name
        found = self._connection.exec_driver_sql(query).scalar()
        return None if found is None else int(found)

    def set_last_id(self, table: Table, last_id: int) -> None:
        """Let new ids begin after this one."""
        if sequence := self._sequence(table):
            self._connection.scalar(select(func.setval(sequence, last_id)))

    def lock(self) -> None:
        """Prevent others from using the tables until the transaction ends."""
        names = ", ".join(self._quoted(table.name) for table in self.tables)
        self._connection.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")

    def _insert(self, table: Table, lines: Sequence[bytes]) -> None:
        name = self._quoted(table.name)
        query = f"INSERT INTO {name} SELECT * FROM json_populate_recordset(NULL::{name}, %s::json)"  # noqa: S608
        self._driver.execute(query, [f"[{','.join(line.decode() for line in lines)}]"])

    @property
    def _driver(self) -> Any:
        return self._connection.connection.driver_connection

    def _sequence(self, table: Table) -> str | None:
        for column in table.primary_key:
            query = select(func.pg_get_serial_sequence(self._quoted(table.name), column.name))
            if found := self._connection.scalar(query):
                return str(found)
        return None

    def _quoted(self, name: str) -> str:
        return self._connection.dialect.identifier_preparer.quote(name)

    def _key(self, table: Table) -> str:
        return ", ".join(self._quoted(column.name) for column in table.primary_key)


class SqliteRows(Rows):
    """SQLite's values are converted here, by the types of their columns."""

    def read(self, table: Table) -> Iterator[str]:
        """The rows as JSON objects, in the order of the primary key."""
        columns = [(column.name, _reading(column.type)) for column in table.c]
        query = select(*table.c).order_by(*table.primary_key).compile(self._connection)
        for row in self._driver.execute(str(query)):
            values = {
                name: convert(value) if convert and value is not None else value
                for (name, convert), value in zip(columns, row, strict=True)
            }
            yield json.dumps(values, ensure_ascii=False)

    def damage(self) -> Iterator[str]:
        """What `PRAGMA integrity_check` finds."""
        try:
            lines = self._driver.execute("PRAGMA integrity_check(10)").fetchall()
        except sqlite3.DatabaseError as error:
            yield str(error)
            return
        yield from (line for (line,) in lines if line != "ok")

    def last_id(self, table: Table) -> int | None:
        """The last id of the table's sequence; None: it has none, or it is unused."""
        found = self._execute("SELECT seq FROM sqlite_sequence WHERE name = ?", table.name)
        return found[0] if found else None

    def set_last_id(self, table: Table, last_id: int) -> None:
        """Let new ids begin after this one."""
        if self._execute("SELECT 1 FROM sqlite_sequence WHERE name = ?", table.name):
            update = "UPDATE sqlite_sequence SET seq = ? WHERE name = ?"
            self._driver.execute(update, (last_id, table.name))
        else:  # a table that has had no rows since it was created
            insert = "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)"
            self._driver.execute(insert, (table.name, last_id))

    def lock(self) -> None:
        """There is one writer at a time."""

    def _insert(self, table: Table, lines: Sequence[bytes]) -> None:
        columns = [(column.name, _writing(column.type)) for column in table.c]
        statement = str(table.insert().compile(self._connection))
        self._driver.executemany(
            statement,
            [
                [
                    convert(row[name]) if convert and row[name] is not None else row[name]
                    for name, convert in columns
                ]
                for row in map(json.loads, lines)
            ],
        )

    def _execute(self, query: str, *values: object) -> Any:
        return self._driver.execute(query, values).fetchone()

    @property
    def _driver(self) -> Any:
        return self._connection.connection.driver_connection


def rows_of(connection: Connection) -> Rows:
    """The tables of a database of either kind."""
    return {"sqlite": SqliteRows, "postgresql": PostgresRows}[connection.dialect.name](connection)


def _reading(kind: Any) -> Convert | None:
    if isinstance(kind, DateTime):
        return lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat()
    if isinstance(kind, LargeBinary):
        return lambda value: f"\\x{value.hex()}"
    if isinstance(kind, Boolean):
        return bool
    return json.loads if isinstance(kind, JSON) else None


def _writing(kind: Any) -> Convert | None:
    if isinstance(kind, DateTime):
        # As SQLAlchemy stores it.
        return lambda text: f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
    if isinstance(kind, LargeBinary):
        return lambda text: bytes.fromhex(text.removeprefix("\\x"))
    return json.dumps if isinstance(kind, JSON) else None
