"""Runs the migrations, on the connection of `storage.sql.migrations`."""

from alembic import context
from sqlmodel import SQLModel

from portal_server.storage import transaction  # noqa: F401 - fills the metadata

# Any number, as long as every process uses the same.
_LOCK = 7_236_010
# How long a migration waits for a lock on a table.
_DDL_LOCK_S = 30

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    # SQLite cannot ALTER: Alembic then copies the table.
    render_as_batch=True,
    compare_type=True,
    transaction_per_migration=False,
    # SQLite's DDL is transactional too. Without this, Alembic would commit before each migration.
    transactional_ddl=True,
)
timeout_s = context.config.attributes["timeout_s"]
sqlite = connection.dialect.name == "sqlite"
waits_ms = 0
try:
    # One transaction for all: a migration that fails leaves nothing behind.
    with connection.begin():
        # Both wait for another process that migrates.
        if sqlite:
            waits_ms = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
            connection.exec_driver_sql(f"PRAGMA busy_timeout={timeout_s * 1000}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            for limit in ("statement_timeout", "lock_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {limit} = '{timeout_s}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            # All later statements wait behind a waiting ALTER.
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_DDL_LOCK_S}s'")
        context.run_migrations()
finally:
    if sqlite:  # the pool uses the connection again
        connection.exec_driver_sql(f"PRAGMA busy_timeout={waits_ms}")
