"""What a segment means, free of its spelling.

Literals stay as written (text, exact numbers, booleans); the catalog says how a comparison
reads them, so that one model serves every type and both spellings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from headrace.clock import DAY, HOUR, MINUTE, SECOND
from headrace.rules.trials import Trial

Function = Literal["count", "sum", "avg", "min", "max", "distinct", "first", "last", "days_active"]
COUNTING: Final = ("count", "days_active")
"""Functions of no field: they count events, or the days that have one."""

MOST_DISTINCT: Final = 10_000
"""Where a count of distinct values saturates."""

MOST_STEPS_KEPT: Final = 256
"""How many events a sequence looks at: the user's newest that match any of its steps."""

CONTINUOUS: Final = "continuous"
"""How a segment is kept unless it says a cron line."""

Operator = Literal[
    "eq", "ne", "gt", "gte", "lt", "lte", "between", "in", "not_in",
    "contains", "not_contains", "contains_any", "contains_all",
    "starts_with", "ends_with", "matches", "exists", "before", "after",
]  # fmt: skip

HOPS = (MINUTE, 5 * MINUTE, HOUR, DAY)


def default_hop(length: int) -> int:
    """The largest standard hop of at most a hundredth of ``length`` ms, never under a minute."""
    return max((hop for hop in HOPS if hop * 100 <= length), default=MINUTE)


@dataclass(frozen=True, slots=True)
class Within:
    """The last ``length`` ms; its tail moves in steps of ``hop`` ms."""

    length: int
    hop: int


@dataclass(frozen=True, slots=True)
class Span:
    """From the instant ``start`` on and, if there is an ``end``, before it."""

    start: int
    end: int | None = None


PeriodName = Literal["today", "this_week", "this_month", "this_year"]


@dataclass(frozen=True, slots=True)
class Period:
    """From the start of the current day, week (Monday), month or year in ``zone`` on."""

    name: PeriodName
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Ever:
    """Everything a user ever did."""


Window: TypeAlias = Within | Span | Period | Ever


@dataclass(frozen=True, slots=True)
class Ago:
    """An instant ``length`` ms before now (negative: after now). Written ``-3 days``."""

    length: int


Scalar: TypeAlias = str | Decimal | bool | Ago
Value: TypeAlias = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Trait:
    """A profile attribute; the latest ``ts`` wins."""

    name: str


@dataclass(frozen=True, slots=True)
class Property:
    """A field of the event a filter looks at."""

    name: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One value per user: ``function`` of ``field`` over filtered ``event`` in ``window``.

    ``zone`` says whose days ``days_active`` counts; elsewhere it stays UTC.
    """

    function: Function
    event: str
    field: str | None = None
    where: Condition | None = None
    window: Window = Ever()
    zone: str = "UTC"


Subject: TypeAlias = Measure | Trait | Property


@dataclass(frozen=True, slots=True)
class Compare:
    """A subject held against a constant. Missing subjects: see design, two-valued logic."""

    subject: Subject
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when every part is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when at least one part is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True when the part is false."""

    part: Condition


@dataclass(frozen=True, slots=True)
class InSegment:
    """Member of another segment, at the same instant."""

    segment: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A stable part of all users: ``xxh64(salt + ":" + user) mod 10,000 < percent * 100``."""

    percent: Decimal
    salt: str = ""

    @property
    def below(self) -> int:
        """How many of the 10,000 numbers are in."""
        return int(self.percent * 100)


@dataclass(frozen=True, slots=True)
class InList:
    """On an uploaded list."""

    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """An event that must happen or, ``forbidden``, must not, at its place in a sequence.

    ``within`` ms is the largest gap to the step before; of a last step that is forbidden, how
    long it must not happen.
    """

    event: str
    where: Condition | None = None
    within: int | None = None
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """The steps happened in their order; the last one that is not forbidden lies in ``window``."""

    steps: tuple[Step, ...]
    window: Window = Ever()


Leaf: TypeAlias = Compare | InSegment | InList | Sample | Sequence
Condition: TypeAlias = Leaf | AllOf | AnyOf | Not


def leaves(condition: Condition) -> Iterator[Leaf]:
    """What logic is made of: the parts of ``condition`` that are no logic themselves."""
    match condition:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)
        case Not(part):
            yield from leaves(part)
        case _:
            yield condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """Hysteresis: who is in stays for ``min_dwell`` ms, who left stays out for ``cooldown`` ms.

    Members leave when ``exit_when`` holds; without one, when the rule does not.
    """

    exit_when: Condition | None = None
    min_dwell: int = 0
    cooldown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A named condition over what users did and are.

    Or ``sql``: a statement that Spark alone evaluates, in batch. Its ``condition`` says nothing.
    """

    id: str
    condition: Condition
    name: str = ""
    owner: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    timezone: str = "UTC"
    refresh: str = CONTINUOUS
    stay: Stay | None = None
    sql: str = ""
    tests: tuple[Trial, ...] = ()

    @property
    def is_batch_only(self) -> bool:
        """Is it recomputed by a cron line, and left out of the stream?"""
        return self.refresh != CONTINUOUS


def conditions_of(segment: Segment) -> tuple[Condition, ...]:
    """Who is in and, where the segment says so, who leaves."""
    leaving = segment.stay.exit_when if segment.stay is not None else None
    return (segment.condition,) if leaving is None else (segment.condition, leaving)


__all__ = [
    "CONTINUOUS", "COUNTING", "DAY", "HOUR", "MINUTE", "MOST_DISTINCT", "MOST_STEPS_KEPT",
    "SECOND", "Ago", "AllOf", "AnyOf", "Compare", "Condition", "Ever", "Function", "InList",
    "InSegment", "Leaf", "Measure", "Not", "Operator", "Period", "PeriodName", "Property",
    "Sample", "Scalar", "Segment", "Sequence", "Span", "Stay", "Step", "Subject", "Trait", "Trial",
    "Value", "Window", "Within", "conditions_of", "default_hop", "leaves",
]  # fmt: skip
