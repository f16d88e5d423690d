"""Catalogs, segment versions, plans, registry, targets, progress, leases and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A version's meaning never changes after the fact; only its state moves on.
_VERSION_GUARD = """
CREATE FUNCTION {schema}.refuse_version_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR
       (NEW.segment_id, NEW.version, NEW.text, NEW.content_hash, NEW.author, NEW.reason,
        NEW.created_at)
       IS DISTINCT FROM
       (OLD.segment_id, OLD.version, OLD.text, OLD.content_hash, OLD.author, OLD.reason,
        OLD.created_at)
    THEN
        RAISE EXCEPTION 'segment versions are immutable: % version %', OLD.segment_id, OLD.version
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$
"""
_ROW_GUARD = """
CREATE FUNCTION {schema}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are immutable', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""


def _time(name: str, *, default: bool = True) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=not default,
        server_default=sa.func.now() if default else None,
    )


def upgrade() -> None:
    """Make everything."""
    schema = op.get_context().version_table_schema
    op.create_table(
        "catalogs",
        sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        _time("created_at"),
        schema=schema,
        comment="Every catalog ever applied; the latest is the one in force.",
    )
    op.create_table(
        "segment_versions",
        sa.Column("segment_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        _time("created_at"),
        _time("activated_at", default=False),
        _time("retired_at", default=False),
        sa.CheckConstraint("state IN ('draft', 'active', 'retired')", name="known_state"),
        sa.CheckConstraint("version >= 1", name="versions_count_from_one"),
        schema=schema,
        comment="Immutable texts of segments; only state and its times move.",
    )
    op.create_index(
        "one_active_version",
        "segment_versions",
        ["segment_id"],
        unique=True,
        schema=schema,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "plans",
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("body", JSONB, nullable=False),
        _time("created_at"),
        sa.CheckConstraint(
            "hash = encode(sha256(convert_to(text, 'UTF8')), 'hex')",
            name="hash_of_text",
        ),
        schema=schema,
        comment="What all active versions compile to: canonical text, its sha256, and as JSONB.",
    )
    op.create_table(
        "registry",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("kind", "id", name="one_hash_per_id"),
        schema=schema,
        comment="One stable integer per content hash, given once; state rows hold these.",
    )
    op.create_table(
        "targets",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("plan_hash", sa.Text, sa.ForeignKey(f"{schema}.plans.hash"), nullable=False),
        _time("since"),
        schema=schema,
        comment="The plan each job should run.",
    )
    op.create_table(
        "executions",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("plan_hash", sa.Text, sa.ForeignKey(f"{schema}.plans.hash"), nullable=False),
        sa.Column("since_batch", sa.BigInteger, nullable=False),
        _time("at"),
        sa.UniqueConstraint("job", "since_batch", "plan_hash", name="one_row_per_swap"),
        schema=schema,
        comment="Since which batch a job executes which plan.",
    )
    op.create_table(
        "progress",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer),
        sa.Column("exit_code", sa.SmallInteger),
        sa.Column("log_path", sa.Text),
        sa.Column("plan_hash", sa.Text),
        _time("started_at"),
        _time("updated_at"),
        _time("ended_at", default=False),
        sa.Column("details", JSONB, nullable=False),
        sa.CheckConstraint("kind IN ('launch', 'backfill', 'recompute')", name="known_kind"),
        schema=schema,
        comment="Every launch, backfill and recompute: how far it is and how it ended.",
    )
    op.create_index("progress_by_job", "progress", ["job", "kind", "id"], schema=schema)
    op.create_table(
        "leases",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("previous", sa.Text),
        _time("taken_at"),
        _time("expires_at"),
        schema=schema,
        comment="Who may run a job, until when by the database's clock.",
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        _time("at"),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("before", JSONB),
        sa.Column("after", JSONB),
        sa.Column("previous_hash", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        schema=schema,
        comment="Who changed what, when; each row's hash covers the row before it.",
    )
    quoted = op.get_bind().dialect.identifier_preparer.quote(schema or "public")
    op.execute(_VERSION_GUARD.format(schema=quoted))
    op.execute(_ROW_GUARD.format(schema=quoted))
    op.execute(
        f"CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON {quoted}.segment_versions "
        f"FOR EACH ROW EXECUTE FUNCTION {quoted}.refuse_version_change()"
    )
    for table in ("plans", "audit", "catalogs", "registry"):
        op.execute(
            f"CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON {quoted}.{table} "
            f"FOR EACH ROW EXECUTE FUNCTION {quoted}.refuse_change()"
        )
    for table in ("segment_versions", "plans", "audit", "catalogs", "registry"):
        op.execute(
            f"CREATE TRIGGER kept BEFORE TRUNCATE ON {quoted}.{table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {quoted}.refuse_change()"
        )


def downgrade() -> None:
    """Take everything back."""
    schema = op.get_context().version_table_schema
    for table in (
        "audit", "leases", "progress", "executions", "targets", "registry", "plans",
        "segment_versions", "catalogs",
    ):  # fmt: skip
        op.drop_table(table, schema=schema)
    quoted = op.get_bind().dialect.identifier_preparer.quote(schema or "public")
    op.execute(f"DROP FUNCTION {quoted}.refuse_version_change()")
    op.execute(f"DROP FUNCTION {quoted}.refuse_change()")
