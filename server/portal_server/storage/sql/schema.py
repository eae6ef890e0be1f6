"""Migrates a database to this version's schema, and checks which schema it has."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from portal_server.domain.errors import OperatorError
from portal_server.storage.sql.engine import for_migrating
from portal_server.storage.sql.failures import translated

log = logging.getLogger(__name__)

# Building an index on a table that has grown for years takes long.
TIMEOUT_S = 3600

Seal = Callable[[Any, str, str], str]
"""Encrypts a secret: its table and column, the uid of its row, and its text."""

_MIGRATIONS = Path(__file__).parents[1] / "migrations"


class SchemaMismatch(OperatorError):
    """This version does not know the database's schema; the text says what to do."""


def migrate(
    engine: Engine,
    revision: str = "head",
    timeout_s: int = TIMEOUT_S,
    seal: Seal | None = None,
) -> None:
    """Migrate the schema to this version's or, with "base", drop it.

    Several processes may do so at once: each revision runs once, while the others
    wait. Several threads of one process may not: Alembic keeps its state in a
    global. A schema that is one revision newer is left unchanged.

    `timeout_s` is for the wait, and for each statement of a migration. `seal` encrypts the
    secrets of earlier versions; without it they stay as they are.

    Raises:
        SchemaMismatch: a newer version of the server has written it.
        PortalError: the storage failed, or the timeout has passed; there are secrets, but no
            encryption key.
    """
    with translated(), for_migrating(engine).connect() as connection:
        before = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()
        if before is not None and before not in _known():
            if revision != "head" or not _is_next(before):
                raise _newer(before)
            log.info("schema %s is that of the next version: nothing to do", before)
            return
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        config.attributes["timeout_s"] = timeout_s
        config.attributes["seal"] = seal
        if revision == "base":
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


def require_known(engine: Engine) -> None:
    """Accept a database with this version's schema, or one revision newer.

    Servers of the version before can run on each revision, so that during an upgrade
    both serve one database.

    Raises:
        SchemaMismatch: it is older, or newer than that.
        PortalError: the storage failed.
    """
    with translated(), engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == _head():
        return
    if current is None or current in _known():
        found = f"schema {current}" if current else "no schema"
        raise SchemaMismatch(f"the database has {found}, not {_head()}: run `portal migrate`")
    if not _is_next(current):
        raise _newer(current)
    log.info("the database has schema %s, of the next version", current)


def _known() -> set[str]:
    scripts = ScriptDirectory(str(_MIGRATIONS))
    return {script.revision for script in scripts.walk_revisions()}


def _head() -> str:
    return str(ScriptDirectory(str(_MIGRATIONS)).get_current_head())


def _is_next(revision: str) -> bool:
    """Whether it comes directly after ours: revisions are numbered (a test checks that)."""
    return revision == f"{int(_head()) + 1:04}"


def _newer(revision: str) -> SchemaMismatch:
    return SchemaMismatch(f"the database has schema {revision}, which only a newer version knows")
