"""Runs of upkeep, quality and export in the progress table; holds on segments' outputs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BEFORE = ("launch", "backfill", "recompute")
_KINDS = (*_BEFORE, "upkeep", "quality", "export")


def upgrade() -> None:
    """Allow the new kinds, make the holds."""
    schema = op.get_context().version_table_schema
    _allow(_KINDS, schema)
    op.create_table(
        "holds",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("segment_id", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column(
            "held_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("released_at", sa.DateTime(timezone=True)),
        sa.Column("released_by", sa.Text),
        schema=schema,
        comment="Segments whose outputs wait until a person releases them; members do not wait.",
    )
    op.create_index(
        "one_open_hold",
        "holds",
        ["segment_id"],
        unique=True,
        schema=schema,
        postgresql_where=sa.text("released_at IS NULL"),
    )


def downgrade() -> None:
    """Drop the holds, and the runs that the release before knows nothing of."""
    schema = op.get_context().version_table_schema
    op.drop_table("holds", schema=schema)
    progress = sa.table("progress", sa.column("kind"), schema=schema)
    op.execute(sa.delete(progress).where(progress.c.kind.not_in(_BEFORE)))
    _allow(_BEFORE, schema)


def _allow(kinds: tuple[str, ...], schema: str | None) -> None:
    op.drop_constraint("known_kind", "progress", schema=schema)
    known = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint("known_kind", "progress", f"kind IN ({known})", schema=schema)
