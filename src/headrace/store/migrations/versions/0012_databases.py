"""Streams that read databases: what keeps them from it, how far they are, and runs that do it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql.elements import quoted_name

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


KINDS = (
    *("launch", "reserve", "backfill", "recompute", "upkeep", "quality", "export", "list"),
    "replay",
)


def _schema() -> quoted_name:
    """Quoted as a whole: Alembic would take a dot in it apart."""
    return quoted_name(str(op.get_context().version_table_schema), quote=True)


def upgrade() -> None:
    """None does so far."""
    trouble = sa.Column("trouble", sa.Text, nullable=False, server_default="")
    op.add_column("streams", trouble, schema=_schema())
    pulled = sa.Column("pulled_to", sa.DateTime(timezone=True), nullable=True)
    op.add_column("streams", pulled, schema=_schema())
    _allow((*KINDS, "pull"))


def downgrade() -> None:
    """Forget both: troubles are noted anew, and rows that are read again repeat what they said."""
    for name in ("pulled_to", "trouble"):
        op.drop_column("streams", name, schema=_schema())
    rows = sa.table("progress", sa.column("kind", sa.Text), schema=_schema())
    op.execute(sa.delete(rows).where(rows.c.kind == "pull"))
    _allow(KINDS)


def _allow(kinds: tuple[str, ...]) -> None:
    op.drop_constraint("known_kind", "progress", schema=_schema())
    known = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint("known_kind", "progress", f"kind IN ({known})", schema=_schema())
