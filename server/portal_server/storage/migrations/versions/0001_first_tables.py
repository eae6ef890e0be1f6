"""First tables: providers, client types, API keys.

Rules of a migration: it runs in one transaction on SQLite and on PostgreSQL;
it has a downgrade; it never imports portal_server, which keeps changing; the
previous version must be able to run on its schema. Its number is that of the previous
migration plus 1, in four digits.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Upgrade to this revision."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "provider",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("well_known_uri", sa.String(), nullable=False),
        sa.Column("tls_insecure_skip_verify", sa.Boolean(), nullable=False),
        sa.Column("registration_access_token", sa.String(), nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.Column("update_time", time, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "client_type",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column(
            "provider_id",
            sa.Integer(),
            sa.ForeignKey("provider.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("response_types", sa.JSON(), nullable=False),
        sa.Column("grant_types", sa.JSON(), nullable=False),
        sa.Column("token_endpoint_auth_method", sa.String(64), nullable=True),
        sa.Column("okta_app_type", sa.String(64), nullable=True),
        sa.Column("create_time", time, nullable=False),
        sa.Column("update_time", time, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_client_type_provider_id_id", "client_type", ["provider_id", "id"])
    op.create_table(
        "api_key",
        sa.Column("key_id", sa.String(8), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.Column("revoke_time", time, nullable=True),
    )


def downgrade() -> None:
    """Downgrade to the previous revision."""
    op.drop_table("api_key")
    op.drop_table("client_type")
    op.drop_table("provider")
