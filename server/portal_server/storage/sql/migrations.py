"""Migrates a database to this version's schema.

Separate from `schema`, because a server does not need Alembic, whose import takes a sixth of
the startup time.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, exc

from portal_server.domain.errors import OperatorError
from portal_server.storage.sql.engine import for_migrating
from portal_server.storage.sql.failures import translated
from portal_server.storage.sql.schema import MIGRATIONS, REVISIONS, is_next, newer, revision_of

log = logging.getLogger(__name__)

# Building an index on a table that has grown for years takes long.
TIMEOUT_S = 3600


Seal = Callable[[Any, str, str], str]
"""Encrypts a secret: its table and column, the uid of its row, and its text."""


class NotPermitted(OperatorError):
    """The role may not change the schema; the text has PostgreSQL's reason."""


def migrate(
    engine: Engine,
    revision: str = "head",
    timeout_s: int = TIMEOUT_S,
    seal: Seal | None = None,
) -> str | None:
    """Migrate the schema to this version's or, with "base", drop it; returns the previous one.

    Several processes may do so at once: each revision runs once, while the others
    wait. Several threads of one process may not: Alembic keeps its state in a
    global. A schema that is one revision newer is left unchanged.

    `timeout_s` is for the wait, and for each statement of a migration. `seal` encrypts the
    secrets of earlier versions; without it they stay unchanged.

    Raises:
        SchemaMismatch: a newer version of the server has written it.
        NotPermitted: PostgreSQL does not let this role do it.
        PortalError: the storage failed, or the timeout has passed; there are secrets, but no
            encryption key.
    """
    with translated(), _permitted(), for_migrating(engine).connect() as connection:
        before = revision_of(connection)
        connection.rollback()
        if before is not None and before not in REVISIONS:
            if revision != "head" or not is_next(before):
                raise newer(before)
            log.info("schema %s is that of the next version: nothing to do", before)
            return before
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        config.attributes["timeout_s"] = timeout_s
        config.attributes["seal"] = seal
        if revision == "base":
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
        return before


@contextmanager
def _permitted() -> Iterator[None]:
    try:
        yield
    except exc.ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        why = error.orig.diag.message_primary
        raise NotPermitted(
            f"the database cannot be migrated: {why}; make this role the owner of the database"
        ) from None
