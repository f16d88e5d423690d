"""Lists and replays that people send, as rows of progress."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql.elements import quoted_name

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KINDS = ("launch", "reserve", "backfill", "recompute", "upkeep", "quality", "export")


def _schema() -> quoted_name:
    """Quoted as a whole: Alembic would take a dot in it apart."""
    return quoted_name(str(op.get_context().version_table_schema), quote=True)


def upgrade() -> None:
    """Allow the kinds."""
    _allow((*KINDS, "list", "replay"))


def downgrade() -> None:
    """Forget them: what they sent is in Kafka."""
    rows = sa.table("progress", sa.column("kind", sa.Text), schema=_schema())
    op.execute(sa.delete(rows).where(rows.c.kind.in_(("list", "replay"))))
    _allow(KINDS)


def _allow(kinds: tuple[str, ...]) -> None:
    op.drop_constraint("known_kind", "progress", schema=_schema())
    known = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint("known_kind", "progress", f"kind IN ({known})", schema=_schema())
