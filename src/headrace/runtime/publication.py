"""From a folder of rules to the plan the streaming job should run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from headrace.clock import DAY
from headrace.errors import OperatorError, RuleError
from headrace.messages.control import NewPlan
from headrace.plan.build import SegmentVersion, build_plan, streamed
from headrace.plan.diff import PlanDiff, diff
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.rehearsal import failed_tests
from headrace.rules.source import Rules
from headrace.rules.streams.carriers import carried, needed
from headrace.settings import Settings
from headrace.store import Applied, Drafted, Edition, Store, StoredStream

JOB = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What publishing did, or would do.

    ``unfed`` says which active segments need events that no active stream brings, though one that
    is not active would.
    """

    applied: Applied
    plan: Plan
    before: Plan | None
    change: PlanDiff
    is_new_plan: bool
    warning: str = ""
    unfed: tuple[str, ...] = ()

    @property
    def batch_only(self) -> dict[str, str]:
        """The active segments that the stream leaves out, each with its cron line."""
        active = (one.segment for one in self.applied.active)
        return {segment.id: segment.refresh for segment in active if segment.is_batch_only}

    @property
    def is_empty(self) -> bool:
        """Rules and plan were the same already."""
        return self.applied.is_empty and not self.is_new_plan


def publish(
    store: Store,
    settings: Settings,
    rules: Rules,
    *,
    author: str,
    reason: str = "",
    prune: bool = False,
    dry_run: bool = False,
) -> Publication:
    """Apply ``rules``, compile all active versions and aim the streaming job at the plan.

    Versions in batch only are active, but no part of that plan. All in one transaction: a broken
    rule, a test of the rules that does not hold, or a plan that cannot be built, leaves everything
    as it was. The notice on control.v1 comes after; the job finds the plan in Postgres without it.
    """
    _require_tests(rules)
    return carry_out(
        store,
        settings,
        partial(Edition.apply, rules=rules, author=author, reason=reason, prune=prune),
        author=author,
        dry_run=dry_run,
    )


def keep_drafts(
    store: Store, settings: Settings, rules: Rules, *, author: str, reason: str = ""
) -> Drafted:
    """Keep ``rules`` as drafts: checked, tested and compiled as by `publish`, and not active."""
    _require_tests(rules)
    job = job_parameters(settings)
    with store.publishing() as edition:
        drafted = edition.draft(rules, author=author, reason=reason, retention=job.retention_ms)
        whole = (SegmentVersion(segment, 1) for segment in drafted.segments)
        build_plan(streamed(whole), rules.catalog, MemoryRegistry(), job)
    return drafted


class Change(Protocol):
    """What is done within a publishing transaction, before the plan is compiled."""

    def __call__(self, edition: Edition, *, retention: int) -> Applied: ...


def carry_out(
    store: Store, settings: Settings, change: Change, *, author: str, dry_run: bool = False
) -> Publication:
    """Change which versions are active, compile them and aim the job at the plan; see `publish`.

    Segments that keep their text but not their meaning get a version too: readers then see all
    that a change means at one instant.
    """
    job = job_parameters(settings)
    with store.publishing(dry_run=dry_run) as edition:
        target = edition.target(JOB)
        before = Plan.from_json(target.text) if target else None
        applied = change(edition, retention=job.retention_ms)
        plan = _compiled(applied, edition, job)
        moved = _moved(before, plan)
        if moved:
            applied = edition.renumber(applied, moved, author=author)
            plan = _compiled(applied, edition, job)
        # The first version starts the job; a project without any has nothing to run.
        wanted = bool(plan.programs or plan.computed) or target is not None
        is_new = wanted and edition.aim(JOB, plan.to_json(), author=author)
        unfed = _unfed(applied, edition.every_stream())
    publication = Publication(
        applied=applied,
        plan=plan,
        before=before,
        change=diff(before, plan),
        is_new_plan=is_new,
        unfed=unfed,
    )
    return publication if dry_run or not is_new else _announced(publication, settings)


def _require_tests(rules: Rules) -> None:
    failed = failed_tests(rules.require())
    if failed:
        raise RuleError(failed)


def _compiled(applied: Applied, edition: Edition, job: JobParameters) -> Plan:
    return build_plan(
        streamed(applied.active), applied.catalog, edition.registry, job, edition.streams()
    )


def _unfed(applied: Applied, streams: Sequence[StoredStream]) -> tuple[str, ...]:
    """A sentence for each event type that active rules need and only idle streams would bring.

    Events in our own form come without a stream: what no stream speaks of is nobody's omission,
    and one that is retired was so on purpose.
    """
    known = [(one, carried(text)) for one in streams if (text := one.readable) is not None]
    if any(one.state == "active" and types is None for one, types in known):
        return ()  # it may bring anything
    brought = [(one, types) for one, types in known if types is not None]
    active = frozenset[str]().union(*(types for one, types in brought if one.state == "active"))
    users: dict[str, list[str]] = {}
    segments = [one.segment for one in applied.active]
    for segment, types in sorted(needed(segments, applied.catalog).items()):
        for type_ in types - active:
            users.setdefault(type_, []).append(segment)
    told = []
    for type_, those in sorted(users.items()):
        idle = [
            f"{one.id} is {one.state}"
            for one, types in brought
            if type_ in types and one.state != "retired"
        ]
        if idle:
            what = f"no active stream brings {type_!r} ({', '.join(idle)})"
            told.append(f"{what}, which {', '.join(those)} need{'s' * (len(those) == 1)}")
    return tuple(told)


def _moved(before: Plan | None, plan: Plan) -> set[str]:
    """The segments whose version stayed and means something else now."""
    change = diff(before, plan)
    return {change.names[old][0] for old, new in change.replaced.items() if old == new}


def job_parameters(settings: Settings) -> JobParameters:
    """How the streaming job should run, as the settings have it."""
    stream, retention = settings.stream, settings.retention
    return JobParameters(
        trigger_ms=stream.trigger_ms,
        partitions=stream.partitions,
        buckets=stream.buckets,
        driver_memory=stream.driver_memory,
        max_events_per_batch=stream.max_events_per_batch,
        due_limit=stream.due_limit,
        horizon_ms=retention.horizon_days * DAY,
        retention_ms=retention.events_days * DAY,
    )


def _announced(publication: Publication, settings: Settings) -> Publication:
    # Slow to import, and the supervisor, which shares this package, never speaks to Kafka.
    from headrace.kafka.notices import tell_stream

    try:
        notice = NewPlan(publication.plan.hash)
        tell_stream(settings.kafka_bootstrap, settings.namespace, notice)
    except OperatorError as error:
        late = f"the plan is active; the stream was not told and will see it later: {error}"
        return replace(publication, warning=late)
    return publication
