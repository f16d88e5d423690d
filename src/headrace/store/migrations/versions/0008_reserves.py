"""Launches in reserve, as rows of progress."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql.elements import quoted_name

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KINDS = ("launch", "backfill", "recompute", "upkeep", "quality", "export")


def _schema() -> quoted_name:
    """Quoted as a whole: Alembic would take a dot in it apart."""
    return quoted_name(str(op.get_context().version_table_schema), quote=True)


def upgrade() -> None:
    """Allow the kind."""
    _allow((*KINDS, "reserve"))


def downgrade() -> None:
    """Forget those that wait: they took no part in anything yet."""
    rows = sa.table("progress", sa.column("kind", sa.Text), schema=_schema())
    op.execute(sa.delete(rows).where(rows.c.kind == "reserve"))
    _allow(KINDS)


def _allow(kinds: tuple[str, ...]) -> None:
    op.drop_constraint("known_kind", "progress", schema=_schema())
    known = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint("known_kind", "progress", f"kind IN ({known})", schema=_schema())
