"""Audit events and their seals, which are append-only.

Servers of the previous version run on this schema and store no events: while both versions
serve the database, the log is incomplete.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ("audit_event", "audit_seal")
# Statement-level, because only such a trigger sees TRUNCATE. `portal audit prune` sets
# portal.prune; a role also needs the privilege to delete.
_FUNCTION = """
CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_event'
     AND current_setting('portal.prune', true) = 'on' THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$
"""


def upgrade() -> None:
    """Upgrade to this revision."""
    time = sa.DateTime(timezone=True)
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

    def text(name: str, length: int | None = None) -> "sa.Column[str]":
        return sa.Column(name, sa.String(length), nullable=False)

    op.create_table(
        "audit_event",
        sa.Column("id", big, primary_key=True),
        sa.Column("create_time", time, nullable=False),
        text("key_id"),
        text("address"),
        text("trace_id"),
        text("method"),
        text("kind", 64),
        text("action", 64),
        text("outcome", 64),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        text("uid"),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        text("etag_before"),
        text("etag_after"),
        text("before"),
        text("after"),
        text("digest", 64),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_seal",
        sa.Column("position", big, primary_key=True, autoincrement=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("ids", sa.JSON(), nullable=False),
        sa.Column("last_id", big, nullable=False),
        sa.Column("missing", sa.JSON(), nullable=False),
        sa.Column("create_time", time, nullable=False),
        text("content_hash", 64),
        text("hash", 64),
    )
    op.create_index("ix_audit_seal_create_time", "audit_seal", ["create_time"])
    if op.get_bind().dialect.name == "sqlite":
        for table in _TABLES:
            for what in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table}"
                    f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    op.execute(_FUNCTION)
    for table in _TABLES:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"
        )


def downgrade() -> None:
    """Downgrade to the previous revision."""
    op.drop_table("audit_seal")
    op.drop_table("audit_event")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_append_only()")
