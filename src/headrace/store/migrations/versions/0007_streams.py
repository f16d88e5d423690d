"""Streams: topics of others that the stream reads, as immutable versions, and which are active."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql.elements import quoted_name

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _schema() -> quoted_name:
    """Quoted as a whole: Alembic would take a dot in it apart."""
    return quoted_name(str(op.get_context().version_table_schema), quote=True)


def upgrade() -> None:
    """Make the tables."""
    now = sa.func.now()
    time = sa.DateTime(timezone=True)
    op.create_table(
        "stream_versions",
        sa.Column("stream_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", time, nullable=False, server_default=now),
        schema=_schema(),
    )
    op.create_table(
        "streams",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("since", time, nullable=False, server_default=now),
        schema=_schema(),
    )


def downgrade() -> None:
    """Drop them: the topics are no longer read once rules are applied anew."""
    op.drop_table("streams", schema=_schema())
    op.drop_table("stream_versions", schema=_schema())
