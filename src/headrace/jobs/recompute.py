"""The batch evaluation over stored events, held against the stream's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from headrace.clock import format_instant
from headrace.errors import OperatorError
from headrace.jobs.instants import asked_instant
from headrace.kafka.notices import tell_stream
from headrace.messages.control import Corrections
from headrace.plan.build import SegmentVersion, batch_plan
from headrace.plan.model import Plan
from headrace.settings import Settings
from headrace.settings.keys import tombstone_key
from headrace.spark.corrections import ask
from headrace.spark.evaluations import keep_members
from headrace.spark.recompute import Audit, Memberships, Parity
from headrace.spark.session import open_session
from headrace.spark.start import newest_batch
from headrace.spark.tables import Lake
from headrace.spark.tombstones import Tombstones
from headrace.store import Store


def run(
    settings: Settings,
    *,
    at: str | None,
    segments: Sequence[str],
    output: str | None,
    correct: bool = True,
    keep: bool = False,
) -> int:
    """Evaluate the active segments at an instant; without one, hold batch against the stream.

    With ``keep`` the members stand in the table ``batch_members`` afterwards.
    The latter is done as of the newest batch, where both must say the same: 1 when they do not.
    The stream is then asked to ``correct`` the states that are not as the facts make them.
    """
    asked = None if at is None else asked_instant("--at", at)
    spark = open_session("headrace-recompute")
    lake = Lake(settings.tables_root)
    newest = newest_batch(spark, lake)
    tombstones = Tombstones.needed(spark, lake, tombstone_key(settings), n=newest.header.n)
    active = _Active(newest.plan, *_beside(settings, newest.plan)).only(segments)
    sizes: Mapping[str, int] = {}
    if asked is not None or output is not None or keep:
        instant = newest.header.now if asked is None else asked
        members = Memberships(
            spark,
            lake,
            newest.header,
            instant,
            (active.stream, active.batch),
            active.statements,
            tombstones,
        )
        if output is not None:
            members.write(output)
        if keep:
            keep_members(
                members.rows, lake, segments=active.segments, at=instant, n=newest.header.n
            )
        sizes = members.sizes()
        if asked is not None:
            _report_sizes(sizes)
            print(f"{sum(sizes.values())} memberships at {format_instant(asked)}")
            return 0
    audit = Audit(spark, lake, newest, tombstones)
    parity = audit.parity(segments)
    _report_sizes({**parity.sizes, **sizes})
    _report_parity(parity, active)
    if parity.states and correct:
        _ask_for_corrections(settings, audit)
    return 1 if parity.differences or parity.states else 0


@dataclass(frozen=True, slots=True)
class _Active:
    """What the stream evaluates, and what is in batch only: a plan, and statements by segment."""

    stream: Plan
    batch: Plan
    statements: Mapping[str, str]

    def only(self, segments: Sequence[str]) -> _Active:
        """These segments alone, if any are named."""
        if not segments:
            return self
        unknown = set(segments) - {program.segment for program in self.stream.programs}
        unknown -= set(self.batch_only)
        if unknown:
            raise OperatorError(f"not in the active plan: {', '.join(sorted(unknown))}")
        return _Active(
            _only(self.stream, segments),
            _only(self.batch, segments),
            {name: text for name, text in self.statements.items() if name in segments},
        )

    @property
    def segments(self) -> list[str]:
        """All of them."""
        return sorted({*(program.segment for program in self.stream.programs), *self.batch_only})

    @property
    def batch_only(self) -> list[str]:
        """The segments that the stream knows nothing of."""
        return sorted({program.segment for program in self.batch.programs} | self.statements.keys())


def _beside(settings: Settings, plan: Plan) -> tuple[Plan, dict[str, str]]:
    """The active segments that the stream leaves out, under the same job as ``plan``.

    Those in SQL, which are part of no plan, come by id with their text.
    """
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        stored, catalog = store.active_versions(), store.catalog()
    finally:
        store.close()
    versions = [SegmentVersion(one.segment, one.version) for one in stored]
    statements = {one.segment.id: one.segment.sql for one in versions if one.segment.sql}
    return batch_plan(versions, catalog or plan.catalog, plan.job), statements


def _only(plan: Plan, segments: Sequence[str]) -> Plan:
    return replace(plan, programs=tuple(p for p in plan.programs if p.segment in segments))


def _report_sizes(sizes: Mapping[str, int]) -> None:
    for segment, size in sizes.items():
        print(f"{segment}\t{size}")


def _ask_for_corrections(settings: Settings, audit: Audit) -> None:
    header = audit.newest.header
    count = ask(audit.wrong_users(), audit.lake, header)
    tell_stream(settings.kafka_bootstrap, settings.namespace, Corrections(header.n))
    print(f"the stream was asked to tell {count} users anew")


def _report_parity(parity: Parity, active: _Active) -> None:
    for side, rows in (("stream", parity.only_stream), ("batch", parity.only_batch)):
        for segment, user in rows:
            print(f"only in {side}: {segment} {user}")
    for segment in active.batch_only:
        print(f"not compared: {segment}, batch only (cron)")
    print(
        f"{parity.differences} differences in {parity.compared} memberships,"
        f" {parity.states} users whose state is not as their facts make it"
    )
