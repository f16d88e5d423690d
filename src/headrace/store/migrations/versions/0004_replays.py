"""Rejected messages that have been sent again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the list."""
    op.create_table(
        "replays",
        sa.Column("place", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("fix", sa.Text, nullable=False),
        schema=op.get_context().version_table_schema,
        comment="Rejected messages sent again (topic/partition/offset), and by which fix",
    )


def downgrade() -> None:
    """Drop the list."""
    op.drop_table("replays", schema=op.get_context().version_table_schema)
