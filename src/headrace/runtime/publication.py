"""From a folder of rules to the plan the streaming job should run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.clock import DAY
from headrace.errors import OperatorError, RuleError
from headrace.messages.control import NewPlan, encode_control
from headrace.messages.headers import TYPE_CONTROL, cloud_event
from headrace.messages.topics import CONTROL, in_namespace
from headrace.plan.build import build_plan, streamed
from headrace.plan.diff import PlanDiff, diff
from headrace.plan.model import JobParameters, Plan
from headrace.rules.rehearsal import failed_tests
from headrace.rules.source import Rules
from headrace.settings import Settings
from headrace.store import Applied, Store

JOB = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What publishing did, or would do."""

    applied: Applied
    plan: Plan
    before: Plan | None
    change: PlanDiff
    is_new_plan: bool
    warning: str = ""

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
    failed = failed_tests(rules.require())
    if failed:
        raise RuleError(failed)
    job = job_parameters(settings)
    with store.publishing(dry_run=dry_run) as edition:
        target = edition.target(JOB)
        applied = edition.apply(
            rules, author=author, reason=reason, prune=prune, retention=job.retention_ms
        )
        kept = streamed(applied.active)
        plan = build_plan(kept, applied.catalog, edition.registry, job)
        # The first version starts the job; a project without any has nothing to run.
        wanted = bool(kept) or target is not None
        is_new = wanted and edition.aim(JOB, plan.to_json(), author=author)
    before = Plan.from_json(target.text) if target else None
    publication = Publication(
        applied=applied,
        plan=plan,
        before=before,
        change=diff(before, plan),
        is_new_plan=is_new,
    )
    return publication if dry_run or not is_new else _announced(publication, settings)


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
    from headrace.kafka.kafka_python import KafkaPythonProducer

    notice = NewPlan(publication.plan.hash)
    try:
        with KafkaPythonProducer(settings.kafka_bootstrap) as producer:
            producer.send(
                in_namespace(settings.namespace, CONTROL),
                key=b"plan",
                value=encode_control(notice),
                headers=cloud_event(TYPE_CONTROL, notice.hash),
            )
            producer.flush()
    except OperatorError as error:
        late = f"the plan is active; the stream was not told and will see it later: {error}"
        return replace(publication, warning=late)
    return publication
