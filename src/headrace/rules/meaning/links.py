"""What the value of one quantity says about another's: fewer events, smaller counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from headrace.rules.meaning.numbers import FAR, MISSING, Numbers
from headrace.rules.meaning.quantities import UNITS, Quantity, State
from headrace.rules.meaning.windows import is_inside
from headrace.rules.model import COUNTING, Condition, Function, Measure, Sequence, Trait

Implies: TypeAlias = Callable[[str, Condition | None, Condition | None], bool]
"""Does every event of a type that passes one filter pass the other?"""

_VALUED: Final[tuple[Function, ...]] = ("min", "max", "avg", "first", "last")


@dataclass(frozen=True, slots=True)
class Link:
    """``some``: where ``narrow`` has a value, or counts anything, so does ``wide``.

    ``at most`` and ``at least``: and the value of ``narrow`` is at most, or at least, the other.
    """

    kind: Literal["some", "at most", "at least"]
    narrow: Quantity
    wide: Quantity
    nothing: State = MISSING
    something: State = MISSING
    """The value of ``narrow`` when there is none, and those of ``wide`` when there are some."""

    def applied(self, narrow: State, wide: State) -> tuple[State, State]:
        """What is left of both sets of values."""
        if self.kind == "some":
            if narrow.is_apart(self.nothing):  # type: ignore[arg-type]  # one quantity, one line
                wide = _met(wide, self.something)
            if wide.is_apart(self.something):  # type: ignore[arg-type]
                narrow = _met(narrow, self.nothing)
            return narrow, wide
        assert isinstance(narrow, Numbers) and isinstance(wide, Numbers)
        if not narrow.ranges or not wide.ranges:
            return narrow, wide  # it is for ``some`` to say who has a value
        mine, others = UNITS.get(self.narrow.line, 1), UNITS.get(self.wide.line, 1)
        is_sure = not narrow.missing
        if self.kind == "at most":
            narrow = narrow.at_most(_floor(wide.high, others, mine))
            if is_sure and narrow.ranges:
                wide = wide.at_least(-_floor(-narrow.low, mine, others))
        else:
            narrow = narrow.at_least(-_floor(-wide.low, others, mine))
            if is_sure and narrow.ranges:
                wide = wide.at_most(_floor(narrow.high, mine, others))
        return narrow, wide


def links(narrow: Quantity, wide: Quantity, implies: Implies) -> Iterator[Link]:
    """Everything that the value of ``narrow`` always says about that of ``wide``."""
    match narrow.of, wide.of:
        case (Trait(name), Trait(other)) if name == other:
            yield _some(narrow, wide)  # one trait, as an instant and as an age
        case (Measure() as few, Measure() as many):
            if _is_inside(few, many, implies):
                yield from _measures(narrow, few, wide, many)
        case (Sequence(steps, window), Measure("count" | "days_active", event) as many):
            last = max(place for place, step in enumerate(steps) if not step.forbidden)
            ended = Measure("count", steps[last].event, None, steps[last].where, window)
            happened = [
                Measure("count", step.event, None, step.where)
                for step in steps
                if not step.forbidden and step.event == event
            ]
            if any(_is_inside(one, many, implies) for one in (ended, *happened)):
                yield _some(narrow, wide)
        case (Sequence(steps, window), Sequence(other_steps, other_window)):
            if steps == other_steps and is_inside(window, other_window):
                yield _some(narrow, wide)


def _is_inside(few: Measure, many: Measure, implies: Implies) -> bool:
    return (
        few.event == many.event
        and is_inside(few.window, many.window)
        and (many.where is None or implies(few.event, few.where, many.where))
    )


def _measures(narrow: Quantity, few: Measure, wide: Quantity, many: Measure) -> Iterator[Link]:
    """``few`` looks at some of the events of ``many``."""
    same_field = few.field == many.field
    if many.function in COUNTING or (same_field and many.function != "sum"):
        yield _some(narrow, wide)
    match few.function, many.function:
        case ("count" | "days_active" | "distinct", "count"):
            yield Link("at most", narrow, wide)
        case ("days_active", "days_active") if few.zone == many.zone:
            yield Link("at most", narrow, wide)
        case ("distinct", "distinct") if same_field:
            yield Link("at most", narrow, wide)
        case (one, "min" | "max" as extreme) if one in _VALUED and same_field:
            if narrow.line == wide.line or (narrow.line in UNITS and wide.line in UNITS):
                yield Link("at least" if extreme == "min" else "at most", narrow, wide)


def _some(narrow: Quantity, wide: Quantity) -> Link:
    return Link("some", narrow, wide, narrow.none, wide.some)


def _floor(end: int, unit: int, other: int) -> int:
    """``end`` in the other unit; no end stays none."""
    return end if abs(end) >= FAR else end * unit // other


def _met(one: State, other: State) -> State:
    if isinstance(one, Numbers):
        assert isinstance(other, Numbers)
        return one.meet(other)
    assert not isinstance(other, Numbers)
    return one.meet(other)
