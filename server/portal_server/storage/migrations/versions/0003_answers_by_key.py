"""The API key that a response was stored for.

Null: a server of the previous version has stored it, in its own format. That version
goes on doing so while both serve the database.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Upgrade to this revision."""
    op.add_column("answer", sa.Column("key_id", sa.String(), nullable=True))


def downgrade() -> None:
    """Downgrade to the previous revision."""
    # Not in batch: that would copy the table, which has no need to be copied.
    op.drop_column("answer", "key_id")
