"""How the audit log tells what became of catalog and versions."""

from __future__ import annotations

from headrace.store.audit import Entry
from headrace.store.versions import Edits, StoredVersion


def catalog_entries(before: str | None, after: str) -> list[Entry]:
    """A catalog's text took the place of another."""
    if before == after:
        return []
    old = {"text": before} if before is not None else None
    return [Entry(action="catalog.put", subject="catalog", before=old, after={"text": after})]


def version_entries(
    edits: Edits,
    texts: dict[str, str],
    before: list[StoredVersion],
    *,
    action: str = "segment.activate",
) -> list[Entry]:
    """Versions came to be, by ``action``, or ended; ``before`` are those they replace."""
    old = {v.segment_id: {"version": v.version, "text": v.text} for v in before}
    activated = [
        Entry(
            action=action,
            subject=new.segment_id,
            before=old.get(new.segment_id),
            after={"version": new.version, "text": texts[new.segment_id]},
        )
        for new in edits.created
    ]
    retired = [
        Entry(action="segment.retire", subject=v.segment_id, before=old[v.segment_id])
        for v in edits.retired
    ]
    return activated + retired


def with_reason(entry: Entry, reason: str) -> Entry:
    """``entry`` with what its author gave as the reason."""
    after = dict(entry.after or {})
    if reason:
        after["reason"] = reason
    return Entry(
        action=entry.action,
        subject=entry.subject,
        before=entry.before,
        after=after or None,
    )
