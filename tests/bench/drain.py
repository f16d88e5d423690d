"""Draining the preloaded topic under K rules: how fast, at what cost, and whether it is right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from processes import Cost
from published import Verdict, judge, read_accepted, read_published
from stage import MEMBERSHIPS, Stage
from tables import live_bytes
from truth import Boundary, transitions
from workload import Events, Rules

from headrace.messages.topics import EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """One run's results."""

    label: str
    rules: int
    events: int
    users: int
    seconds: float
    warm_rate: float  # of all batches but the first, which waits for code to be compiled
    batches: int
    cost: Cost
    read_bytes: int
    published_bytes: int
    messages: int
    repeats: int
    verdict: Verdict
    state_bytes: int
    table_bytes: int
    steps: dict[str, float]
    sent_on: int | None = None
    """Accepted events published, where that was asked for."""

    @property
    def rate(self) -> float:
        """Events a second, from the first batch's start to the last published message."""
        return self.events / self.seconds


def drain(
    stage: Stage, label: str, events: Events, rules: Rules, size: int, *, sends_on: bool = False
) -> Drained:
    """Run the streaming job against the topic from nothing; it still runs on return.

    With ``sends_on`` it also publishes every accepted event.
    """
    stage.reset()
    stage.publish(rules, sends_on=sends_on)
    wanted = stage.ends()
    with stage.meter() as meter:
        stage.start()
        began = stage.first_batch_at()
        meter.mark()
        stage.await_drained(wanted)
        cost = meter.cost()
    published = read_published(stage.bootstrap, MEMBERSHIPS, len(rules))
    sent_on = read_accepted(stage.bootstrap) if sends_on else None
    last_at = max(published.last_at, sent_on.last_at if sent_on else 0)
    # More batches may have run since; each must have published just what it should.
    batches = stage.batches()
    boundaries = [Boundary(batch.n, batch.now, batch.ends.get(EVENTS, {})) for batch in batches]
    known = {boundary.n for boundary in boundaries}
    moves = [move for move in published.moves if move.n in known]
    busy = [batch for batch in batches if batch.events]
    warm = sum(batch.events for batch in busy[1:])
    tables = Path(stage.settings.tables_root)
    profiles = live_bytes(tables / "profiles")
    return Drained(
        label=label,
        rules=len(rules),
        events=len(events),
        users=events.users,
        seconds=(last_at - began) / 1000,
        warm_rate=warm * 1000 / (last_at - busy[1].now) if warm else 0.0,
        batches=len(busy),
        cost=cost,
        read_bytes=size,
        published_bytes=published.size,
        messages=published.messages,
        repeats=published.repeats,
        verdict=judge(moves, transitions(events, rules, boundaries)),
        state_bytes=profiles,
        table_bytes=live_bytes(tables / "events"),
        steps={
            step: round(sum(batch.seconds.get(step, 0.0) for batch in busy), 1)
            for step in (busy[-1].seconds if busy else {})
        },
        sent_on=sent_on.events if sent_on else None,
    )
