"""Versions of segments -> one plan in which everything equal is there once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, assert_never, cast

from headrace.clock import DAY, HOUR
from headrace.errors import InternalError
from headrace.messages import topics
from headrace.plan.lines import NEGATED, cuts_of, line_of
from headrace.plan.model import (
    Accumulator,
    Base,
    Branch,
    JobParameters,
    Line,
    Measure,
    MeasureTest,
    Plan,
    Predicate,
    Program,
    Slot,
    TraitTest,
    Tree,
    ValueTest,
    tree_out,
)  # fmt: skip
from headrace.plan.registry import Registry
from headrace.plan.text import (
    canonical,
    filter_out,
    filter_text,
    value_out,
    window_text,
)
from headrace.rules import model
from headrace.rules.catalog import Catalog, FieldType
from headrace.rules.model import (
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Ever,
    Not,
    Property,
    Segment,
    Trait,
    Within,
    default_hop,
)  # fmt: skip

SOURCES = (topics.EVENTS, topics.CONTROL)
OUTPUTS = (topics.MEMBERSHIPS, topics.SEGMENTS, topics.DEAD)

KEEP_CLASSES = tuple(days * DAY for days in (1, 7, 31, 92, 366))
ACCUMULATORS: dict[model.Function, tuple[Accumulator, ...]] = {
    "count": ("count",),
    "sum": ("sum",),
    "avg": ("sum", "count"),
    "min": ("min",),
    "max": ("max",),
}

T = TypeVar("T")
_BaseKey: TypeAlias = tuple[str, Condition | None, str | None]
_SlotKey: TypeAlias = tuple[_BaseKey, Accumulator, int, int]


@dataclass(frozen=True, slots=True)
class SegmentVersion:
    """One immutable text of a segment."""

    segment: Segment
    version: int


def build_plan(
    versions: Iterable[SegmentVersion], catalog: Catalog, registry: Registry, job: JobParameters
) -> Plan:
    """Compile ``versions`` so that each base, window and predicate is computed once.

    The result depends only on the content of the versions, never on their order, so that a
    redeploy keeps the state.
    """
    ordered = sorted(versions, key=lambda one: (one.segment.id, one.version))
    found = _Found(catalog)
    trees = [found.tree(one.segment.condition) for one in ordered]
    layout = found.laid_out(registry)
    ids = registry.ids("version", [f"{one.segment.id}@{one.version}" for one in ordered])
    programs = tuple(
        Program(version_id, one.segment.id, one.version, _indexed(tree, layout.place))
        for version_id, one, tree in zip(ids, ordered, trees, strict=True)
    )
    return Plan(
        catalog=catalog,
        event_types=tuple(sorted({base.event for base in layout.bases})),
        sources=SOURCES,
        outputs=OUTPUTS,
        filters=layout.filters,
        bases=layout.bases,
        slots=layout.slots,
        measures=layout.measures,
        predicates=layout.predicates,
        programs=programs,
        job=job,
    )


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
        keep = keep_class(self.length, self.hop) if self.hop else 0
        return [(self.base, one, self.hop, keep) for one in ACCUMULATORS[self.function]]

    @property
    def name(self) -> str:
        event, where, of = self.base
        subject = f"{event}.{of}" if of else event
        if where is not None:
            subject += f" where {filter_text(where)}"
        name = f"{self.function}({subject}){window_text(self.length)}"
        if self.length and self.hop != default_hop(self.length):
            name += f" by{window_text(self.hop).removeprefix(' within')}"
        return name


@dataclass(frozen=True, slots=True)
class _Test:
    """A `MeasureTest` before measures have places."""

    window: _Window
    cuts: tuple[int, ...]


_Leaf: TypeAlias = _Test | TraitTest | ValueTest
_Node: TypeAlias = "_Leaf | tuple[str, tuple[_Node, ...]]"


@dataclass(frozen=True, slots=True)
class _Layout:
    filters: tuple[Condition, ...]
    bases: tuple[Base, ...]
    slots: tuple[Slot, ...]
    measures: tuple[Measure, ...]
    predicates: tuple[Predicate, ...]
    place: dict[_Leaf, int]


@dataclass(slots=True)
class _Found:
    """The distinct leaves met so far, by content."""

    catalog: Catalog
    leaves: dict[_Leaf, None] = field(default_factory=dict)

    def tree(self, condition: Condition) -> _Node:
        match condition:
            case Compare(_, _, value) if _is_mixed(value):
                return self.tree(_split(condition))
            case Compare(model.Measure() as measure, operator, value):
                window = self._window(measure, value)
                negated, cuts = cuts_of(operator, value, window.line)
                return self._leaf(_Test(window, cuts), negated)
            case Compare(Trait(name), operator, value):
                return self._trait(name, condition)
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

    def _leaf(self, leaf: _Leaf, negated: bool) -> _Node:
        self.leaves.setdefault(leaf)
        return ("not", (leaf,)) if negated else leaf

    def _trait(self, name: str, compare: Compare) -> _Node:
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
        base = (measure.event, where, measure.field if measure.function != "count" else None)
        match measure.window:
            case Within(length, hop):
                return _Window(measure.function, base, length, hop, self._line(measure, value))
            case Ever():
                return _Window(measure.function, base, 0, 0, self._line(measure, value))
            case _:
                assert_never(measure.window)

    def _line(self, measure: model.Measure, value: model.Value) -> Line:
        if measure.function == "count":
            return "integer"
        type_ = self._type(measure.event, measure.field or "")
        line = line_of(type_, value)
        if line is None or (measure.function in ("sum", "avg") and type_ == "timestamp"):
            raise InternalError(f"no {measure.function} of {measure.event}.{measure.field}")
        return "average" if measure.function == "avg" else line

    def _type(self, event: str, name: str) -> FieldType:
        kind = _known(self.catalog.events, event, "event")
        return cast(FieldType, _known(kind.properties, name, f"property of {event!r}").type)

    def laid_out(self, registry: Registry) -> _Layout:
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
        return _Layout(
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
        event, where, of = key
        return Base(
            event=event,
            filter=None if where is None else filters.index(where),
            field=of,
            type=None if of is None else self._type(event, of),
        )

    def _placed(self, leaf: _Leaf, places: dict[_Window, int]) -> Predicate:
        return MeasureTest(places[leaf.window], leaf.cuts) if isinstance(leaf, _Test) else leaf

    def _slot_text(self, key: _SlotKey) -> str:
        (event, where, of), accumulator, hop, keep = key
        # Types are part of what a slot holds: a catalog that changes one starts another slot.
        names = sorted(_properties(where)) if where is not None else []
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
            }
        )


def normal(condition: Condition) -> Condition:
    """The same filter in its one spelling: flat, sorted, without repeats or double negation."""
    match condition:
        case Compare(_, operator, value):
            if operator in NEGATED:
                return Not(Compare(condition.subject, NEGATED[operator], value))
            if operator == "exists" and value is False:
                return Not(Compare(condition.subject, "exists", True))
            return condition
        case Not(part):
            inner = normal(part)
            return inner.part if isinstance(inner, Not) else Not(inner)
        case AllOf(parts) | AnyOf(parts):
            kind = type(condition)
            flat: dict[str, Condition] = {}
            for part in map(normal, parts):
                for one in part.parts if isinstance(part, kind) else (part,):
                    flat[canonical(filter_out(one))] = one
            ordered = tuple(flat[key] for key in sorted(flat))
            return ordered[0] if len(ordered) == 1 else kind(ordered)
        case _:
            assert_never(condition)


def _indexed(node: _Node, place: dict[_Leaf, int]) -> Tree:
    """A tree over places, in one spelling; the sorting lets rules of one shape meet."""
    if not isinstance(node, tuple):
        return place[node]
    kind, parts = node
    inner = [_indexed(part, place) for part in parts]
    if kind == "not":
        only = inner[0]
        if isinstance(only, Branch) and only.kind == "not":
            return only.parts[0]
        return Branch("not", (only,))
    flat: dict[str, Tree] = {}
    for tree in inner:
        same = isinstance(tree, Branch) and tree.kind == kind
        for one in tree.parts if same and isinstance(tree, Branch) else (tree,):
            flat[_tree_key(one)] = one
    ordered = tuple(flat[key] for key in sorted(flat))
    if len(ordered) == 1:
        return ordered[0]
    return Branch("all" if kind == "all" else "any", ordered)


def _tree_key(tree: Tree) -> str:
    # Negated leaves after plain ones, branches last: equal shapes then sort alike.
    if isinstance(tree, int):
        return f"0{tree:09d}"
    if tree.kind == "not" and isinstance(tree.parts[0], int):
        return f"1{tree.parts[0]:09d}"
    return "2" + canonical(tree_out(tree))


def _is_mixed(value: model.Value) -> bool:
    if not isinstance(value, tuple):
        return False
    return len({isinstance(part, Ago) for part in value}) == 2


def _split(compare: Compare) -> Condition:
    """Relative and fixed instants in one list: apart, since each kind has a line of its own."""
    assert isinstance(compare.value, tuple)
    subject, parts = compare.subject, compare.value
    match compare.operator:
        case "between":
            low, high = parts
            return AllOf((Compare(subject, "gte", low), Compare(subject, "lte", high)))
        case "in":
            return AnyOf(tuple(Compare(subject, "eq", part) for part in parts))
        case "not_in":
            return AllOf(tuple(Compare(subject, "ne", part) for part in parts))
        case _:
            raise InternalError(f"{compare.operator!r} takes no list")


def _properties(condition: Condition) -> set[str]:
    match condition:
        case Compare(Property(name), _, _):
            return {name}
        case AllOf(parts) | AnyOf(parts):
            return set[str]().union(*(_properties(part) for part in parts))
        case Not(part):
            return _properties(part)
        case _:
            raise InternalError("a filter looks at properties only")


def _known(names: Any, name: str, what: str) -> Any:
    if name not in names:
        raise InternalError(f"unknown {what}: {name!r}")
    return names[name]


def _base_text(key: _BaseKey) -> str:
    event, where, of = key
    return canonical([event, "" if where is None else filter_out(where), of or ""])


def _filter_key(condition: Condition) -> str:
    return canonical(filter_out(condition))


def _predicate_key(predicate: Predicate) -> tuple[int, str, int, tuple[int, ...], str]:
    match predicate:
        case MeasureTest(measure, cuts):
            return 0, "", measure, cuts, ""
        case TraitTest(trait, line, cuts):
            return 1, trait, 0, cuts, line
        case ValueTest(trait, type_, operator, value):
            return 2, trait, 0, (), canonical([type_, operator, value_out(value)])
        case _:
            assert_never(predicate)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


__all__ = ["SegmentVersion", "build_plan", "keep_class", "normal"]
