"""Runs the migrations on the connection that `storage.schema` hands over."""

from alembic import context
from sqlmodel import SQLModel

from portal_server.storage import tables  # noqa: F401 - fills the metadata

# Any number will do, as long as every process takes the same.
_LOCK = 7_236_010

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    # SQLite cannot ALTER: Alembic then copies the table.
    render_as_batch=True,
    compare_type=True,
    transaction_per_migration=False,
    # SQLite's is, too. Told otherwise, Alembic would commit before each migration.
    transactional_ddl=True,
)
# One transaction for all: a migration that fails leaves nothing behind.
with connection.begin():
    # Both wait for another process that migrates.
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    context.run_migrations()
