"""The list of what has been sent again, without the fixes that nobody reads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql.elements import quoted_name

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _schema() -> quoted_name:
    """Quoted as a whole: Alembic would take a dot in it apart."""
    return quoted_name(str(op.get_context().version_table_schema), quote=True)


def upgrade() -> None:
    """Drop the column."""
    op.drop_column("replays", "fix", schema=_schema())


def downgrade() -> None:
    """Make it again; what it held is gone."""
    column = sa.Column("fix", sa.Text, nullable=False, server_default="")
    op.add_column("replays", column, schema=_schema())
