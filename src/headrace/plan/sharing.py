"""The distinct parts of rules: what a plan is laid out from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, assert_never, cast

from headrace.clock import DAY, HOUR
from headrace.errors import InternalError
from headrace.plan.filters import is_mixed, normal, properties_of, split
from headrace.plan.lines import NEGATED, cuts_of, line_of
from headrace.plan.model import (
    Accumulator,
    Base,
    Line,
    Measure,
    MeasureTest,
    Predicate,
    SampleTest,
    Slot,
    TraitTest,
    ValueTest,
)  # fmt: skip
from headrace.plan.registry import Registry
from headrace.plan.text import canonical, filter_out, filter_text, span_text, value_out, window_text
from headrace.rules import model
from headrace.rules.catalog import Catalog, FieldType
from headrace.rules.model import (
    COUNTING,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Ever,
    InSegment,
    Not,
    Property,
    Sample,
    Span,
    Trait,
    Within,
    default_hop,
)  # fmt: skip

KEEP_CLASSES = tuple(days * DAY for days in (1, 7, 31, 92, 366))
ACCUMULATORS: dict[model.Function, tuple[Accumulator, ...]] = {
    "count": ("count",),
    "days_active": ("count",),
    "sum": ("sum",),
    "avg": ("sum", "count"),
    "min": ("min",),
    "max": ("max",),
}

_BaseKey: TypeAlias = tuple[str, Condition | None, str | None, Span | None]
_SlotKey: TypeAlias = tuple[_BaseKey, Accumulator, int, int]


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

    function: model.Function
    base: _BaseKey
    length: int
    hop: int
    line: Line

    @property
    def slots(self) -> list[_SlotKey]:
        keep = keep_class(self.length, self.hop) if self.length else 0
        return [(self.base, one, self.hop, keep) for one in ACCUMULATORS[self.function]]

    @property
    def name(self) -> str:
        event, where, of, span = self.base
        subject = f"{event}.{of}" if of else event
        if where is not None:
            subject += f" where {filter_text(where)}"
        name = f"{self.function}({subject}){window_text(self.length)}{span_text(span)}"
        if self.length and self.hop != default_hop(self.length):
            name += f" by{window_text(self.hop).removeprefix(' within')}"
        return name


@dataclass(frozen=True, slots=True)
class _Test:
    """A `MeasureTest` before measures have places."""

    window: _Window
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


@dataclass(slots=True)
class Found:
    """The distinct leaves met so far, by content. ``rules`` are what references stand for."""

    catalog: Catalog
    rules: Mapping[str, Condition]
    leaves: dict[Leaf, None] = field(default_factory=dict)

    def tree(self, condition: Condition) -> Node:
        """A condition over leaves; what it looks at is now among them."""
        match condition:
            case Compare(_, _, value) if is_mixed(value):
                return self.tree(split(condition))
            case Compare(model.Measure() as measure, operator, value):
                window = self._window(measure, value)
                negated, cuts = cuts_of(operator, value, window.line)
                return self._leaf(_Test(window, cuts), negated)
            case Compare(Trait(name), operator, value):
                return self._trait(name, condition)
            case InSegment(segment):
                return self.tree(_known(self.rules, segment, "segment"))
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

    def _trait(self, name: str, compare: Compare) -> Node:
        operator, value = compare.operator, compare.value
        type_ = _known(self.catalog.traits, name, "trait").type
        line = line_of(type_, value)
        if line is not None:
            negated, cuts = cuts_of(operator, value, line)
            return self._leaf(TraitTest(name, line, cuts), negated)
        if operator == "exists":
            return self._leaf(ValueTest(name, type_, "exists", True), value is False)
        positive = NEGATED.get(operator, operator)
        return self._leaf(ValueTest(name, type_, positive, value), operator in NEGATED)

    def _window(self, measure: model.Measure, value: model.Value) -> _Window:
        where = None if measure.where is None else normal(measure.where)
        of = measure.field if measure.function not in COUNTING else None
        # Nothing leaves a span again: it is a filter by time, and its sum one number for ever.
        span = measure.window if isinstance(measure.window, Span) else None
        base = (measure.event, where, of, span)
        match measure.window:
            case Within(length, hop):
                return _Window(measure.function, base, length, hop, self._line(measure, value))
            case Span() | Ever():
                # Days are told apart for ever; any other number needs no tile.
                hop = DAY if measure.function == "days_active" else 0
                return _Window(measure.function, base, 0, hop, self._line(measure, value))
            case _:
                assert_never(measure.window)

    def _line(self, measure: model.Measure, value: model.Value) -> Line:
        if measure.function in COUNTING:
            return "integer"
        type_ = self._type(measure.event, measure.field or "")
        line = line_of(type_, value)
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
        base_keys = sorted({key[0] for key in slot_keys}, key=_base_text)
        filters = sorted({key[1] for key in base_keys if key[1] is not None}, key=_filter_key)
        bases = {key: place for place, key in enumerate(base_keys)}
        ids = registry.ids("slot", [_digest(self._slot_text(key)) for key in slot_keys])
        by_id = sorted(zip(ids, slot_keys, strict=True), key=lambda pair: pair[0])
        slots = {key: place for place, (_, key) in enumerate(by_id)}
        measures = sorted(windows, key=lambda one: (one.name, one.line))
        measure_place = {one: place for place, one in enumerate(measures)}
        placed = [(self._placed(leaf, measure_place), leaf) for leaf in self.leaves]
        placed.sort(key=lambda pair: _predicate_key(pair[0]))
        return Layout(
            filters=tuple(filters),
            bases=tuple(self._base(key, filters) for key in base_keys),
            slots=tuple(
                Slot(id_, bases[base], accumulator, hop, keep)
                for id_, (base, accumulator, hop, keep) in by_id
            ),
            measures=tuple(
                Measure(
                    one.name, one.function, tuple(slots[k] for k in one.slots), one.length, one.line
                )
                for one in measures
            ),
            predicates=tuple(predicate for predicate, _ in placed),
            place={leaf: place for place, (_, leaf) in enumerate(placed)},
        )

    def _base(self, key: _BaseKey, filters: Sequence[Condition]) -> Base:
        event, where, of, span = key
        return Base(
            event=event,
            filter=None if where is None else filters.index(where),
            field=of,
            type=None if of is None else self._type(event, of),
            start=span.start if span else None,
            end=span.end if span else None,
        )

    def _placed(self, leaf: Leaf, places: dict[_Window, int]) -> Predicate:
        return MeasureTest(places[leaf.window], leaf.cuts) if isinstance(leaf, _Test) else leaf

    def _slot_text(self, key: _SlotKey) -> str:
        (event, where, of, span), accumulator, hop, keep = key
        # Types are part of what a slot holds: a catalog that changes one starts another slot.
        names = sorted(properties_of(where)) if where is not None else []
        return canonical(
            {
                "event": event,
                "filter": None if where is None else filter_out(where),
                "filter_types": {name: self._type(event, name) for name in names},
                "field": of,
                "type": None if of is None else self._type(event, of),
                "accumulator": accumulator,
                "hop": hop,
                "keep": keep,
                **({"span": [span.start, span.end]} if span else {}),
            }
        )


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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
