"""Sources: who may send events over HTTP."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import quoted_name

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _schema() -> quoted_name:
    """Quoted as a whole: Alembic would take a dot in it apart."""
    return quoted_name(str(op.get_context().version_table_schema), quote=True)


def upgrade() -> None:
    """Make the table; of open sources with the same name there is one."""
    now = sa.func.now()
    time = sa.DateTime(timezone=True)
    op.create_table(
        "sources",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key_hash", sa.Text, nullable=False, unique=True),
        sa.Column("key_hint", sa.Text, nullable=False),
        sa.Column("origins", postgresql.JSONB, nullable=False),
        sa.Column("events_per_second", sa.Integer, nullable=False),
        sa.Column("may_join", sa.Boolean, nullable=False),
        sa.Column("may_delete", sa.Boolean, nullable=False),
        sa.Column("created_at", time, nullable=False, server_default=now),
        sa.Column("revoked_at", time),
        schema=_schema(),
    )
    op.create_index(
        "sources_open",
        "sources",
        ["name"],
        unique=True,
        schema=_schema(),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )


def downgrade() -> None:
    """Drop it: nobody can send over HTTP any more."""
    op.drop_table("sources", schema=_schema())
