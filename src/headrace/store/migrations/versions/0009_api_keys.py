"""API keys: who may ask, and change, what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql.elements import quoted_name

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _schema() -> quoted_name:
    """Quoted as a whole: Alembic would take a dot in it apart."""
    return quoted_name(str(op.get_context().version_table_schema), quote=True)


def upgrade() -> None:
    """Make the table. While a key is rotated there are two of its name."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key_hash", sa.Text, nullable=False, unique=True),
        sa.Column("key_hint", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("reveals", sa.Boolean, nullable=False),
        sa.Column("created_at", time, nullable=False, server_default=sa.func.now()),
        sa.Column("expires_at", time),
        sa.Column("last_used_at", time),
        sa.Column("revoked_at", time),
        sa.CheckConstraint(
            "role IN ('viewer', 'analyst', 'approver', 'operator', 'admin')", name="known_role"
        ),
        schema=_schema(),
    )


def downgrade() -> None:
    """Drop it: keys open nothing any more."""
    op.drop_table("api_keys", schema=_schema())
