"""Publishing: one transaction, one publisher at a time, from rules to the plan a job should run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from headrace.errors import OperatorError, Place, Problem, RuleError
from headrace.plan.build import SegmentVersion
from headrace.rules.catalog import Catalog
from headrace.rules.checks import RETENTION, check
from headrace.rules.model import Segment
from headrace.rules.references import segment_references
from headrace.rules.source import Places, Rules
from headrace.rules.streams import Stream
from headrace.rules.yaml import canonical
from headrace.store import audit, catalogs, plans, streams, versions
from headrace.store.audit import Entry
from headrace.store.entries import catalog_entries, version_entries, with_reason
from headrace.store.history import History, history_of
from headrace.store.outcome import Applied, Drafted
from headrace.store.plans import StoredPlan
from headrace.store.registry import PostgresRegistry
from headrace.store.streams import StoredStream, StreamState
from headrace.store.versions import Created, StoredVersion

RENUMBERED = "the text stayed; what it refers to, or the catalog, changed its meaning"


class Edition:
    """One publishing transaction. Nothing of it is seen by others until it ends well.

    Whoever makes one holds the schema's lock: versions are numbered by reading the newest.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.registry = PostgresRegistry(connection)

    def history(self, segment_id: str) -> History:
        """Every version of a segment; OperatorError when it never had one."""
        return history_of(self._connection, segment_id)

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
        named = {segment.id for segment in rules.segments}
        active = versions.active(self._connection)
        gone = {v.segment_id for v in active} - named if prune else set()
        return self._changed(rules, active, gone, author, reason, retention)

    def activate(
        self,
        chosen: Sequence[StoredVersion],
        *,
        author: str,
        reason: str,
        retention: int = RETENTION,
    ) -> Applied:
        """Make the texts of stored versions active, checked against the catalog in force."""
        places = {version.segment_id: Places(version.place) for version in chosen}
        segments = tuple(version.segment for version in chosen)
        rules = Rules(self._catalog(), segments, places=places)
        return self.apply(rules, author=author, reason=reason, retention=retention)

    def retire(
        self, segments: Collection[str], *, author: str, reason: str, retention: int = RETENTION
    ) -> Applied:
        """End active segments; RuleError, naming them, when others refer to one."""
        for segment in segments:
            self.history(segment).in_force()
        active = versions.active(self._connection)
        needed = _needed(active, segments)
        if needed:
            raise RuleError(needed)
        rules = Rules(self._catalog())
        return self._changed(rules, active, segments, author, reason, retention)

    def renumber(self, applied: Applied, segments: Collection[str], *, author: str) -> Applied:
        """Give segments whose text stayed, but not its meaning, a number of their own for it."""
        connection = self._connection
        active = versions.active(connection)
        texts = {v.segment_id: v.text for v in active if v.segment_id in segments}
        edits = versions.activate(
            connection, texts, before=active, anew=True, author=author, reason=RENUMBERED
        )
        self._record(author, RENUMBERED, version_entries(edits, texts, active))
        numbers = {new.segment_id: new.version for new in edits.created}
        return replace(
            applied,
            created=tuple(sorted((*applied.created, *edits.created), key=_segment_id)),
            unchanged=tuple(id for id in applied.unchanged if id not in numbers),
            renumbered=tuple(sorted(numbers)),
            active=tuple(
                replace(one, version=numbers.get(one.segment.id, one.version))
                for one in applied.active
            ),
        )

    def draft(
        self, rules: Rules, *, author: str, reason: str, retention: int = RETENTION
    ) -> Drafted:
        """Keep the texts of ``rules`` as drafts, checked as if they were applied.

        The catalog of ``rules`` serves that check alone: activation goes by the one in force.
        """
        connection = self._connection
        active = versions.active(connection)
        texts = {segment.id: canonical(segment) for segment in rules.segments}
        kept = {v.segment_id: v for v in active if v.segment_id not in texts}
        kept_segments = tuple(version.segment for version in kept.values())
        warnings = _checked(rules, kept, kept_segments, retention)
        edits = versions.draft(connection, texts, before=active, author=author, reason=reason)
        self._record(author, reason, version_entries(edits, texts, [], action="segment.draft"))
        return Drafted(
            created=edits.created,
            unchanged=edits.unchanged,
            segments=(*rules.segments, *kept_segments),
            has_other_catalog=catalogs.latest_text(connection) != canonical(rules.catalog),
            warnings=warnings,
        )

    def _changed(
        self,
        rules: Rules,
        before: list[StoredVersion],
        retire: Collection[str],
        author: str,
        reason: str,
        retention: int,
    ) -> Applied:
        connection = self._connection
        texts = {segment.id: canonical(segment) for segment in rules.segments}
        gone = {*texts, *retire}
        kept = {v.segment_id: v for v in before if v.segment_id not in gone}
        kept_segments = tuple(version.segment for version in kept.values())
        warnings = _checked(rules, kept, kept_segments, retention)

        edits = versions.activate(
            connection, texts, before=before, retire=retire, author=author, reason=reason
        )
        old_catalog, new_catalog = catalogs.latest_text(connection), canonical(rules.catalog)
        if old_catalog != new_catalog:
            catalogs.put(connection, rules.catalog, author=author, reason=reason)
        self._record(
            author,
            reason,
            catalog_entries(old_catalog, new_catalog) + version_entries(edits, texts, before),
        )
        numbers = {v.segment_id: v.version for v in before}
        numbers |= {new.segment_id: new.version for new in edits.created}
        segments = sorted((*rules.segments, *kept_segments), key=lambda segment: segment.id)
        return Applied(
            catalog=rules.catalog,
            catalog_changed=old_catalog != new_catalog,
            created=edits.created,
            unchanged=edits.unchanged,
            retired=tuple(version.segment_id for version in edits.retired),
            active=tuple(SegmentVersion(s, numbers[s.id]) for s in segments),
            warnings=warnings,
        )

    def _record(self, author: str, reason: str, entries: list[Entry]) -> None:
        audit.append(self._connection, author, [with_reason(entry, reason) for entry in entries])

    def _catalog(self) -> Catalog:
        catalog = catalogs.latest(self._connection)
        if catalog is None:
            raise OperatorError(
                "no catalog is in force: `headrace apply RULES` first", code="HR933"
            )
        return catalog

    def streams(self) -> tuple[Stream, ...]:
        """The active streams."""
        return tuple(one.stream for one in streams.every(self._connection) if one.state == "active")

    def every_stream(self) -> list[StoredStream]:
        """All streams, whatever their state."""
        return streams.every(self._connection)

    def add_stream(self, stream: Stream, *, author: str, reason: str) -> int:
        """Keep a version of a stream, to be activated; the number it has, or had before."""
        number, entry = streams.add(self._connection, stream, author=author, reason=reason)
        self._record(author, reason, [entry])
        return number

    def move_stream(
        self,
        id: str,
        state: StreamState,
        *,
        version: int | None = None,
        author: str,
        reason: str,
        retention: int = RETENTION,
    ) -> Applied:
        """Activate, pause or retire a stream; the rules stay as they are."""
        entry = streams.move(self._connection, id, state, version=version)
        self._record(author, reason, [entry])
        active = versions.active(self._connection)
        return Applied(
            catalog=catalogs.latest(self._connection) or Catalog(),
            catalog_changed=False,
            created=(),
            unchanged=tuple(one.segment_id for one in active),
            retired=(),
            active=tuple(SegmentVersion(one.segment, one.version) for one in active),
            warnings=(),
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


def _needed(active: list[StoredVersion], gone: Collection[str]) -> list[Problem]:
    """References to ``gone`` from what stays."""
    return [
        Problem(
            "HR316",
            f"{version.segment_id!r} refers to {name!r}, which would be gone",
            Place(version.place),
            f"change {version.segment_id!r} first, or retire both",
        )
        for version in active
        if version.segment_id not in gone
        for name in sorted({name for name, _ in segment_references(version.segment)})
        if name in gone
    ]


def _segment_id(new: Created) -> str:
    return new.segment_id
