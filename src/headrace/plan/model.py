"""A plan as frozen values, and as canonical JSON.

Everything the streaming job must know is in here: which events to fold into which slots, which
numbers to hold against which thresholds, which versions follow from them, and how the job runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Literal, TypeAlias

from headrace.clock import DAY
from headrace.errors import InternalError
from headrace.plan import text
from headrace.rules.catalog import Catalog, FieldType
from headrace.rules.model import Condition, Function, Operator, PeriodName, Value
from headrace.rules.streams import Stream, document, parse_stream

FORMAT = "headrace/plan/v1"

Accumulator = Literal["count", "sum", "min", "max", "distinct", "first", "last", "steps"]
LOGGED: Final = ("first", "last", "steps")
"""Accumulators that keep single events. ``distinct`` keeps hashes, the others a number a tile."""
Line = Literal["integer", "decimal", "average", "instant", "age"]


@dataclass(frozen=True, slots=True)
class Base:
    """What is folded: a field (or just the occurrence) of one event type, filtered.

    Of events from ``start`` on and before ``end`` (ms) only, where those are given.
    """

    event: str
    filter: int | None = None
    field: str | None = None
    type: FieldType | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """One accumulator over a base, in tiles of ``hop`` ms kept for ``keep`` ms.

    A ``hop`` of 0 makes one tile for all time, a ``keep`` of 0 keeps them for ever.
    ``steps`` are the bases whose events a sequence looks at; ``base`` is the first of them.

    State rows name it by ``id``, which the registry gave its content once.
    """

    id: int
    base: int
    accumulator: Accumulator
    hop: int
    keep: int
    steps: tuple[int, ...] = ()

    @property
    def bases(self) -> tuple[int, ...]:
        """Every base it looks at."""
        return self.steps or (self.base,)


@dataclass(frozen=True, slots=True)
class Link:
    """A step of a sequence: the place of its base in the slot's ``steps``, and its bounds."""

    step: int
    within: int | None = None
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class Test:
    """A text, boolean or list held against a constant."""

    type: FieldType
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Measure:
    """One number per user: a function over the tiles of ``slots`` that the window holds.

    The window holds the last ``length`` ms in steps of ``hop`` (0: everything), or a ``period`` of
    ``zone``. ``line`` says what the integers mean: ``decimal`` counts ten-thousandths, ``average``
    is twice the floor of ten-thousandths (plus one when inexact), ``age`` is now minus an instant.
    With a ``test`` it is 1 where the value passes; a sequence, by its ``links``, is 1 once it
    happened; of a stay, which has no slots, it is 1 for those who are in.
    """

    name: str
    function: Function | Literal["sequence", "stay"]
    slots: tuple[int, ...]
    length: int
    line: Line
    hop: int = 0
    period: PeriodName | None = None
    zone: str = "UTC"
    test: Test | None = None
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class MeasureTest:
    """True on the integers where an odd number of ``cuts`` is at or below the measure."""

    measure: int
    cuts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TraitTest:
    """Like `MeasureTest`, for a trait whose type is a number or an instant."""

    trait: str
    line: Line
    cuts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ValueTest:
    """A string, boolean or list trait held against constants."""

    trait: str
    type: FieldType
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class SampleTest:
    """True for users whose number of 10,000, by ``salt``, is less than ``below``."""

    salt: str
    below: int


Predicate: TypeAlias = MeasureTest | TraitTest | ValueTest | SampleTest


@dataclass(frozen=True, slots=True)
class Branch:
    """AND, OR or NOT over predicate indexes; an empty ``all`` is true, an empty ``any`` false."""

    kind: Literal["all", "any", "not"]
    parts: tuple[Tree, ...]


Tree: TypeAlias = int | Branch


@dataclass(frozen=True, slots=True)
class Stay:
    """Hysteresis around ``match``: what the measure of that place holds from batch to batch.

    State rows name it by ``id``. Without ``exit`` members leave when ``match`` does not hold.
    """

    id: int
    measure: int
    match: Tree
    exit: Tree | None
    min_dwell: int
    cooldown: int


@dataclass(frozen=True, slots=True)
class Program:
    """One version of a segment; ``version_id`` is its bit in the members column."""

    version_id: int
    segment: str
    version: int
    tree: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class JobParameters:
    """How the streaming job runs the plan."""

    trigger_ms: int = 2_000
    partitions: int = 2
    buckets: int = 8
    driver_memory: str = "3g"
    max_events_per_batch: int = 1_000_000
    due_limit: int = 100_000
    horizon_ms: int = 7 * DAY
    retention_ms: int = 1_095 * DAY


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All active versions, compiled; parts refer to each other by position."""

    catalog: Catalog
    event_types: tuple[str, ...]
    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    filters: tuple[Condition, ...]
    bases: tuple[Base, ...]
    slots: tuple[Slot, ...]
    measures: tuple[Measure, ...]
    predicates: tuple[Predicate, ...]
    programs: tuple[Program, ...]
    job: JobParameters
    stays: tuple[Stay, ...] = ()
    """Each after those it refers to."""
    streams: tuple[Stream, ...] = ()
    """Whose topics are read beside our own, by id."""
    computed: tuple[tuple[str, int], ...] = ()
    """Computed traits by name, each with the place of its measure."""

    def to_json(self) -> str:
        """Canonical text: equal plans give equal bytes."""
        return self._text

    @staticmethod
    def from_json(source: str) -> Plan:
        """The plan of a text, canonical or not (a database may have reordered its keys)."""
        return _parsed(source)

    @property
    def hash(self) -> str:
        """The plan's name: SHA-256 of its canonical text."""
        return self._hash

    @property
    def versions(self) -> dict[str, int]:
        """The active version of each segment."""
        return {program.segment: program.version for program in self.programs}

    @property
    def published(self) -> tuple[str, ...]:
        """The event types whose accepted events leave again."""
        return tuple(sorted(name for name, of in self.catalog.events.items() if of.publish))

    @cached_property
    def _text(self) -> str:
        return text.canonical(_plan_out(self))

    @cached_property
    def _hash(self) -> str:
        return hashlib.sha256(self._text.encode()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker gets the same plan with every task; by text it is built once per process.
        return _parsed, (self._text,)


@lru_cache(maxsize=4)
def _parsed(source: str) -> Plan:
    return _plan_in(json.loads(source))


def _plan_out(plan: Plan) -> dict[str, Any]:
    # Named only where there are any: the plans of most projects stay what they were.
    stays = {"stays": [_stay_out(stay) for stay in plan.stays]} if plan.stays else {}
    streams = {"streams": [document(one) for one in plan.streams]} if plan.streams else {}
    computed = {"computed": dict(plan.computed)} if plan.computed else {}
    return {
        **stays,
        **streams,
        **computed,
        "format": FORMAT,
        "catalog": text.catalog_out(plan.catalog),
        "event_types": plan.event_types,
        "sources": plan.sources,
        "outputs": plan.outputs,
        "filters": [text.filter_out(condition) for condition in plan.filters],
        "bases": [_base_out(base) for base in plan.bases],
        "slots": [_without(asdict(slot), steps=()) for slot in plan.slots],
        "measures": [_measure_out(measure, plan.slots) for measure in plan.measures],
        "predicates": [_predicate_out(predicate) for predicate in plan.predicates],
        "programs": [
            {
                "version_id": program.version_id,
                "segment": program.segment,
                "version": program.version,
                "tree": tree_out(program.tree),
            }
            for program in plan.programs
        ],
        "job": asdict(plan.job),
    }


def _base_out(base: Base) -> dict[str, Any]:
    return _without(asdict(base), start=None, end=None)


def _measure_out(measure: Measure, slots: Sequence[Slot]) -> dict[str, Any]:
    out = asdict(measure)
    out["links"] = [_without(asdict(link), within=None, forbidden=False) for link in measure.links]
    if measure.test is not None:
        out["test"]["value"] = text.value_out(measure.test.value)
    usual = _usual_hop(measure.length, measure.slots, slots)
    return _without(out, hop=usual, period=None, zone="UTC", test=None, links=[])


def _usual_hop(length: int, places: Sequence[int], slots: Sequence[Slot]) -> int:
    """The hop of a window that moves with its tiles; plans of earlier releases have no other."""
    return slots[places[0]].hop if length else 0


def _without(out: dict[str, Any], **usual: Any) -> dict[str, Any]:
    """``out`` without what is as usual: most parts have no more than their core."""
    return {name: value for name, value in out.items() if name not in usual or value != usual[name]}


def _plan_in(value: Mapping[str, Any]) -> Plan:
    if value.get("format") != FORMAT:
        raise InternalError(f"not a plan of format {FORMAT}: {value.get('format')!r}")
    slots = tuple(
        Slot(**{**part, "steps": tuple(part.get("steps", ()))}) for part in value["slots"]
    )
    return Plan(
        catalog=text.catalog_in(value["catalog"]),
        event_types=tuple(value["event_types"]),
        sources=tuple(value["sources"]),
        outputs=tuple(value["outputs"]),
        filters=tuple(text.filter_in(part) for part in value["filters"]),
        bases=tuple(Base(**part) for part in value["bases"]),
        slots=slots,
        measures=tuple(_measure_in(part, slots) for part in value["measures"]),
        predicates=tuple(_predicate_in(part) for part in value["predicates"]),
        programs=tuple(
            Program(part["version_id"], part["segment"], part["version"], tree_in(part["tree"]))
            for part in value["programs"]
        ),
        job=JobParameters(**value["job"]),
        stays=tuple(_stay_in(part) for part in value.get("stays", ())),
        streams=tuple(parse_stream(text.canonical(part)) for part in value.get("streams", ())),
        computed=tuple(sorted(value.get("computed", {}).items())),
    )


def _measure_in(value: Mapping[str, Any], slots: Sequence[Slot]) -> Measure:
    test = value.get("test")
    links = tuple(Link(**link) for link in value.get("links", ()))
    if test is not None:
        test = Test(test["type"], test["operator"], text.value_in(test["value"]))
    places = tuple(value["slots"])
    hop = value.get("hop", _usual_hop(value["length"], places, slots))
    return Measure(**{**value, "slots": places, "hop": hop, "test": test, "links": links})


def _stay_out(stay: Stay) -> dict[str, Any]:
    leaving = None if stay.exit is None else tree_out(stay.exit)
    return {**asdict(stay), "match": tree_out(stay.match), "exit": leaving}


def _stay_in(value: Mapping[str, Any]) -> Stay:
    leaving = None if value["exit"] is None else tree_in(value["exit"])
    return Stay(**{**value, "match": tree_in(value["match"]), "exit": leaving})


def _predicate_out(predicate: Predicate) -> dict[str, Any]:
    match predicate:
        case MeasureTest(measure, cuts):
            return {"measure": measure, "cuts": cuts}
        case TraitTest(trait, line, cuts):
            return {"trait": trait, "line": line, "cuts": cuts}
        case ValueTest(trait, type_, operator, value):
            constant = text.value_out(value)
            return {"trait": trait, "type": type_, "operator": operator, "value": constant}
        case SampleTest(salt, below):
            return {"salt": salt, "below": below}


def _predicate_in(value: Mapping[str, Any]) -> Predicate:
    match value:
        case {"measure": measure, "cuts": cuts}:
            return MeasureTest(measure, tuple(cuts))
        case {"trait": trait, "line": line, "cuts": cuts}:
            return TraitTest(trait, line, tuple(cuts))
        case {"trait": trait, "type": type_, "operator": operator, "value": constant}:
            return ValueTest(trait, type_, operator, text.value_in(constant))
        case {"salt": salt, "below": below}:
            return SampleTest(salt, below)
        case _:
            raise InternalError(f"not a predicate of a plan: {value!r}")


def tree_out(tree: Tree) -> Any:
    """A tree as JSON: an index, or ``["all", ...]``."""
    if isinstance(tree, int):
        return tree
    return [tree.kind, *(tree_out(part) for part in tree.parts)]


def tree_in(value: Any) -> Tree:
    """The tree of `tree_out`'s value."""
    if isinstance(value, int):
        return value
    kind, *parts = value
    return Branch(kind, tuple(tree_in(part) for part in parts))
