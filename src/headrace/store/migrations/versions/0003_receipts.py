"""Receipts of requests to forget."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the receipts."""
    schema = op.get_context().version_table_schema
    op.create_table(
        "receipts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("forgotten_until", sa.BigInteger, nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("remove_by", sa.BigInteger, nullable=False),
        sa.Column("carried_out_at", sa.BigInteger),
        sa.Column("n", sa.BigInteger),
        sa.Column("erased_at", sa.BigInteger),
        sa.Column("removed_at", sa.BigInteger),
        sa.Column("signature", sa.Text, nullable=False),
        schema=schema,
        comment="Requests to forget, without names. Instants in ms, as the signature covers them.",
    )
    op.create_index(
        "one_open_request",
        "receipts",
        ["key"],
        unique=True,
        schema=schema,
        postgresql_where=sa.text("carried_out_at IS NULL"),
    )


def downgrade() -> None:
    """Drop the receipts."""
    op.drop_table("receipts", schema=op.get_context().version_table_schema)
