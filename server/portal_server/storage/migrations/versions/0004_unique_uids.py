"""Unique indexes on the uids, which identify resources.

Servers of the previous version run on this schema: their uids are random, and so
unique as well.

The indexes are built in the transaction of the migration. Reads continue, but
writes wait: with a million client types about 6 seconds on SQLite and 10 on PostgreSQL,
on two busy cores. A write that waits longer than 5 seconds fails and can be retried.
`CREATE INDEX CONCURRENTLY` would let writes go on, but cannot run in a transaction, and
leaves an invalid index behind when it fails.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Upgrade to this revision."""
    op.create_index("ix_provider_uid", "provider", ["uid"], unique=True)
    op.create_index("ix_client_type_uid", "client_type", ["uid"], unique=True)


def downgrade() -> None:
    """Downgrade to the previous revision."""
    op.drop_index("ix_client_type_uid", "client_type")
    op.drop_index("ix_provider_uid", "provider")
