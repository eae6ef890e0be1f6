"""What an API key may do, and until when: roles, expiry, providers, rates, rotation, last use.

The previous version does not know the columns. It rejects the keys that this version creates,
because their text is longer. An older key to which this version adds an expiry or a limit has
none there, and one with a new role is a viewer there.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_COLUMNS: dict[str, Any] = {
    "new_role": sa.String(64),
    "expire_time": sa.DateTime(timezone=True),
    "provider_ids": sa.JSON(),
    "requests_per_second": sa.Integer(),
    "burst": sa.Integer(),
    "previous_secrets": sa.JSON(),
    "update_time": sa.DateTime(timezone=True),
    "last_use_time": sa.DateTime(timezone=True),
}


def upgrade() -> None:
    """Upgrade to this revision."""
    for name, kind in _COLUMNS.items():
        op.add_column("api_key", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    """Downgrade to the previous revision."""
    for name in reversed(_COLUMNS):
        op.drop_column("api_key", name)
