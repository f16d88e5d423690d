"""Sources whose traffic is of tests, or may be of bots."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql.elements import quoted_name

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def _schema() -> quoted_name:
    """Quoted as a whole: Alembic would take a dot in it apart."""
    return quoted_name(str(op.get_context().version_table_schema), quote=True)


def upgrade() -> None:
    """Those that are there send what they sent, unmarked."""
    bots = sa.Column("bots", sa.Text, nullable=False, server_default="keep")
    test = sa.Column("is_test", sa.Boolean, nullable=False, server_default=sa.false())
    for column in (bots, test):
        op.add_column("sources", column, schema=_schema())
    op.create_check_constraint(
        "known_bots", "sources", "bots IN ('keep', 'flag', 'refuse')", schema=_schema()
    )


def downgrade() -> None:
    """Mark nothing any more."""
    op.drop_constraint("known_bots", "sources", schema=_schema())
    for name in ("is_test", "bots"):
        op.drop_column("sources", name, schema=_schema())
