"""Clients, leases, and how a provider is called; the tokens of providers are encrypted.

Servers of the previous version run on this schema: the new columns of a provider have
defaults, and an encrypted token is a text for them like any other, which they neither
use nor change. They store new tokens as they are given, and cannot delete a provider or
client type that has clients. `portal encryption rotate` encrypts their tokens.

A downgrade deletes the clients, which stay registered at their providers, and leaves the
tokens encrypted: the previous version keeps them, and this version can read them again.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import context, op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# As storage.encryption writes them; a secret that begins so is encrypted already.
_PLACE = "provider.registration_access_token"
_ENCRYPTED = "enc:v1:"
_PIECE = 1000


def upgrade() -> None:
    """Upgrade to this revision."""
    time = sa.DateTime(timezone=True)
    for name in ("registration_endpoint", "ca_certificate", "credential_client_id"):
        op.add_column("provider", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.add_column("provider", sa.Column("credential_type", sa.String(64), nullable=True))
    secret = sa.Column("credential_client_secret", sa.String(), nullable=False, server_default="")
    op.add_column("provider", secret)
    op.create_table(
        "client",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("provider_id", sa.Integer(), sa.ForeignKey("provider.id"), nullable=False),
        sa.Column("client_type_id", sa.Integer(), sa.ForeignKey("client_type.id"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("redirect_uris", sa.JSON(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("state_time", time, nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("client_id_issue_time", time, nullable=True),
        sa.Column("client_secret_expire_time", time, nullable=True),
        sa.Column("client_secret", sa.String(), nullable=False),
        sa.Column("client_secret_available_time", time, nullable=True),
        sa.Column("requested", sa.JSON(), nullable=False),
        sa.Column("registered", sa.JSON(), nullable=False),
        sa.Column("differences", sa.JSON(), nullable=False),
        sa.Column("registration_client_uri", sa.String(), nullable=False),
        sa.Column("registration_access_token", sa.String(), nullable=False),
        sa.Column("verify_time", time, nullable=True),
        sa.Column("due_time", time, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.Column("update_time", time, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_client_provider_id_id", "client", ["provider_id", "id"])
    op.create_index("ix_client_client_type_id_id", "client", ["client_type_id", "id"])
    op.create_index("ix_client_uid", "client", ["uid"], unique=True)
    due = sa.text("due_time IS NOT NULL")
    op.create_index(
        "ix_client_due_time", "client", ["due_time"], sqlite_where=due, postgresql_where=due
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("until", time, nullable=False),
    )
    _encrypt_tokens()


def _encrypt_tokens() -> None:
    seal = context.config.attributes.get("seal")
    if seal is None:
        return
    table = sa.table(
        "provider",
        sa.column("id", sa.Integer()),
        sa.column("uid", sa.String()),
        sa.column("registration_access_token", sa.String()),
    )
    token = table.c.registration_access_token
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        # Overwrites the clear text in the file.
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
    after = 0
    clear = sa.and_(token != "", sa.func.substr(token, 1, len(_ENCRYPTED)) != _ENCRYPTED)
    while rows := connection.execute(
        sa.select(table).where(table.c.id > after, clear).order_by(table.c.id).limit(_PIECE)
    ).all():
        change = sa.update(table).where(table.c.id == sa.bindparam("which"))
        connection.execute(
            change.values(registration_access_token=sa.bindparam("sealed")),
            [{"which": row.id, "sealed": seal(_PLACE, row.uid, row[2])} for row in rows],
        )
        after = rows[-1].id


def downgrade() -> None:
    """Downgrade to the previous revision."""
    op.drop_table("lease")
    op.drop_table("client")
    for name in (
        "credential_client_secret",
        "credential_type",
        "credential_client_id",
        "ca_certificate",
        "registration_endpoint",
    ):
        op.drop_column("provider", name)
