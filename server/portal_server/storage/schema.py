"""Brings a database to this version's schema, and tells whether it is there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from portal_server.domain.errors import OperatorError
from portal_server.storage.engine import for_migrating
from portal_server.storage.failures import translated

_MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaMismatch(OperatorError):
    """The database's schema is not this version's; the text says what to do."""


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the schema to this version's or, with "base", take it away.

    Several processes may do so at once: each revision runs once. Threads of
    one process may not: Alembic keeps its state in a global.

    Raises:
        SchemaMismatch: a newer version of the server has written it.
        PortalError: the storage failed.
    """
    with translated(), for_migrating(engine).connect() as connection:
        known = ScriptDirectory(str(_MIGRATIONS))
        before = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()
        if before is not None and before not in {r.revision for r in known.walk_revisions()}:
            raise SchemaMismatch(
                f"the database has schema {before}, which only a newer version knows"
            )
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        if revision == "base":
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


def require_newest(engine: Engine) -> None:
    """Accept a database whose schema is this version's.

    Raises:
        SchemaMismatch: it is not.
        PortalError: the storage failed.
    """
    with translated(), engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    newest = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    if current != newest:
        found = f"schema {current}" if current else "no schema"
        raise SchemaMismatch(f"the database has {found}, not {newest}: run `portal migrate`")
