"""The oracle's measures and sequences: over a person's events, as the words say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias, assert_never

from headrace.rules.catalog import Catalog, FieldType
from headrace.rules.model import (
    MOST_DISTINCT,
    MOST_STEPS_KEPT,
    Condition,
    Ever,
    Measure,
    Period,
    Span,
    Step,
    Window,
    Within,
)
from headrace.rules.model import Sequence as Steps
from headrace.rules.reference_calendar import local_day, period_start
from headrace.rules.reference_facts import Fact, canonical
from headrace.rules.reference_people import Person

Passes: TypeAlias = Callable[[Condition | None, Fact], bool]
"""Does one event pass a filter?"""


def measured(
    measure: Measure, person: Person, catalog: Catalog, at: int, passes: Passes
) -> tuple[Any, FieldType]:
    """The value, None when missing, and the type it is compared as."""
    events = [
        fact
        for fact in person.events.get(measure.event, ())
        if counts(fact.ts, measure.window, at) and passes(measure.where, fact)
    ]
    if measure.function == "count":
        return len(events), "integer"
    if measure.function == "days_active":
        return len({local_day(measure.zone, fact.ts) for fact in events}), "integer"
    assert measure.field is not None
    kind = catalog.events[measure.event].properties[measure.field].type
    events = [fact for fact in events if fact.values.get(measure.field) is not None]
    values = [fact.values[measure.field] for fact in events]
    match measure.function:
        case "sum":
            return sum(values), kind
        case "avg":
            # Constants against an average are rounded to four places, whatever the field is.
            scale = 1 if kind == "decimal" else 10_000
            return (Fraction(sum(values) * scale, len(values)) if values else None), "decimal"
        case "min":
            return min(values, default=None), kind
        case "max":
            return max(values, default=None), kind
        case "distinct":
            return min(len(set(values)), MOST_DISTINCT), "integer"
        case "first" | "last":
            pick = min if measure.function == "first" else max
            found = pick(events, key=lambda fact: _rank(fact, measure.field), default=None)
            return (found.values[measure.field] if found else None), kind
        case _:
            assert_never(measure.function)


def _rank(fact: Fact, field: str | None) -> tuple[int, str, bytes]:
    # Joined ids may have used one event id at one instant: then the value decides.
    assert field is not None
    return fact.ts, fact.event_id or "", canonical(fact.sent[field])


def counts(ts: int, window: Window, at: int) -> bool:
    """e <= t < floor(e, h) + h + W."""
    match window:
        case Ever():
            return ts <= at
        case Within(length, hop):
            return ts <= at < ts // hop * hop + hop + length
        case Span(start, end):
            return start <= ts <= at and (end is None or ts < end)
        case Period(name, zone):
            return period_start(name, zone, at) <= ts <= at
        case _:
            assert_never(window)


def happened(sequence: Steps, person: Person, at: int, passes: Passes) -> bool:
    """Did the steps happen in their order, the last of them in the window?"""

    def matches(step: Step, fact: Fact) -> bool:
        return fact.type == step.event and passes(step.where, fact)

    events = [
        fact
        for of in {step.event for step in sequence.steps}
        for fact in person.events.get(of, ())
        if fact.ts <= at and any(matches(step, fact) for step in sequence.steps)
    ]
    events.sort(key=lambda fact: (fact.ts, fact.event_id or ""))
    newest = events[-MOST_STEPS_KEPT:]
    last = len(sequence.steps) - 1
    while sequence.steps[last].forbidden:
        last -= 1

    def ends(number: int, fact: Fact) -> bool:
        """Can ``fact`` be the event of step ``number``, with all steps before it?"""
        if not matches(sequence.steps[number], fact):
            return False
        before = number - 1
        while before >= 0 and sequence.steps[before].forbidden:
            before -= 1
        if before < 0:
            return True
        gap = sequence.steps[number].within
        return any(
            (gap is None or fact.ts - other.ts <= gap)
            and _none(sequence.steps[before + 1 : number], other.ts, fact.ts)
            and ends(before, other)
            for other in newest
            if other.ts < fact.ts
        )

    def _none(forbidden: Sequence[Step], start: int, end: int) -> bool:
        between = [fact for fact in newest if start < fact.ts < end]
        return not any(matches(step, fact) for step in forbidden for fact in between)

    def silent_since(fact: Fact) -> bool:
        return all(
            at >= fact.ts + (step.within or 0)
            and _none([step], fact.ts, fact.ts + (step.within or 0) + 1)
            for step in sequence.steps[last + 1 :]
        )

    return any(
        counts(fact.ts, sequence.window, at) and silent_since(fact) and ends(last, fact)
        for fact in newest
    )


def shown(value: Any, kind: FieldType) -> Any:
    """A value in its own unit: decimals are kept in ten-thousandths."""
    if kind != "decimal" or value is None:
        return value
    exact = Fraction(value)
    return Decimal(exact.numerator) / exact.denominator / 10_000
