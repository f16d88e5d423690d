"""Publishing: one transaction, one publisher at a time, from rules to the plan a job should run."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from headrace.errors import Problem
from headrace.plan.build import SegmentVersion
from headrace.rules.catalog import Catalog
from headrace.rules.checks import RETENTION, check
from headrace.rules.model import Segment
from headrace.rules.source import Places, Rules
from headrace.rules.yaml import canonical
from headrace.store import audit, catalogs, plans, versions
from headrace.store.audit import Entry
from headrace.store.plans import StoredPlan
from headrace.store.registry import PostgresRegistry
from headrace.store.versions import Created, Edits, StoredVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying rules changed, and what is active now."""

    catalog: Catalog
    catalog_changed: bool
    created: tuple[Created, ...]
    unchanged: tuple[str, ...]
    retired: tuple[str, ...]
    active: tuple[SegmentVersion, ...]
    warnings: tuple[Problem, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing changed."""
        return not (self.catalog_changed or self.created or self.retired)


class Edition:
    """One publishing transaction. Nothing of it is seen by others until it ends well.

    Whoever makes one holds the schema's lock: versions are numbered by reading the newest.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.registry = PostgresRegistry(connection)

    def apply(
        self,
        rules: Rules,
        *,
        author: str,
        reason: str,
        prune: bool = False,
        retention: int = RETENTION,
    ) -> Applied:
        """Make ``rules`` the active ones; RuleError with every problem if any is broken.

        Segments that ``rules`` does not name stay as they are, unless ``prune`` retires them; the
        new catalog must suit those too.
        """
        connection = self._connection
        before = versions.active(connection)
        texts = {segment.id: canonical(segment) for segment in rules.segments}
        kept = {} if prune else {v.segment_id: v for v in before if v.segment_id not in texts}
        kept_segments = tuple(version.segment for version in kept.values())
        warnings = _checked(rules, kept, kept_segments, retention)

        edits = versions.activate(
            connection, texts, before=before, prune=prune, author=author, reason=reason
        )
        old_catalog, new_catalog = (
            catalogs.latest_text(connection),
            canonical(rules.catalog),
        )
        catalog_changed = old_catalog != new_catalog
        if catalog_changed:
            catalogs.put(connection, rules.catalog, author=author, reason=reason)
        entries = _catalog_entries(old_catalog, new_catalog) + _entries(edits, texts, before)
        audit.append(connection, author, [_with_reason(entry, reason) for entry in entries])

        numbers = {v.segment_id: v.version for v in before}
        numbers |= {new.segment_id: new.version for new in edits.created}
        segments = sorted((*rules.segments, *kept_segments), key=lambda segment: segment.id)
        return Applied(
            catalog=rules.catalog,
            catalog_changed=catalog_changed,
            created=edits.created,
            unchanged=edits.unchanged,
            retired=tuple(version.segment_id for version in edits.retired),
            active=tuple(SegmentVersion(s, numbers[s.id]) for s in segments),
            warnings=warnings,
        )

    def target(self, job: str) -> StoredPlan | None:
        """The plan ``job`` should run so far."""
        return plans.target_plan(self._connection, job)

    def aim(self, job: str, plan_text: str, *, author: str) -> bool:
        """Store a plan and make it what ``job`` should run; False when it already is."""
        content = plans.put_plan(self._connection, plan_text)
        before = plans.target_hash(self._connection, job)
        if before == content:
            return False
        plans.set_target(self._connection, job, content)
        entry = Entry(
            action="target.set",
            subject=job,
            before={"plan": before} if before else None,
            after={"plan": content},
        )
        audit.append(self._connection, author, [entry])
        return True


def _checked(
    rules: Rules, kept: dict[str, StoredVersion], segments: tuple[Segment, ...], retention: int
) -> tuple[Problem, ...]:
    """Check the rules together with the segments they leave alone; the warnings."""
    rules.require()
    places = {id: Places(version.place) for id, version in kept.items()}
    whole = Rules(rules.catalog, (*rules.segments, *segments), places={**places, **rules.places})
    found = Rules(
        rules.catalog,
        problems=tuple(dict.fromkeys((*rules.problems, *check(whole, retention=retention)))),
    )
    return found.require().problems


def _catalog_entries(before: str | None, after: str) -> list[Entry]:
    if before == after:
        return []
    old = {"text": before} if before is not None else None
    return [Entry(action="catalog.put", subject="catalog", before=old, after={"text": after})]


def _entries(edits: Edits, texts: dict[str, str], before: list[StoredVersion]) -> list[Entry]:
    old = {v.segment_id: {"version": v.version, "text": v.text} for v in before}
    activated = [
        Entry(
            action="segment.activate",
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


def _with_reason(entry: Entry, reason: str) -> Entry:
    after = dict(entry.after or {})
    if reason:
        after["reason"] = reason
    return Entry(
        action=entry.action,
        subject=entry.subject,
        before=entry.before,
        after=after or None,
    )
