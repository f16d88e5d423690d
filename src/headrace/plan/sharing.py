"""The distinct parts of rules: what a plan is laid out from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as AnySequence
from dataclasses import dataclass, field
from math import gcd
from typing import Any, Literal, TypeAlias, assert_never, cast

from headrace.clock import DAY, HOUR, MINUTE
from headrace.errors import InternalError
from headrace.plan.filters import is_mixed, normal, properties_of, split
from headrace.plan.lines import NEGATED, cuts_of, line_of
from headrace.plan.model import (
    Accumulator,
    Base,
    Line,
    Link,
    Measure,
    MeasureTest,
    Predicate,
    SampleTest,
    Slot,
    Test,
    TraitTest,
    ValueTest,
)  # fmt: skip
from headrace.plan.registry import Registry
from headrace.plan.text import (
    canonical,
    filter_out,
    filter_text,
    span_text,
    test_text,
    value_out,
    window_text,
)
from headrace.rules import model
from headrace.rules.catalog import LIST, Catalog, FieldType
from headrace.rules.model import (
    COUNTING,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    InList,
    InSegment,
    Not,
    Operator,
    Period,
    Property,
    Sample,
    Segment,
    Sequence,
    Span,
    Trait,
    Within,
    default_hop,
)

KEEP_CLASSES = tuple(days * DAY for days in (1, 7, 31, 92, 366))
ACCUMULATORS: dict[model.Function, tuple[Accumulator, ...]] = {
    "count": ("count",),
    "days_active": ("count",),
    "sum": ("sum",),
    "avg": ("sum", "count"),
    "min": ("min",),
    "max": ("max",),
    "distinct": ("distinct",),
    "first": ("first",),
    "last": ("last",),
}
QUARTER = 15 * MINUTE
"""Where days of every time zone begin and end: tiles of a calendar that is not UTC's."""
PERIOD_LENGTHS: dict[model.PeriodName, int] = {
    "today": 2 * DAY,
    "this_week": 8 * DAY,
    "this_month": 32 * DAY,
    "this_year": 367 * DAY,
}
"""What no period exceeds, however its clocks are set."""

_BaseKey: TypeAlias = tuple[str, Condition | None, str | None, Span | None]
_SlotKey: TypeAlias = tuple[tuple[_BaseKey, ...], Accumulator, int, int]


def keep_class(length: int, hop: int) -> int:
    """How long tiles are kept for a window of ``length``: the next class up.

    Coarse, so that a slot outlives changes of windows; and hourly tiles always last a month, so
    that windows of a week and of a month read the same ones.
    """
    least = max(length, 31 * DAY if hop >= HOUR else 0)
    return next((size for size in KEEP_CLASSES if size >= least), length)


@dataclass(frozen=True, slots=True)
class _Window:
    """A measure on its way into a plan: like the model's, normalised, on one line."""

    function: model.Function | Literal["sequence"]
    bases: tuple[_BaseKey, ...]
    window: model.Window
    line: Line
    zone: str = "UTC"
    test: Test | None = None
    links: tuple[Link, ...] = ()

    @property
    def length(self) -> int:
        return self.window.length if isinstance(self.window, Within) else 0

    @property
    def hop(self) -> int:
        return self.window.hop if isinstance(self.window, Within) else 0

    @property
    def period(self) -> Period | None:
        return self.window if isinstance(self.window, Period) else None

    @property
    def slots(self) -> list[_SlotKey]:
        if self.function == "sequence":
            return [(self.bases, "steps", 0, 0)]
        if self.function == "last":  # whatever the window holds, its last is the last of all
            return [(self.bases, "last", 0, 0)]
        hop, keep = self._tiles()
        return [(self.bases, one, hop, keep) for one in ACCUMULATORS[self.function]]

    def _tiles(self) -> tuple[int, int]:
        """(hop, keep) of the tiles: fine enough for the window's steps and for its days."""
        counts_days = self.function == "days_active"
        day = DAY if {self.zone, self.period.zone if self.period else "UTC"} == {"UTC"} else QUARTER
        match self.window:
            case Within(length, hop):
                return gcd(hop, day) if counts_days else hop, keep_class(length, hop)
            case Period(name, _):
                return day, keep_class(PERIOD_LENGTHS[name], day)
            case _:
                # Days are told apart for ever; any other number needs no tile.
                return day if counts_days else 0, 0

    @property
    def name(self) -> str:
        words = [f"{self.function}({', '.join(self._subjects())})"]
        match self.window:
            case Within(length, hop):
                words.append(window_text(length))
                if hop != default_hop(length):
                    words.append(f" by{window_text(hop).removeprefix(' within')}")
            case Span():
                words.append(span_text(self.window))
            case Period(period, zone):
                words.append(f" {period.replace('_', ' ')}")
                words += [f" in {zone}"] if zone != "UTC" else []
        if self.zone != "UTC" and self.period is None:
            words.append(f" in {self.zone}")
        name = "".join(words)
        return name if self.test is None else test_text(name, self.test.operator, self.test.value)

    def placed(self, slots: tuple[int, ...]) -> Measure:
        """The plan's measure, over slots in their places."""
        zone = self.period.zone if self.period else self.zone
        return Measure(
            self.name, self.function, slots, self.length, self.line, self.hop,
            self.period.name if self.period else None, zone, self.test, self.links,
        )  # fmt: skip

    def _subjects(self) -> Iterator[str]:
        if not self.links:
            yield _subject(self.bases[0])
        for link in self.links:
            no = "no " if link.forbidden else ""
            yield no + _subject(self.bases[link.step]) + window_text(link.within or 0)


def _subject(base: _BaseKey) -> str:
    event, where, of, _ = base
    subject = f"{event}.{of}" if of else event
    return subject if where is None else f"{subject} where {filter_text(where)}"


@dataclass(frozen=True, slots=True)
class Held:
    """Hysteresis of a segment on its way into a plan."""

    segment: str
    match: Node
    exit: Node | None
    min_dwell: int
    cooldown: int

    @property
    def name(self) -> str:
        return f"stay({self.segment})"

    @property
    def line(self) -> Line:
        return "integer"

    @property
    def slots(self) -> list[_SlotKey]:
        return []

    @property
    def content(self) -> str:
        """Everything it says, as text."""
        leaving = "" if self.exit is None else _node_text(self.exit)
        lengths = [str(self.min_dwell), str(self.cooldown)]
        return canonical([self.segment, _node_text(self.match), leaving, *lengths])

    def placed(self, slots: tuple[int, ...]) -> Measure:
        """The plan's measure."""
        return Measure(self.name, "stay", slots, 0, self.line)


@dataclass(frozen=True, slots=True)
class _Test:
    """A `MeasureTest` before measures have places."""

    window: _Window | Held
    cuts: tuple[int, ...]


Leaf: TypeAlias = _Test | TraitTest | ValueTest | SampleTest
Node: TypeAlias = "Leaf | tuple[str, tuple[Node, ...]]"


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a plan in their final places; ``place`` says where each leaf went."""

    filters: tuple[Condition, ...]
    bases: tuple[Base, ...]
    slots: tuple[Slot, ...]
    measures: tuple[Measure, ...]
    predicates: tuple[Predicate, ...]
    place: dict[Leaf, int]
    stays: tuple[tuple[int, int, Held], ...]  # id, place of the measure, what it says


@dataclass(slots=True)
class Found:
    """The distinct leaves met so far, by content. ``rules`` are what references stand for."""

    catalog: Catalog
    rules: Mapping[str, Segment]
    leaves: dict[Leaf, None] = field(default_factory=dict)
    stays: dict[str, Held] = field(default_factory=dict)

    def segment(self, segment: Segment) -> Node:
        """What says who is in ``segment``."""
        stay = segment.stay
        if stay is None:
            return self.tree(segment.condition)
        held = self.stays.get(segment.id)
        if held is None:
            leaving = None if stay.exit_when is None else self.tree(stay.exit_when)
            match = self.tree(segment.condition)
            held = Held(segment.id, match, leaving, stay.min_dwell, stay.cooldown)
            self.stays[segment.id] = held  # after those it refers to
        return self._leaf(_Test(held, (1,)), False)

    def tree(self, condition: Condition) -> Node:
        """A condition over leaves; what it looks at is now among them."""
        match condition:
            case Compare(_, _, value) if is_mixed(value):
                return self.tree(split(condition))
            case Compare(model.Measure() as measure, operator, value):
                return self._measure(measure, operator, value)
            case Compare(Trait(name), operator, value):
                return self._trait(name, condition)
            case InSegment(segment):
                return self.segment(_known(self.rules, segment, "segment"))
            case InList(name):
                return self._leaf(ValueTest(LIST + name, "boolean", "eq", True), False)
            case Sequence():
                return self._leaf(_Test(self._sequence(condition), (1,)), False)
            case Sample(_, salt):
                return self._leaf(SampleTest(salt, condition.below), False)
            case Compare(Property(name), _, _):
                raise InternalError(f"property {name!r} outside a filter")
            case AllOf(parts):
                return ("all", tuple(self.tree(part) for part in parts))
            case AnyOf(parts):
                return ("any", tuple(self.tree(part) for part in parts))
            case Not(part):
                return ("not", (self.tree(part),))
            case _:
                assert_never(condition)  # type: ignore[arg-type]  # mypy leaves Compare open

    def _leaf(self, leaf: Leaf, negated: bool) -> Node:
        self.leaves.setdefault(leaf)
        return ("not", (leaf,)) if negated else leaf

    def computed(self, measure: model.Measure) -> Leaf:
        """The leaf whose measure is kept for a computed trait, whether or not a rule asks."""
        leaf = self._measure(measure, "exists", True)
        assert isinstance(leaf, _Test)
        self.leaves.setdefault(leaf)
        return leaf

    def _trait(self, name: str, compare: Compare) -> Node:
        operator, value = compare.operator, compare.value
        if name in self.catalog.computed:
            return self._measure(self.catalog.computed[name].measure, operator, value)
        type_ = _known(self.catalog.traits, name, "trait").type
        line = line_of(type_, value)
        if line is not None:
            negated, cuts = cuts_of(operator, value, line)
            return self._leaf(TraitTest(name, line, cuts), negated)
        if operator == "exists":
            return self._leaf(ValueTest(name, type_, "exists", True), value is False)
        positive = NEGATED.get(operator, operator)
        return self._leaf(ValueTest(name, type_, positive, value), operator in NEGATED)

    def _measure(self, measure: model.Measure, operator: Operator, value: model.Value) -> Node:
        where = None if measure.where is None else normal(measure.where)
        of = measure.field if measure.function not in COUNTING else None
        # Nothing leaves a span again: it is a filter by time, and its sum one number for ever.
        span = measure.window if isinstance(measure.window, Span) else None
        bases = ((measure.event, where, of, span),)
        line, zone = self._line(measure, value), measure.zone
        if line is None:
            assert measure.field is not None
            positive = NEGATED.get(operator, operator)
            if operator == "exists":
                value, negated = True, value is False
            else:
                negated = operator in NEGATED
            test = Test(self._type(measure.event, measure.field), positive, value)
            window = _Window(measure.function, bases, measure.window, "integer", zone, test)
            return self._leaf(_Test(window, (1,)), negated)
        window = _Window(measure.function, bases, measure.window, line, zone)
        negated, cuts = cuts_of(operator, value, line)
        return self._leaf(_Test(window, cuts), negated)

    def _sequence(self, sequence: Sequence) -> _Window:
        span = sequence.window if isinstance(sequence.window, Span) else None
        keys: list[_BaseKey] = []
        for step in sequence.steps:
            where = None if step.where is None else normal(step.where)
            keys.append((step.event, where, None, None))
        # In one order whatever the steps': sequences of the same events share a slot.
        bases = set(keys)
        last = max(n for n, step in enumerate(sequence.steps) if not step.forbidden)
        if span is not None:
            keys[last] = (*keys[last][:3], span)
            bases.add(keys[last])
        ordered = sorted(bases, key=_base_text)
        links = [
            Link(ordered.index(key), step.within, step.forbidden)
            for key, step in zip(keys, sequence.steps, strict=True)
        ]
        return _Window("sequence", tuple(ordered), sequence.window, "integer", links=tuple(links))

    def _line(self, measure: model.Measure, value: model.Value) -> Line | None:
        """The line of a measure; None when it is compared as a text, boolean or list."""
        if measure.function in (*COUNTING, "distinct"):
            return "integer"
        type_ = self._type(measure.event, measure.field or "")
        line = line_of(type_, value)
        if line is None and measure.function in ("first", "last"):
            return None
        if line is None or (measure.function in ("sum", "avg") and type_ == "timestamp"):
            raise InternalError(f"no {measure.function} of {measure.event}.{measure.field}")
        return "average" if measure.function == "avg" else line

    def _type(self, event: str, name: str) -> FieldType:
        kind = _known(self.catalog.events, event, "event")
        return cast(FieldType, _known(kind.properties, name, f"property of {event!r}").type)

    def laid_out(self, registry: Registry) -> Layout:
        """Everything in its final place, ordered by content."""
        windows = {leaf.window for leaf in self.leaves if isinstance(leaf, _Test)}
        slot_keys = sorted({key for one in windows for key in one.slots}, key=self._slot_text)
        base_keys = sorted({base for key in slot_keys for base in key[0]}, key=_base_text)
        filters = sorted({key[1] for key in base_keys if key[1] is not None}, key=_filter_key)
        bases = {key: place for place, key in enumerate(base_keys)}
        ids = registry.ids("slot", [_digest(self._slot_text(key)) for key in slot_keys])
        by_id = sorted(zip(ids, slot_keys, strict=True), key=lambda pair: pair[0])
        slots = {key: place for place, (_, key) in enumerate(by_id)}
        measures = sorted(windows, key=lambda one: (one.name, one.line))
        measure_place = {one: place for place, one in enumerate(measures)}
        placed = [(self._placed(leaf, measure_place), leaf) for leaf in self.leaves]
        placed.sort(key=lambda pair: _predicate_key(pair[0]))
        stay_ids = registry.ids("stay", [_digest(one.content) for one in self.stays.values()])
        return Layout(
            filters=tuple(filters),
            bases=tuple(self._base(key, filters) for key in base_keys),
            slots=tuple(
                Slot(
                    id_,
                    bases[of[0]],
                    accumulator,
                    hop,
                    keep,
                    tuple(bases[key] for key in of) if accumulator == "steps" else (),
                )
                for id_, (of, accumulator, hop, keep) in by_id
            ),
            measures=tuple(one.placed(tuple(slots[key] for key in one.slots)) for one in measures),
            predicates=tuple(predicate for predicate, _ in placed),
            place={leaf: place for place, (_, leaf) in enumerate(placed)},
            stays=tuple(
                (id_, measure_place[held], held)
                for id_, held in zip(stay_ids, self.stays.values(), strict=True)
            ),
        )

    def _base(self, key: _BaseKey, filters: AnySequence[Condition]) -> Base:
        event, where, of, span = key
        return Base(
            event=event,
            filter=None if where is None else filters.index(where),
            field=of,
            type=None if of is None else self._type(event, of),
            start=span.start if span else None,
            end=span.end if span else None,
        )

    def _placed(self, leaf: Leaf, places: Mapping[_Window | Held, int]) -> Predicate:
        return MeasureTest(places[leaf.window], leaf.cuts) if isinstance(leaf, _Test) else leaf

    def _slot_text(self, key: _SlotKey) -> str:
        bases, accumulator, hop, keep = key
        about = [self._base_about(base) for base in bases]
        of = about[0] if accumulator != "steps" else {"steps": about}
        return canonical({**of, "accumulator": accumulator, "hop": hop, "keep": keep})

    def _base_about(self, key: _BaseKey) -> dict[str, Any]:
        event, where, of, span = key
        # Types are part of what a slot holds: a catalog that changes one starts another slot.
        names = sorted(properties_of(where)) if where is not None else []
        return {
            "event": event,
            "filter": None if where is None else filter_out(where),
            "filter_types": {name: self._type(event, name) for name in names},
            "field": of,
            "type": None if of is None else self._type(event, of),
            **({"span": [span.start, span.end]} if span else {}),
        }


def _known(names: Any, name: str, what: str) -> Any:
    if name not in names:
        raise InternalError(f"unknown {what}: {name!r}")
    return names[name]


def _base_text(key: _BaseKey) -> str:
    event, where, of, span = key
    ends = [] if span is None else [span.start, span.end or 0]
    return canonical([event, "" if where is None else filter_out(where), of or "", *ends])


def _filter_key(condition: Condition) -> str:
    return canonical(filter_out(condition))


def _predicate_key(predicate: Predicate) -> tuple[int, str, int, tuple[int, ...], str]:
    match predicate:
        case MeasureTest(measure, cuts):
            return 0, "", measure, cuts, ""
        case TraitTest(trait, line, cuts):
            return 1, trait, 0, cuts, line
        case SampleTest(salt, below):
            return 3, salt, below, (), ""
        case ValueTest(trait, type_, operator, value):
            return 2, trait, 0, (), canonical([type_, operator, value_out(value)])
        case _:
            assert_never(predicate)


def _node_text(node: Node) -> str:
    if isinstance(node, tuple):
        kind, parts = node
        return canonical([kind, *map(_node_text, parts)])
    if isinstance(node, _Test):
        return canonical([node.window.name, node.window.line, *node.cuts])
    return canonical(_predicate_key(node))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
