"""The audit log: who changed what, in a chain of hashes that a changed row breaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from headrace.store.tables import audit

GENESIS = "0" * 64
_READ_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One change: before is None for what is new, after is None for what is gone."""

    action: str
    subject: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many rows were read, the newest hash, and the first row that does not fit, if any.

    Rows cut off at the end leave a shorter chain that fits: compare ``head`` with one noted
    elsewhere.
    """

    rows: int
    head: str
    broken_at: int | None


def append(connection: Connection, actor: str, entries: Sequence[Entry]) -> None:
    """Add ``entries`` in their order. Whoever calls holds the publishing lock."""
    if not entries:
        return
    last = connection.execute(
        select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)
    ).one_or_none()
    number, previous = (last.id, last.hash) if last else (0, GENESIS)
    at = connection.execute(select(func.now())).scalar_one()
    rows = []
    for entry in entries:
        number += 1
        row = {
            "id": number,
            "at": at,
            "actor": actor,
            "action": entry.action,
            "subject": entry.subject,
            "before": entry.before,
            "after": entry.after,
            "previous_hash": previous,
        }
        previous = row["hash"] = row_hash(row)
        rows.append(row)
    connection.execute(insert(audit), rows)


def verify(connection: Connection) -> Verdict:
    """Walk the whole chain: ids count from 1, every hash covers its row and the one before."""
    count, previous = 0, GENESIS
    rows = connection.execution_options(yield_per=_READ_AT_ONCE).execute(
        select(audit).order_by(audit.c.id)
    )
    for row in map(dict, rows.mappings()):
        fits = row["previous_hash"] == previous and row["hash"] == row_hash(row)
        if row["id"] != count + 1 or not fits:
            return Verdict(count, previous, row["id"])
        count, previous = count + 1, row["hash"]
    return Verdict(count, previous, None)


def row_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 of the previous hash and the row as canonical JSON."""
    at: datetime = row["at"]
    covered = {key: row[key] for key in ("id", "actor", "action", "subject", "before", "after")} | {
        "at": at.astimezone(UTC).isoformat(timespec="microseconds")
    }
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256((row["previous_hash"] + text).encode()).hexdigest()
