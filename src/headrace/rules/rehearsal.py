"""Runs the examples beside a rule through the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from headrace.clock import format_instant
from headrace.errors import Place
from headrace.rules.catalog import Catalog
from headrace.rules.model import Segment
from headrace.rules.reference import members_of_facts
from headrace.rules.reference_facts import Refused
from headrace.rules.source import Places
from headrace.rules.trials import TrialEvent


@dataclass(frozen=True, slots=True)
class Failure:
    """An expectation that a rule does not meet, or an example that says nothing."""

    segment: str
    trial: str
    message: str
    place: Place

    def __str__(self) -> str:
        return f"{self.place}: {self.segment}: {self.trial}: {self.message}"


def rehearse(
    segment: Segment, catalog: Catalog, places: Places, *, others: Sequence[Segment] = ()
) -> tuple[Failure, ...]:
    """Every expectation of ``segment``'s tests that does not hold; it may refer to ``others``."""
    segments = [segment, *(other for other in others if other.id != segment.id)]
    failures = []
    for number, trial in enumerate(segment.tests):
        facts = [_fact(event, index) for index, event in enumerate(trial.events)]
        for index, expected in enumerate(trial.expect):
            place = places.of(("tests", number, index))
            try:
                found = members_of_facts(facts, segments, catalog, expected.at)
            except Refused as refused:
                message = f"an event would be rejected: {refused}"
                failures.append(Failure(segment.id, trial.name, message, place))
                break
            if ((segment.id, expected.user) in found) is not expected.member:
                verb = "is not" if expected.member else "is"
                message = f"{expected.user} {verb} a member at {format_instant(expected.at)}"
                failures.append(Failure(segment.id, trial.name, message, place))
    return tuple(failures)


def _fact(event: TrialEvent, index: int) -> dict[str, Any]:
    fields = {name: _json(value) for name, value in event.fields}
    if event.type == "alias":
        fields = {"from": fields["from"], "to": event.user}
    return {
        "user_id": event.user,
        # Events of an example are distinct unless it says otherwise.
        "event_id": event.id or f"example-{index}",
        "type": event.type,
        "ts": event.ts,
        "properties": fields,
    }


def _json(value: Any) -> Any:
    """A literal as JSON would bring it: whole numbers as integers, lists as lists."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Decimal) and not isinstance(value, bool) and value % 1 == 0:
        return int(value)
    return value
