"""What the stream tells of its batches: heartbeats that are true, and a row for each backfill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.jobs.backfills import BackfillRow
from headrace.jobs.removals import Receipts
from headrace.jobs.reports import Reporter
from headrace.spark.course import Report
from headrace.spark.header import Header
from headrace.spark.publish import Counts
from headrace.store import Progress, Store

TEXTS = ("{}", '{"is": "new"}', '{"is": "newer"}')
OLD, NEW, NEWER = (sha256(text.encode()).hexdigest() for text in TEXTS)
PLANS: Any = {
    OLD: SimpleNamespace(streams=(), versions={"kept": 1, "changed": 1, "gone": 4}),
    NEW: SimpleNamespace(streams=(), versions={"kept": 1, "changed": 2, "added": 1}),
    NEWER: SimpleNamespace(streams=(), versions={"kept": 1, "changed": 3}),
}
ENDS = {"events.v1": {0: 40, 1: 50}, "control.v1": {0: 7}}


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    with opened.publishing() as edition:
        for text in TEXTS:
            edition.aim("stream", text, author="test")
    yield opened
    opened.close()


@dataclass
class Stage:
    """A life of the stream, told batch by batch."""

    store: Store
    most: int = 1_000
    beats: list[int] = field(default_factory=list)
    reporter: Reporter = field(init=False)

    def __post_init__(self) -> None:
        self.reporter = Reporter(
            self.store,
            lambda _, name: self.beats.append(int(name)),  # type: ignore[arg-type]
            BackfillRow(self.store, PLANS.__getitem__),
            Receipts(self.store, "key"),
            self.most,
            PLANS.__getitem__,
        )

    def batch(
        self,
        n: int,
        plan: str = OLD,
        pending: str | None = None,
        built: float | None = None,
        events: int = 0,
        is_behind: bool = False,
    ) -> None:
        header = Header(n=n, now=1_000 * n, plan=plan, ends=ENDS)
        self.reporter(
            Report(header, Counts(), events, {}, pending, built=built, is_behind=is_behind)
        )

    def row(self) -> Progress:
        return self.store.progress("stream", kind="backfill", limit=1)[0]

    def states(self) -> list[str]:
        return [row.state for row in reversed(self.store.progress("stream", kind="backfill"))]


def test_a_backfill_is_a_row_from_its_first_batch_to_the_one_that_takes_over(
    store: Store,
) -> None:
    stage = Stage(store)
    stage.batch(1)
    assert stage.states() == []
    stage.batch(2, pending=NEW, built=0.0)
    assert (stage.row().state, stage.row().plan_hash) == ("running", NEW)
    assert stage.row().details["segments"] == {"changed": 2, "added": 1}
    told = []
    for n, built in ((3, 0.126), (4, 0.634), (5, 1.0)):
        stage.batch(n, pending=NEW, built=built)
        told.append(stage.row().details["percent"])
    assert told == [12, 63, 99], "all is done when the plan runs, and not before"
    assert stage.row().is_alive
    stage.batch(6, plan=NEW)
    assert (stage.row().state, stage.row().details["percent"]) == ("done", 100)
    stage.batch(7, plan=NEW)
    assert stage.states() == ["done"]


def test_a_plan_that_another_overtakes_is_built_no_further(store: Store) -> None:
    stage = Stage(store)
    stage.batch(1, pending=NEW, built=0.5)
    stage.batch(2, pending=NEWER, built=0.0)
    assert stage.states() == ["stopped", "running"]
    stage.batch(3)
    assert stage.states() == ["stopped", "stopped"], "the plan that runs is wanted again"


@pytest.mark.parametrize(
    ("plan", "pending", "states"),
    [
        pytest.param(OLD, NEW, ["lost", "running"], id="it begins again"),
        pytest.param(NEW, None, ["done"], id="the batch that took over had been told of nowhere"),
        pytest.param(OLD, None, ["lost"], id="it is wanted no more"),
    ],
)
def test_a_row_that_a_crash_left_is_closed_by_the_next_life(
    store: Store, plan: str, pending: str | None, states: list[str]
) -> None:
    Stage(store).batch(1, pending=NEW, built=0.5)
    stage = Stage(store)
    stage.batch(2, plan=plan, pending=pending)
    assert stage.states() == states


def test_a_backfill_ends_with_the_launch_it_ran_in(store: Store) -> None:
    launch = store.begin_progress("stream", "launch")
    stage = Stage(store)
    stage.batch(1, pending=NEW, built=0.5)
    store.end_progress(launch, "failing", exit_code=1)
    assert (stage.row().state, stage.row().details["percent"]) == ("failed", 50)
    first, second = (store.begin_progress("stream", "launch") for _ in range(2))
    again = Stage(store)
    again.batch(2, pending=NEW, built=0.1)
    store.end_progress(first, "lost")
    assert again.row().is_alive, "the other launch runs on"
    recompute = store.begin_progress("recompute", "recompute")
    store.end_progress(second, "stopped", exit_code=0)
    assert again.row().state == "stopped"
    assert [row.id for row in store.under_way()] == [recompute]


@pytest.mark.parametrize(
    ("events", "is_behind", "beats"),
    [
        pytest.param(900, False, True, id="all there was"),
        pytest.param(1_000, False, False, id="as much as a batch takes"),
        pytest.param(999, False, False, id="the limit, rounded down for each of two partitions"),
        pytest.param(0, True, False, id="users due were left for the next batch"),
    ],
)
def test_only_a_batch_that_left_nothing_behind_makes_answers_fresh(
    store: Store, events: int, is_behind: bool, beats: bool
) -> None:
    stage = Stage(store)
    stage.batch(1, events=events, is_behind=is_behind)
    assert stage.beats == [1] * beats
    stage.batch(2, events=1_000)
    assert stage.beats == [1] * beats
    stage.batch(3)
    assert stage.beats == [1] * beats + [3]
