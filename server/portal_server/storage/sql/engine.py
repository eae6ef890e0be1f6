"""Creates an engine from a URL, and configures its connections.

Durability: SQLite runs in WAL mode with synchronous=FULL, so that a confirmed commit
survives a power failure. Integrity: foreign keys are on. Every wait for a connection,
a lock or a statement has a timeout. Connections are in autocommit mode:
`storage.sql.transactions` begins and ends each transaction.
"""

import errno
import logging
import os
import re
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from portal_server.storage.sql import dialects, hosts
from portal_server.storage.sql.failures import translated
from portal_server.storage.sql.types import from_json

log = logging.getLogger(__name__)

POOL_SIZE = 16
POOL_TIMEOUT_S = 2.0
LOCK_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 9
# For each host of the URL.
CONNECT_TIMEOUT_S = 2
# When PostgreSQL's machine is gone, nothing is acknowledged: the system then ends the connection.
TCP_TIMEOUT_S = 5

NOTICES = "notices"
"""The key in a connection's `info` of the SQLSTATEs of PostgreSQL's notices."""

POOLER = "pgbouncer"
"""The parameter of a URL that leads to PgBouncer in transaction mode: `pgbouncer=true`.

There each transaction may have another session: there are no prepared statements, and no settings
of a session.
"""

# Group and others.
_NOT_OURS = 0o077

# More than one @ before the database, or a slash before the @ (RFC 3986, section 3.2): a part of
# the user or the password would become the host or the database.
_UNESCAPED = re.compile(r"postgres[^:]*://([^/]*@[^/]*@|[^?]*/[^?]*@)")


def parse_url(text: str, role: str = hosts.WRITABLE) -> URL:
    """The database URL of a setting; of several hosts it is the one with this role.

    Raises:
        ValueError: it is not a URL of SQLAlchemy for a SQLite file or PostgreSQL.
            The text contains no part of the URL, which may have a password.
    """
    if _UNESCAPED.match(text):
        raise ValueError("percent-encode @, / and : in its user and password (%40, %2F and %3A)")
    try:
        url = make_url(hosts.in_query(text))
    except (ArgumentError, ValueError):
        raise ValueError(
            "is not a URL such as sqlite:///./data/portal.db or postgresql://host/database"
        ) from None
    match url.drivername:
        case "sqlite" | "sqlite+pysqlite":
            if url.database in (None, "", ":memory:") or url != URL.create(
                url.drivername, database=url.database
            ):
                raise ValueError("needs a file, as in sqlite:///./data/portal.db")
        case "postgres" | "postgresql" | "postgresql+psycopg":
            url = hosts.with_role(url.set(drivername="postgresql+psycopg"), role)
            if url.query.get(POOLER, "true") not in ("true", "false"):
                raise ValueError(f"needs {POOLER}=true or {POOLER}=false")
        case _:
            raise ValueError("must start with sqlite:/// or postgresql://")
    return url


def open_engine(url: URL, connections: int = POOL_SIZE) -> Engine:
    """An engine for this database, with at most `connections` connections.

    Creates the folder and the file of SQLite, which contain secrets: only their owner
    can read them. An existing file that others can read is made private, too.

    Raises:
        OSError: the folder cannot be created, is not writable, or others can read a
            file of another owner.
    """
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, connections)
    in_session = {
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT_S}s"
        f" -c lock_timeout={LOCK_TIMEOUT_S}s -c timezone=UTC"
    }
    engine = create_engine(
        url.difference_update_query([POOLER]),
        pool_size=connections,
        max_overflow=0,
        # The connections that were used last have warm caches; the others stay small.
        pool_use_lifo=True,
        pool_timeout=POOL_TIMEOUT_S,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        paramstyle="format",
        hide_parameters=True,
        json_deserializer=from_json,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "tcp_user_timeout": TCP_TIMEOUT_S * 1000,
            "keepalives_idle": TCP_TIMEOUT_S,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            # `portal restore` finds running portals by it. The URL may have another one.
            "fallback_application_name": "oauth-portal",
            **({"prepare_threshold": None} if url.query.get(POOLER) == "true" else in_session),
        },
    )
    event.listen(engine, "connect", _note_notices)
    hosts.prefer_last(engine)
    return engine


def max_connections(engine: Engine) -> int:
    """How many connections PostgreSQL accepts in total.

    Raises:
        PortalError: the database does not respond.
    """
    query = (
        "SELECT current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
    )
    with translated(), engine.connect() as connection:
        return int(connection.scalar(text(query)) or 0)


def overwrite_deleted(engine: Engine) -> None:
    """Have SQLite overwrite data in its file that is deleted or replaced from now on."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda new, _: new.execute("PRAGMA secure_delete=ON"))


def for_migrating(engine: Engine) -> Engine:
    """The engine, with transactions that SQLAlchemy begins and ends."""
    isolation = dialects.of(engine.dialect).migration_isolation
    return engine.execution_options(isolation_level=isolation) if isolation else engine


def _open_sqlite(url: URL, connections: int) -> Engine:
    file = Path(url.database or "")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (file.parent, file):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "is not writable", str(path))
    _keep_private(file)
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        # The connections that were used last have warm caches; the others stay small.
        pool_use_lifo=True,
        pool_timeout=POOL_TIMEOUT_S,
        pool_reset_on_return=None,
        hide_parameters=True,
        json_deserializer=from_json,
        connect_args={"timeout": LOCK_TIMEOUT_S, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _keep_private(file: Path) -> None:
    """Make the database readable to its owner only, whatever the folder and the umask."""
    # SQLite creates its other files with the mode of the database.
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for path in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm", "-journal"))):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if not found.st_mode & _NOT_OURS:
            continue
        if os.geteuid() not in (0, found.st_uid):
            text = "others can read it and it has another owner, who must set its mode to 0600"
            raise PermissionError(errno.EACCES, text, str(path))
        path.chmod(0o600)
        log.warning("others could read %s: its mode is 0600 now", path)


def _note_notices(connection: psycopg.Connection[Any], record: Any) -> None:
    notices: list[str | None] = []
    record.info[NOTICES] = notices
    connection.add_notice_handler(lambda notice: notices.append(notice.sqlstate))


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    _turn_wal_on(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _turn_wal_on(connection: sqlite3.Connection) -> None:
    # A property of the file. SQLite does not wait for the lock that it takes to set it.
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
