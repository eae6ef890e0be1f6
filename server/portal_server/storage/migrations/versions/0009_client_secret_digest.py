"""The digest of the secret that a response returned last, to recognize another one.

The previous version does not know the column. It does not return a secret that an update replaced.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Upgrade to this revision."""
    column = sa.Column("client_secret_digest", sa.String(), nullable=False, server_default="")
    op.add_column("client", column)


def downgrade() -> None:
    """Downgrade to the previous revision."""
    op.drop_column("client", "client_secret_digest")
