"""The oracle: what rules mean, in plain Python, one user and one rule at a time.

Straight from the semantics, without sharing anything with the kernel but the model of rules and
catalogs. Slow is fine, wrong is not: every other engine is held against this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as AnySequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, assert_never

import re2
import xxhash

from headrace.clock import parse_instant
from headrace.errors import InternalError
from headrace.rules import model
from headrace.rules.catalog import LIST, Catalog, FieldType
from headrace.rules.computed import written_out
from headrace.rules.model import (
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    InList,
    InSegment,
    Measure,
    Not,
    Operator,
    Property,
    Sample,
    Scalar,
    Segment,
    Sequence,
    Subject,
    Trait,
    Value,
    conditions_of,
    leaves,
)
from headrace.rules.reference_facts import (
    Fact,
    OnBadLine,
    read_facts,
    ten_thousandths,
)
from headrace.rules.reference_measures import happened, measured, shown
from headrace.rules.reference_people import Person, people
from headrace.rules.reference_stays import instants, turns


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf of a rule for one user: the value found (None: missing) and the verdict.

    The value of a sample is the user's number; where nothing is compared, it is the verdict.
    """

    condition: model.Leaf
    value: Any
    type: FieldType
    holds: bool


@dataclass(frozen=True, slots=True)
class _World:
    """What a rule is judged in: the catalog, the other rules, the instant."""

    catalog: Catalog
    rules: Mapping[str, Segment]
    at: int

    @staticmethod
    def of(segments: AnySequence[Segment], catalog: Catalog, at: int) -> _World:
        rules = {segment.id: written_out(segment, catalog) for segment in segments}
        return _World(catalog, rules, at)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a user is, or is not, a member of a segment."""

    segment: str
    member: bool
    leaves: tuple[Leaf, ...]


def reference_members(
    lines: Iterable[bytes | str],
    segments: AnySequence[Segment],
    catalog: Catalog,
    at: int,
    *,
    on_bad_line: OnBadLine | None = None,
) -> list[tuple[str, str]]:
    """Sorted (segment, user) memberships at ``at``; lines later than that do not exist."""
    return _members(read_facts(lines, catalog, at, on_bad_line), segments, catalog, at)


def explain_user(
    lines: Iterable[bytes | str],
    segments: AnySequence[Segment],
    catalog: Catalog,
    at: int,
    user: str,
) -> list[Explanation] | None:
    """Each leaf's value against its constant for ``user``; None for nobody known.

    Any of the ids that were joined names the user.
    """
    person = people(read_facts(lines, catalog, at)).of(user)
    if person is None:
        return None
    world = _World.of(segments, catalog, at)
    return [
        Explanation(
            segment.id,
            _is_member(world.rules[segment.id], person, world),
            tuple(
                _leaf(leaf, person, world)
                for part in conditions_of(segment)
                for leaf in leaves(part)
            ),
        )
        for segment in segments
    ]


def _members(
    facts: Iterable[Fact], segments: AnySequence[Segment], catalog: Catalog, at: int
) -> list[tuple[str, str]]:
    everyone = people(facts).known
    world = _World.of(segments, catalog, at)
    return sorted(
        (segment.id, user)
        for segment in world.rules.values()
        for user, person in everyone.items()
        if _is_member(segment, person, world)
    )


def _is_member(segment: Segment, person: Person, world: _World) -> bool:
    if segment.sql:
        raise InternalError(f"{segment.id!r} is SQL in batch, which Spark alone evaluates")
    if segment.stay is None:
        return _holds(segment.condition, person, world)
    return len(_turns(segment, person, world)) % 2 == 1


def _turns(segment: Segment, person: Person, world: _World) -> list[int]:
    """When the person entered and left, in turns; nothing for a segment without a stay."""
    if segment.stay is None:
        return []

    def holds(condition: Condition, instant: int) -> bool:
        return _holds(condition, person.at(instant), replace(world, at=instant))

    rests_on = list(_closure(segment, world))
    steps = set(instants(rests_on, person, world.at))
    for leaf in rests_on:
        if isinstance(leaf, InSegment):
            steps.update(_turns(world.rules[leaf.segment], person, world))
    return turns(segment.stay, segment.condition, steps, world.at, holds)


def _closure(segment: Segment, world: _World) -> Iterable[model.Leaf]:
    """Every leaf that ``segment`` rests on, through the segments it refers to."""
    for part in conditions_of(segment):
        for leaf in leaves(part):
            yield leaf
            if isinstance(leaf, InSegment):
                yield from _closure(world.rules[leaf.segment], world)


def _holds(condition: Condition, person: Person, world: _World) -> bool:
    match condition:
        case AllOf(parts):
            return all(_holds(part, person, world) for part in parts)
        case AnyOf(parts):
            return any(_holds(part, person, world) for part in parts)
        case Not(part):
            return not _holds(part, person, world)
        case InSegment(segment):
            return _is_member(world.rules[segment], person, world)
        case Sample():
            return _number(condition, person) < condition.below
        case InList(name):
            return person.traits.get(LIST + name) is True
        case Sequence():
            return happened(
                condition, person, world.at,
                lambda where, fact: _passes(where, fact, world.catalog, world.at),
            )  # fmt: skip
        case Compare(subject, operator, value):
            found, kind = _found(subject, person, world.catalog, world.at)
            return compared(found, operator, value, kind, world.at)
        case _:
            assert_never(condition)


def _number(sample: Sample, person: Person) -> int:
    return xxhash.xxh64_intdigest(f"{sample.salt}:{person.id}".encode()) % 10_000


def _found(subject: Subject, person: Person, catalog: Catalog, at: int) -> tuple[Any, FieldType]:
    """What is compared, None when missing, and how to read a constant against it."""
    match subject:
        case Measure():
            return measured(
                subject, person, catalog, at, lambda where, fact: _passes(where, fact, catalog, at)
            )
        case Trait(name) if name in catalog.computed:
            return _found(catalog.computed[name].measure, person, catalog, at)
        case Trait(name):
            return person.traits.get(name), catalog.traits[name].type
        case Property():
            raise TypeError("a property is compared in a filter only")
        case _:
            assert_never(subject)


def _passes(where: Condition | None, fact: Fact, catalog: Catalog, at: int) -> bool:
    """Does one event pass a filter?"""
    match where:
        case None:
            return True
        case AllOf(parts):
            return all(_passes(part, fact, catalog, at) for part in parts)
        case AnyOf(parts):
            return any(_passes(part, fact, catalog, at) for part in parts)
        case Not(part):
            return not _passes(part, fact, catalog, at)
        case Compare(Property(name), operator, value):
            kind = catalog.events[fact.type].properties[name].type
            return compared(fact.values.get(name), operator, value, kind, at)
        case Compare() | InSegment() | InList() | Sample() | Sequence():
            raise TypeError("a filter compares properties only")
        case _:
            assert_never(where)


def compared(found: Any, operator: Operator, value: Value, kind: str, at: int) -> bool:
    """``found operator value``, two-valued: a missing value satisfies the negations alone."""
    match operator:
        case "exists":
            return (found is not None) == value
        case "ne":
            return not compared(found, "eq", value, kind, at)
        case "not_in":
            return not compared(found, "in", value, kind, at)
        case "not_contains":
            return not compared(found, "contains", value, kind, at)
    if found is None:
        return False
    if isinstance(value, tuple):
        constants = [_constant(item, kind, at) for item in value]
        match operator:
            case "in":
                return found in constants
            case "between":
                return bool(constants[0] <= found <= constants[1])
            case "contains_any":
                return any(constant in found for constant in constants)
            case "contains_all":
                return all(constant in found for constant in constants)
        raise TypeError(f"{operator} takes no list")
    constant = _constant(value, kind, at)
    match operator:
        case "eq":
            return bool(found == constant)
        case "gt" | "after":
            return bool(found > constant)
        case "gte":
            return bool(found >= constant)
        case "lt" | "before":
            return bool(found < constant)
        case "lte":
            return bool(found <= constant)
        case "contains":
            return constant in found
        case "starts_with":
            return bool(found.startswith(constant))
        case "ends_with":
            return bool(found.endswith(constant))
        case "matches":
            return _pattern(constant).search(found) is not None
        case _:
            raise TypeError(f"{operator} takes a list")


def _constant(value: Scalar, kind: str, at: int) -> Any:
    """A literal as a value of ``kind``."""
    match value:
        case Ago(length):
            return at - length
        case bool():
            return value
        case Decimal():
            if kind == "decimal":
                return ten_thousandths(value)
            return _fraction(value) if kind == "integer" else int(value)
        case str():
            return parse_instant(value) if kind == "timestamp" else value
        case _:
            assert_never(value)


@lru_cache(maxsize=4096)
def _fraction(value: Decimal) -> int | Fraction:
    exact = Fraction(value)
    return int(exact) if exact.denominator == 1 else exact


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _leaf(leaf: model.Leaf, person: Person, world: _World) -> Leaf:
    holds = _holds(leaf, person, world)
    match leaf:
        case InSegment() | InList() | Sequence():
            return Leaf(leaf, holds, "boolean", holds)
        case Sample():
            return Leaf(leaf, _number(leaf, person), "integer", holds)
        case Compare(subject, _, _):
            found, kind = _found(subject, person, world.catalog, world.at)
            return Leaf(leaf, shown(found, kind), kind, holds)
        case _:
            assert_never(leaf)
