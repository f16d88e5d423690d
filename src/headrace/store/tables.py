"""The tables of Postgres as SQLAlchemy sees them; migrations make them.

They name no schema: a connection translates "no schema" to the namespace's own
(:mod:`headrace.store.connection`), so that several deployments share a database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

_Time = DateTime(timezone=True)

catalogs = Table(
    "catalogs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", _Time, nullable=False, server_default=func.now()),
)

segment_versions = Table(
    "segment_versions",
    metadata,
    Column("segment_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", _Time, nullable=False, server_default=func.now()),
    Column("activated_at", _Time),
    Column("retired_at", _Time),
)

plans = Table(
    "plans",
    metadata,
    Column("hash", Text, primary_key=True),
    # The canonical text is what the hash is of; JSONB reorders keys, so it only serves queries.
    Column("text", Text, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("created_at", _Time, nullable=False, server_default=func.now()),
)

registry = Table(
    "registry",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("hash", Text, primary_key=True),
    Column("id", BigInteger, nullable=False),
    UniqueConstraint("kind", "id"),
)

targets = Table(
    "targets",
    metadata,
    Column("job", Text, primary_key=True),
    Column("plan_hash", Text, nullable=False),
    Column("since", _Time, nullable=False, server_default=func.now()),
)

executions = Table(
    "executions",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("job", Text, nullable=False),
    Column("plan_hash", Text, nullable=False),
    Column("since_batch", BigInteger, nullable=False),
    Column("at", _Time, nullable=False, server_default=func.now()),
    UniqueConstraint("job", "since_batch", "plan_hash"),
)

progress = Table(
    "progress",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("job", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("pid", Integer),
    Column("exit_code", SmallInteger),
    Column("log_path", Text),
    Column("plan_hash", Text),
    Column("started_at", _Time, nullable=False, server_default=func.now()),
    Column("updated_at", _Time, nullable=False, server_default=func.now()),
    Column("ended_at", _Time),
    Column("details", JSONB, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("job", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("previous", Text),
    Column("taken_at", _Time, nullable=False),
    Column("expires_at", _Time, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("segment_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("held_at", _Time, nullable=False, server_default=func.now()),
    Column("released_at", _Time),
    Column("released_by", Text),
)

receipts = Table(
    "receipts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    # Milliseconds: what the signature covers, to the digit.
    Column("forgotten_until", BigInteger, nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("remove_by", BigInteger, nullable=False),
    Column("carried_out_at", BigInteger),
    Column("n", BigInteger),
    Column("erased_at", BigInteger),
    Column("removed_at", BigInteger),
    Column("signature", Text, nullable=False),
)

replays = Table(
    "replays",
    metadata,
    Column("place", Text, primary_key=True),
    Column("at", _Time, nullable=False, server_default=func.now()),
)

stream_versions = Table(
    "stream_versions",
    metadata,
    Column("stream_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", _Time, nullable=False, server_default=func.now()),
)

streams = Table(
    "streams",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    # The one that is active, or was, or would be.
    Column("version", Integer, nullable=False),
    Column("since", _Time, nullable=False, server_default=func.now()),
    # Of one that reads a database: what keeps it from that, and, without a connector, the
    # greatest watermark that has been read.
    Column("trouble", Text, nullable=False, server_default=""),
    Column("pulled_to", _Time, nullable=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("key_hash", Text, nullable=False, unique=True),
    Column("key_hint", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("reveals", Boolean, nullable=False),
    Column("created_at", _Time, nullable=False, server_default=func.now()),
    Column("expires_at", _Time),
    Column("last_used_at", _Time),
    Column("revoked_at", _Time),
)
sources = Table(
    "sources",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("key_hash", Text, nullable=False, unique=True),
    # The first characters of the key, so that people can tell one from another.
    Column("key_hint", Text, nullable=False),
    Column("origins", JSONB, nullable=False),
    Column("events_per_second", Integer, nullable=False),
    Column("may_join", Boolean, nullable=False),
    Column("may_delete", Boolean, nullable=False),
    Column("bots", Text, nullable=False, server_default="keep"),
    Column("is_test", Boolean, nullable=False, server_default=false()),
    Column("created_at", _Time, nullable=False, server_default=func.now()),
    Column("revoked_at", _Time),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", _Time, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", JSONB(none_as_null=True)),
    Column("after", JSONB(none_as_null=True)),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
