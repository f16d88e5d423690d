"""Runs examples of rules through the oracle: what does not hold, why, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import orjson

from headrace.clock import format_instant
from headrace.errors import Place, Problem
from headrace.rules.catalog import LIST, Catalog
from headrace.rules.model import Segment
from headrace.rules.reference import Explanation, explain_user, reference_members
from headrace.rules.references import segment_references
from headrace.rules.source import Places, Rules
from headrace.rules.trials import Expectation, Trial, TrialEvent
from headrace.rules.turns import next_turn


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an expectation is not met: the rule's leaves for that user, and what time will do.

    ``explanation`` is None for a user whom nothing is known of; ``turns`` is the next instant at
    which time alone changes the membership, None when it never does.
    """

    message: str
    explanation: Explanation | None = None
    turns: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One expectation, held against the rule; ``failure`` when it is not met."""

    segment: str
    trial: str
    expected: Expectation
    place: Place
    failure: Failure | None = None

    def __str__(self) -> str:
        found = self.failure.message if self.failure else "holds"
        return f"{self.place}: {self.segment}: {self.trial}: {found}"


def rehearse(rules: Rules, select: str = "*") -> tuple[Outcome, ...]:
    """Every expectation of the tests of ``rules``, those beside segments first.

    ``select`` is a pattern as of file names, for names of segments, of tests, or of files of
    tests. The rules have no errors.
    """
    stage = _Stage(rules.catalog, {segment.id: segment for segment in rules.segments}, select)
    outcomes: list[Outcome] = []
    for segment in rules.segments:
        places = rules.places.get(segment.id, Places(segment.id))
        for number, trial in enumerate(segment.tests):
            outcomes += stage.play(trial, number, places, segment.id, segment.id)
    for test in rules.tests:
        for number, trial in enumerate(test.trials):
            outcomes += stage.play(trial, number, test.places, test.name)
    return tuple(outcomes)


def failed_tests(rules: Rules) -> tuple[Problem, ...]:
    """The expectations that do not hold, as errors: rules that break their own are not active."""
    return tuple(
        Problem("HR320", f"{one.segment}: {one.trial}: {one.failure.message}", one.place)
        for one in rehearse(rules)
        if one.failure is not None
    )


@dataclass(slots=True)
class _Stage:
    """Where histories are played: the catalog and the segments, each with what it refers to."""

    catalog: Catalog
    segments: Mapping[str, Segment]
    select: str = "*"
    _casts: dict[str, list[Segment]] = field(default_factory=dict)

    def play(
        self, trial: Trial, number: int, places: Places, group: str, segment: str = ""
    ) -> Iterator[Outcome]:
        """Each selected expectation of ``trial``, those that name no segment on ``segment``."""
        history = _history(trial)
        lines = [line for _, line in history]
        for index, expected in enumerate(trial.expect):
            name = expected.segment or segment
            if not any(fnmatchcase(one, self.select) for one in (name, trial.name, group)):
                continue
            place = places.of(("tests", number, index))
            refused: list[str] = []
            found = reference_members(
                lines,
                self._cast(name),
                self.catalog,
                expected.at,
                on_bad_line=lambda _, reason: refused.append(reason),  # noqa: B023 - used at once
            )
            failure = None
            if refused:
                failure = Failure(f"an event would be rejected: {refused[0]}")
            elif ((name, expected.user) in found) is not expected.member:
                past = [line for ts, line in history if ts <= expected.at]
                failure = self._failure(name, past, expected)
            yield Outcome(name, trial.name, expected, place, failure)
            if refused:
                return

    def _failure(self, name: str, past: list[bytes], expected: Expectation) -> Failure:
        cast, at, user = self._cast(name), expected.at, expected.user
        verb = "is not" if expected.member else "is"
        message = f"{user} {verb} a member at {format_instant(at)}"
        told = explain_user(past, cast, self.catalog, at, user)
        if told is None:
            return Failure(f"{message}: nothing is known of {user}")
        explanation = next(one for one in told if one.segment == name)
        return Failure(message, explanation, next_turn(past, cast, self.catalog, at, (name, user)))

    def _cast(self, name: str) -> list[Segment]:
        """The segment of that name and all that it refers to."""
        if name not in self._casts:
            found = {name: self.segments[name]}
            waiting = [name]
            while waiting:
                for other, _ in segment_references(found[waiting.pop()]):
                    if other not in found:
                        found[other] = self.segments[other]
                        waiting.append(other)
            self._casts[name] = list(found.values())
        return self._casts[name]


def _history(trial: Trial) -> list[tuple[int, bytes]]:
    """The facts of ``trial`` as lines, each with its instant; lists are from the beginning."""
    listed = [
        TrialEvent(user=user, ts=0, type="traits", fields=((LIST + name, True),))
        for name, users in trial.lists
        for user in users
    ]
    events = (*listed, *trial.events)
    return [(event.ts, _line(event, index)) for index, event in enumerate(events)]


def _line(event: TrialEvent, index: int) -> bytes:
    fields = dict(event.fields)
    # Events of an example are distinct unless it says otherwise.
    event_id = event.id or f"example-{index}"
    line: dict[str, Any] = {"type": event.type, "ts": event.ts, "event_id": event_id}
    if event.type == "alias":
        line |= {"from": fields["from"], "to": event.user}
    else:
        line |= {"user_id": event.user}
        line["traits" if event.type == "traits" else "properties"] = fields
    return orjson.dumps(line, default=_number)


def _number(value: Any) -> Any:
    """A number as JSON would bring it, to the digit: whole ones as integers."""
    if not isinstance(value, Decimal):
        raise TypeError(value)
    return orjson.Fragment(str(int(value)) if value % 1 == 0 else format(value, "f"))
