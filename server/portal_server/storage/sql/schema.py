"""Which schema a database has, and whether this version of the server knows it."""

import logging
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, inspect, text

from portal_server.domain.errors import OperatorError
from portal_server.storage.sql.failures import translated

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parents[1] / "migrations"
# Revisions are numbered, and their files begin with the number (a test checks that).
REVISIONS = tuple(sorted(file.name[:4] for file in MIGRATIONS.glob("versions/[0-9]*.py")))
"""This version's revisions, in their order."""
HEAD = REVISIONS[-1]
"""The revision of this version's schema."""
TABLE = "alembic_version"
"""Where Alembic keeps the revision."""
_QUERY: Final = f"SELECT version_num FROM {TABLE}"  # noqa: S608 - our own name


class SchemaMismatch(OperatorError):
    """This version does not know the database's schema; the text says what to do."""


def require_known(engine: Engine) -> None:
    """Accept a database with this version's schema, or one revision newer.

    Servers of the previous version can run on each revision, so both versions can serve one
    database during an upgrade.

    Raises:
        SchemaMismatch: it is older, or newer than that.
        PortalError: the storage failed.
    """
    with translated(), engine.connect() as connection:
        found = revision_of(connection)
    if found == HEAD:
        return
    if found is None or found in REVISIONS:
        has = f"schema {found}" if found else "no schema"
        raise SchemaMismatch(f"the database has {has}, not {HEAD}: run `portal migrate`")
    if not is_next(found):
        raise newer(found)
    log.info("the database has schema %s, of the next version", found)


def revision_of(connection: Connection) -> str | None:
    """The revision of a database; None for one without a schema."""
    if not inspect(connection).has_table(TABLE):
        return None
    revision: str | None = connection.scalar(text(_QUERY))
    return revision


def read_revision(cursor: Any) -> str:
    """The revision of a database that has a schema, with a cursor of the driver."""
    cursor.execute(_QUERY)
    [revision] = cursor.fetchone()
    return str(revision)


def is_next(revision: str) -> bool:
    """Whether a revision comes directly after this version's."""
    return revision == f"{int(HEAD) + 1:04}"


def newer(revision: str) -> SchemaMismatch:
    """The error of a database with this revision."""
    return SchemaMismatch(
        f"the database has schema {revision}, which only a newer version supports"
    )
