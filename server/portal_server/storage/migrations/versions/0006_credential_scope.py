"""The scope of a provider's service account. The previous version does not know the column."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Upgrade to this revision."""
    column = sa.Column("credential_scope", sa.String(), nullable=False, server_default="")
    op.add_column("provider", column)


def downgrade() -> None:
    """Downgrade to the previous revision."""
    op.drop_column("provider", "credential_scope")
