"""What a segment means, free of its spelling.

Literals stay as written (text, exact numbers, booleans); the catalog says how a comparison
reads them, so that one model serves every type and both spellings.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from headrace.clock import DAY, HOUR, MINUTE, SECOND
from headrace.rules.trials import Trial

Function = Literal["count", "sum", "avg", "min", "max", "days_active"]
COUNTING: Final = ("count", "days_active")
"""Functions of no field: they count events, or the UTC days that have one."""


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


@dataclass(frozen=True, slots=True)
class Ever:
    """Everything a user ever did."""


Window: TypeAlias = Within | Span | Ever


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
    """One number per user: ``function`` of ``field`` over filtered ``event`` in ``window``."""

    function: Function
    event: str
    field: str | None = None
    where: Condition | None = None
    window: Window = Ever()


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


Condition: TypeAlias = Compare | InSegment | Sample | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A named condition over what users did and are."""

    id: str
    condition: Condition
    name: str = ""
    owner: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    timezone: str = "UTC"
    refresh: str = "continuous"
    tests: tuple[Trial, ...] = ()


__all__ = [
    "COUNTING", "DAY", "HOUR", "MINUTE", "SECOND", "Ago", "AllOf", "AnyOf", "Compare", "Condition",
    "Ever", "Function", "InSegment", "Measure", "Not", "Operator", "Property", "Sample", "Scalar",
    "Segment", "Span", "Subject", "Trait", "Trial", "Value", "Window", "Within", "default_hop",
]  # fmt: skip
