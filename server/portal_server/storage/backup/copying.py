"""Copies a database to a backup, and a backup to an empty database.

A backup is one snapshot. Writers do not wait for it, on either database. SQLite's own backup
interface would begin again whenever a server writes, and would copy deleted data; pg_dump must
be as new as the server, and its files cannot be restored to SQLite.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.engine import URL

from portal_server.domain.errors import OperatorError
from portal_server.storage.backup.archive import InvalidBackup, Manifest, Reader, Writer
from portal_server.storage.backup.rows import Rows, rows_of
from portal_server.storage.sql import dialects, schema
from portal_server.storage.sql.engine import overwrite_deleted
from portal_server.storage.sql.failures import translated
from portal_server.storage.sql.migrations import Seal, migrate

# Reading a large table takes long. The engine's limit is for the statements of a server.
_NO_TIMEOUT = "SET LOCAL statement_timeout = 0"


class DamagedDatabase(OperatorError):
    """A backup of this database could not be restored."""


class TargetInUse(OperatorError):
    """The database to restore to has rows, or a portal uses it."""


def back_up(engine: Engine, file: IO[bytes]) -> Manifest:
    """Write all rows to an open file.

    Raises:
        SchemaMismatch: this version does not know the schema.
        DamagedDatabase: the database has to be repaired first; `portal check` lists why.
        PortalError: the storage failed.
        OSError: the file cannot be written.
    """
    with _transaction(engine, dialects.of(engine.dialect).begin_read) as connection:
        manifest = Manifest(
            schema=_known_schema(connection),
            database=engine.dialect.name,
            create_time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        rows = rows_of(connection)
        for problem in (*rows.damage(), *rows.broken_references()):
            raise DamagedDatabase(f"the database is damaged: {problem}; run `portal check`")
        writer = Writer(file, manifest)
        for table in rows.tables:
            writer.add(rows.entry(table), rows.read(table))
        writer.close()
    return manifest


def require_unused(url: URL) -> None:
    """Accept a SQLite file that no process has open; for PostgreSQL `restore` checks it.

    Raises: TargetInUse.
    """
    file = Path(url.database or "")
    if url.get_backend_name() != "sqlite" or not file.exists():
        return
    with closing(sqlite3.connect(file, timeout=0)) as connection:
        try:
            # This needs to be the only connection. A file that is not a database fails later.
            connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError:
            raise TargetInUse(f"another process uses {file}: stop the portal first") from None
        except sqlite3.DatabaseError:
            return


def restore(engine: Engine, backup: Reader, seal: Seal) -> None:
    """Restore a backup to an empty database, and migrate it to this version's schema.

    The rows are written in one transaction: if it fails, the database is empty and this can be
    called again. `seal` encrypts secrets of versions without encryption.

    Raises:
        TargetInUse: the database has rows, or a portal is connected.
        InvalidBackup: the file is damaged, or comes from a newer version; nothing is written.
        PortalError: the storage failed.
    """
    backup.verify()
    manifest = backup.manifest
    if manifest.schema not in schema.REVISIONS:
        raise InvalidBackup(
            f"the backup has schema {manifest.schema}, which only a newer version supports"
        )
    overwrite_deleted(engine)
    with translated(), engine.connect() as connection:
        _require_empty(rows_of(connection))
        _require_alone(connection)
        found = schema.revision_of(connection)
    if found not in (None, manifest.schema):
        migrate(engine, "base")
    migrate(engine, manifest.schema)
    with _transaction(engine, dialects.of(engine.dialect).begin_write) as connection:
        rows = rows_of(connection)
        rows.lock()
        _require_empty(rows)
        _load(rows, backup)
    migrate(engine, seal=seal)


def _load(rows: Rows, backup: Reader) -> None:
    tables = {table.name: table for table in rows.tables}
    entries = {entry.name: entry for entry in backup.manifest.tables}
    ours = {name: sorted(table.c.keys()) for name, table in tables.items()}
    if ours != {name: sorted(entry.columns) for name, entry in entries.items()}:
        raise InvalidBackup("the tables of the backup are not those of its schema")
    for table in rows.tables:
        entry = entries[table.name]
        rows.write(table, backup.lines(entry))
        if entry.last_id is not None:
            rows.set_last_id(table, entry.last_id)


def _known_schema(connection: Connection) -> str:
    found = schema.revision_of(connection)
    if found is None:
        raise schema.SchemaMismatch("the database has no schema: there is nothing to back up")
    if found not in schema.REVISIONS and not schema.is_next(found):
        raise schema.newer(found)
    return found


def _require_empty(rows: Rows) -> None:
    table: Table | None = rows.not_empty()
    if table is not None:
        raise TargetInUse(
            f"the database is not empty: the table {table.name} has rows; restore to an empty one"
        )


def _require_alone(connection: Connection) -> None:
    """Reject a PostgreSQL database with other sessions of portals."""
    if connection.dialect.name != "postgresql":
        return
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()"
    )
    if count := connection.scalar(query):
        raise TargetInUse(f"a portal uses the database ({count} sessions): stop it first")


@contextmanager
def _transaction(engine: Engine, begin: str) -> Iterator[Connection]:
    with translated(), engine.connect() as connection:
        connection.exec_driver_sql(begin)
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(_NO_TIMEOUT)
        try:
            yield connection
        except BaseException:
            with suppress(Exception):  # the connection may be gone
                connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")
