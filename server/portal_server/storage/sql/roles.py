"""Grants to the role that the servers use on PostgreSQL, if another one owns the tables."""

import psycopg
from sqlalchemy import Engine, exc, inspect, text

from portal_server.domain.errors import OperatorError
from portal_server.storage.sql.engine import for_migrating
from portal_server.storage.sql.failures import translated
from portal_server.storage.sql.schema import TABLE as REVISION

APPEND_ONLY = frozenset({"audit_event", "audit_seal"})
"""The tables whose rows a server adds and never changes."""


class NotGranted(OperatorError):
    """The role cannot get what a server needs."""


def grant(engine: Engine, role: str) -> None:
    """Grant a role what a server needs, and not more. It can be run again.

    Raises:
        NotGranted: the database is SQLite, the role does not exist, or this one is not the owner.
        PortalError: the storage failed.
    """
    if engine.dialect.name != "postgresql":
        raise NotGranted("--service-role is for PostgreSQL: SQLite has no roles")
    name = engine.dialect.identifier_preparer.quote(role)
    with translated(), for_migrating(engine).begin() as connection:
        found = inspect(connection)
        schema = engine.dialect.identifier_preparer.quote(found.default_schema_name or "public")
        statements = [f"GRANT USAGE ON SCHEMA {schema} TO {name}"]
        for table in found.get_table_names():
            statements += (
                f"REVOKE ALL ON {table} FROM {name}",
                f"GRANT {_privileges(table)} ON {table} TO {name}",
            )
        statements.append(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {name}")
        for statement in statements:
            try:
                connection.execute(text(statement))
            except exc.ProgrammingError as error:
                if not isinstance(
                    error.orig,
                    (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject),
                ):
                    raise
                raise NotGranted(f"cannot grant: {error.orig.diag.message_primary}") from None


def require_prunable(engine: Engine) -> None:
    """Accept a role that may delete audit events.

    Raises:
        NotGranted: it may not.
        PortalError: the storage failed.
    """
    if engine.dialect.name != "postgresql":
        return
    query = text("SELECT current_user, has_table_privilege('audit_event', 'DELETE')")
    with translated(), engine.connect() as connection:
        role, allowed = connection.execute(query).one()
    if not allowed:
        raise NotGranted(
            f"the role {role} may not delete audit events: connect as the owner of the tables"
        )


def _privileges(table: str) -> str:
    if table == REVISION:
        return "SELECT"
    return "SELECT, INSERT" if table in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"
