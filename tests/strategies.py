"""Hypothesis strategies for rules and histories, chosen to meet where engines would differ.

Constants and values come from the same small pools, instants gather around the window edges of
the rules at hand, ids repeat, join and get deleted. Everything generated passes the checks.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as AnySequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

import drawn
from headrace.clock import DAY, HOUR, MINUTE, SECOND, format_instant, parse_instant
from headrace.rules.catalog import LIST, Catalog, EventType, Field, FieldType
from headrace.rules.model import (
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Ever,
    InList,
    InSegment,
    Measure,
    Not,
    Period,
    PeriodName,
    Property,
    Sample,
    Segment,
    Sequence,
    Span,
    Step,
    Trait,
    Window,
    Within,
    default_hop,
)
from headrace.rules.reference_calendar import period_start

AT = parse_instant("2026-03-15T12:34:56.789Z")

CATALOG = Catalog(
    events={
        "purchase": EventType(
            {
                "amount": Field("decimal"),
                "items": Field("integer"),
                "sku": Field("string"),
                "gift": Field("boolean"),
                "ships": Field("timestamp"),
                "labels": Field("array<string>"),
            }
        ),
        "page_view": EventType({"page": Field("string"), "seconds": Field("decimal")}),
        "login": EventType(),
    },
    traits={
        "country": Field("string"),
        "age": Field("integer"),
        "score": Field("decimal"),
        "consent": Field("boolean"),
        "signed_up": Field("timestamp"),
        "tags": Field("array<string>"),
    },
)

_NUMBERS = """0 1 2 5 10 -3.5 2.5 9.9999 10.0001 0.00005 0.00015 10.00005 10.00015 9.99995 0.1 0.2
    0.3 -0.00005 99999999999.9999 -99999999999.9999 1e2 1.50"""
NUMBERS = tuple(map(Decimal, _NUMBERS.split()))
INTEGERS = tuple(map(Decimal, (0, 1, 2, 3, 5, 10, -1, -7, 1 << 53, -(1 << 53))))
TEXTS = (
    "",
    "a",
    "b",
    "ab",
    "abc",
    "DE",
    "de",
    "NO",
    "true",
    "1",
    "é",
    "\uffee",
    "😀",
    'q"\\',
    "a\nb",
)
PATTERNS = ("a", "^a", "b$", "^$", ".", "(?i)DE", "a|b", "[^a]", "\\d", "é")
LENGTHS = (SECOND * 5, MINUTE, 90 * SECOND, HOUR, 7 * HOUR, DAY, 7 * DAY, 30 * DAY, 100 * DAY)
RESOLUTIONS = (SECOND, 5 * SECOND, 7200 * SECOND, 45 * MINUTE, HOUR, DAY)
ZONES = ("UTC", "UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu")
LISTS = ("vip", "staff")
PERIODS: tuple[PeriodName, ...] = ("today", "this_week", "this_month", "this_year")
USERS = ("u1", "u2", "u3", "anon-1", "anon-2", "ü😀")

_ORDER = ("eq", "ne", "gt", "gte", "lt", "lte", "between", "in", "not_in", "exists")
_OF_TYPE: Mapping[FieldType, tuple[str, ...]] = {
    "integer": _ORDER,
    "decimal": _ORDER,
    "string": (
        *_ORDER, "contains", "not_contains", "starts_with", "ends_with", "matches",
    ),
    "timestamp": (*_ORDER, "before", "after"),
    "boolean": ("eq", "ne", "exists"),
    "array<string>": ("contains", "not_contains", "contains_any", "contains_all", "exists"),
}  # fmt: skip
_LISTS = ("in", "not_in", "contains_any", "contains_all")


@dataclass(frozen=True)
class Case:
    """Rules, what happened (as lines of a file, some of them garbage), and when to look."""

    segments: tuple[Segment, ...]
    lines: tuple[bytes, ...]
    at: int

    def __post_init__(self) -> None:
        drawn.count(self.segments)


@st.composite
def cases(draw: DrawFn, catalog: Catalog = CATALOG, at: int = AT) -> Case:
    """Segments with a history around their edges."""
    rules = draw(st.lists(segments(catalog), min_size=1, max_size=4))
    named: tuple[Segment, ...] = ()
    for number, rule in enumerate(rules):
        named += (_renamed(_referring(rule, draw(_references(number))), f"s{number}"),)
    history = draw(histories(catalog, named, at))
    garbage = draw(st.lists(st.sampled_from(GARBAGE), max_size=2))
    return Case(named, tuple(draw(st.permutations(to_lines(history) + garbage))), at)


def _references(number: int) -> SearchStrategy[Condition | None]:
    """Sometimes a reference to one of the rules before the one of that number."""
    if not number:
        return st.none()
    earlier = st.integers(0, number - 1).map(lambda other: InSegment(f"s{other}"))
    return st.none() | earlier | earlier.map(Not)


def _referring(rule: Segment, reference: Condition | None) -> Segment:
    if reference is None:
        return rule
    return dataclasses.replace(rule, condition=AnyOf((reference, Not(rule.condition))))


def inlined(condition: Condition, rules: AnySequence[Segment]) -> Condition:
    """``condition`` with what its references stand for in their places."""
    match condition:
        case InSegment(segment):
            return inlined(next(one.condition for one in rules if one.id == segment), rules)
        case AllOf(parts):
            return AllOf(tuple(inlined(part, rules) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(inlined(part, rules) for part in parts))
        case Not(part):
            return Not(inlined(part, rules))
        case _:
            return condition


def segments(catalog: Catalog = CATALOG) -> SearchStrategy[Segment]:
    """A rule of this release's forms."""
    return st.sampled_from(ZONES).flatmap(
        lambda zone: conditions(catalog, zone).map(
            lambda held: Segment(id="s", condition=held, timezone=zone)
        )
    )


def conditions(catalog: Catalog = CATALOG, zone: str = "UTC") -> SearchStrategy[Condition]:
    """Logic over measures, traits, sequences, lists and samples."""
    measures, sequences = _measure_compares(catalog, zone), _sequences(catalog, zone)
    lists = st.sampled_from(LISTS).map(InList)
    leaves = (measures, measures, _trait_compares(catalog), sequences, lists, samples())
    return _logic(st.one_of(*leaves), 5)


def samples() -> SearchStrategy[Condition]:
    """Parts of all users, by two salts."""
    percents = st.sampled_from(tuple(map(Decimal, ("0.01", "12.5", "50", "99.99", "100"))))
    return st.builds(Sample, percents, st.sampled_from(("", "spring")))


def _logic(leaves: SearchStrategy[Condition], most: int) -> SearchStrategy[Condition]:
    return st.recursive(
        leaves,
        lambda part: st.one_of(
            st.lists(part, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts))),
            st.lists(part, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
            part.map(Not),
        ),
        max_leaves=most,
    )


@st.composite
def windows(draw: DrawFn, zone: str = "UTC") -> Window:
    """Ever, a period of ``zone``, or a length with its default or another hop."""
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return Ever()
    if kind == 2:
        return Period(draw(st.sampled_from(PERIODS)), zone)
    if kind == 1:
        start = AT - draw(st.sampled_from(LENGTHS))
        return Span(start, draw(st.one_of(st.none(), st.integers(start + 1, AT + DAY))))
    length = draw(st.sampled_from(LENGTHS))
    hop = draw(st.one_of(st.just(default_hop(length)), st.sampled_from(RESOLUTIONS)))
    return Within(length, hop)


@st.composite
def _sequences(draw: DrawFn, catalog: Catalog, zone: str) -> Sequence:
    """Steps in their places, with gaps and things that must not happen."""

    def step(forbidden: bool, within: int | None) -> Step:
        event = draw(st.sampled_from(sorted(catalog.events)))
        where = None
        if catalog.events[event].properties and draw(st.integers(0, 3)) == 0:
            where = draw(_property_compares(catalog, event))
        return Step(event, where, within, forbidden)

    gaps = st.one_of(st.none(), st.sampled_from(LENGTHS))
    steps = [step(False, None)]
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.integers(0, 2)) == 0:
            steps.append(step(True, None))
        steps.append(step(False, draw(gaps)))
    if draw(st.integers(0, 2)) == 0:
        steps.append(step(True, draw(st.sampled_from(LENGTHS))))
    return Sequence(tuple(steps), draw(windows(zone)))


@st.composite
def _measure_compares(draw: DrawFn, catalog: Catalog, zone: str) -> Compare:
    event = draw(st.sampled_from(sorted(catalog.events)))
    fields = catalog.events[event].properties
    functions: list[tuple[str, str | None, FieldType]] = [
        ("count", None, "integer"),
        ("days_active", None, "integer"),
    ]
    for name, field in fields.items():
        if field.type in ("integer", "decimal"):
            functions += [(f, name, field.type) for f in ("sum", "avg", "min", "max")]
        if field.type == "timestamp":
            functions += [(f, name, field.type) for f in ("min", "max")]
        if field.type != "array<string>":
            functions.append(("distinct", name, "integer"))
        functions += [(f, name, field.type) for f in ("first", "last")]
    function, measured, kind = draw(st.sampled_from(functions))
    where = draw(st.one_of(st.none(), _logic(_property_compares(catalog, event), 3)))
    if not fields:
        where = None
    of = zone if function == "days_active" else "UTC"
    window = draw(windows(zone))
    measure = Measure(function, event, measured, where, window, of)  # type: ignore[arg-type]
    if function == "avg":
        kind = "decimal"
    operator, value = draw(_comparisons(kind, is_measure=True))
    if function == "distinct" and not _is_counted(value):
        operator, value = "gte", Decimal(2)
    if operator == "between" and isinstance(measure.window, Span):
        assert isinstance(value, tuple)
        operator, value = "gte", value[0]  # a condition has one `between`
    return Compare(measure, operator, value)


def _is_counted(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return all(not isinstance(one, Decimal) or abs(one) <= 10_000 for one in values)


@st.composite
def _trait_compares(draw: DrawFn, catalog: Catalog) -> Compare:
    name = draw(st.sampled_from(sorted(catalog.traits)))
    return Compare(Trait(name), *draw(_comparisons(catalog.traits[name].type)))


@st.composite
def _property_compares(draw: DrawFn, catalog: Catalog, event: str) -> Compare:
    fields = catalog.events[event].properties
    name = draw(st.sampled_from(sorted(fields))) if fields else ""
    kind: FieldType = fields[name].type if fields else "string"
    return Compare(Property(name), *draw(_comparisons(kind, is_filter=True)))


@st.composite
def _comparisons(
    draw: DrawFn, kind: FieldType, *, is_measure: bool = False, is_filter: bool = False
) -> tuple[Any, Any]:
    names = [
        name
        for name in _OF_TYPE[kind]
        # In an event condition, `between` two instants is a window.
        if not (name == "between" and is_measure and kind == "timestamp")
    ]
    operator = draw(st.sampled_from(names))
    if operator == "exists":
        return operator, draw(st.booleans())
    if operator == "matches":
        return operator, draw(st.sampled_from(PATTERNS))
    constants = _constants(kind)
    if operator in ("before", "after") and not is_filter:
        ago = st.sampled_from(LENGTHS).flatmap(lambda length: st.sampled_from((length, -length)))
        constants = st.one_of(constants, ago.map(Ago))
    if operator == "between":
        return operator, tuple(draw(st.lists(constants, min_size=2, max_size=2)))
    if operator in _LISTS:
        return operator, tuple(draw(st.lists(constants, min_size=1, max_size=3)))
    return operator, draw(constants)


def _constants(kind: FieldType) -> SearchStrategy[Any]:
    match kind:
        case "integer":
            return st.one_of(st.sampled_from(INTEGERS), st.sampled_from(NUMBERS))
        case "decimal":
            return st.sampled_from(NUMBERS)
        case "boolean":
            return st.booleans()
        case "timestamp":
            return st.sampled_from((AT, AT - DAY, AT - HOUR)).map(format_instant)
        case _:
            return st.sampled_from(TEXTS)


def edges(rules: Iterable[Segment], at: int) -> list[int]:
    """The instants at which something may change for ``rules`` seen from ``at``."""
    found = {0, at, at + 1, at - 1, at - 7 * DAY, at + HOUR}
    for window in _windows(rules):
        if isinstance(window, Span):
            for edge in (window.start, window.end or at):
                found |= {edge - 1, edge, edge + 1}
        if isinstance(window, Period):
            for edge in _period_edges(window, at):
                found |= {edge - 1, edge, edge + 1}
        if isinstance(window, Within):
            tail = at - window.length
            first = tail // window.hop * window.hop
            for edge in (tail, first, first + window.hop):
                found |= {edge - 1, edge, edge + 1}
    return sorted(instant for instant in found if instant >= 0)


def _period_edges(period: Period, at: int) -> Iterator[int]:
    edge = period_start(period.name, period.zone, at)
    for _ in range(2):
        yield edge
        edge = period_start(period.name, period.zone, edge - 1)


def _windows(rules: Iterable[Segment]) -> Iterator[Window]:
    for rule in rules:
        stack: list[Condition] = [rule.condition]
        while stack:
            match stack.pop():
                case AllOf(parts) | AnyOf(parts):
                    stack += parts
                case Not(part):
                    stack.append(part)
                case Compare(Measure(window=window)):
                    yield window
                case Sequence(steps, window):
                    yield window
                    for step in steps:
                        if step.within is not None:
                            yield Within(step.within, SECOND)


@st.composite
def histories(
    draw: DrawFn,
    catalog: Catalog = CATALOG,
    rules: AnySequence[Segment] = (),
    at: int = AT,
    max_size: int = 25,
) -> list[dict[str, Any]]:
    """Events, traits, aliases and deletions as JSON objects, in any order, with repeats.

    Decimals stand as Decimal: write them with `to_lines`.
    """
    instants = st.sampled_from(edges(rules, at))
    users = st.sampled_from(USERS[: draw(st.integers(1, len(USERS)))])
    used = sorted({event for event in _events(rules) if event in catalog.events})
    types = st.sampled_from(used * 4 + sorted(catalog.events) + ["unheard_of"])

    @st.composite
    def facts(draw: DrawFn) -> dict[str, Any]:
        shape = draw(st.integers(0, 19))
        stamp = draw(instants)
        ts: Any = draw(st.sampled_from((stamp, format_instant(stamp))))
        user = draw(users)
        event_id = f"e{draw(st.integers(0, 40))}"
        if shape == 0:
            return {"type": "delete", "user_id": user, "ts": ts}
        if shape in (1, 2):
            return {"type": "alias", "from": draw(users), "to": user, "ts": ts}
        if shape < 7:
            traits = draw(_fields(catalog.traits, at))
            line = {"type": "traits", "user_id": user, "ts": ts, "traits": traits}
            return {**line, "event_id": event_id} if draw(st.booleans()) else line
        kind = draw(types)
        known = catalog.events.get(kind, EventType()).properties
        properties = draw(_fields(known, at))
        line = {"event_id": event_id, "user_id": user, "type": kind, "ts": ts}
        return {**line, "properties": properties}

    # Left alone, lists stay short; shrinking still finds the shortest.
    least = draw(st.sampled_from((0, max_size // 3, max_size * 2 // 3)))
    history = draw(st.lists(facts(), min_size=least, max_size=max_size))
    repeated = draw(st.lists(st.sampled_from(history), max_size=3)) if history else []
    return history + repeated


def _events(rules: Iterable[Segment]) -> Iterator[str]:
    for rule in rules:
        stack: list[Condition] = [rule.condition]
        while stack:
            match stack.pop():
                case AllOf(parts) | AnyOf(parts):
                    stack += parts
                case Not(part):
                    stack.append(part)
                case Compare(Measure(event=event)):
                    yield event
                case Sequence(steps):
                    yield from (step.event for step in steps)


@st.composite
def _fields(draw: DrawFn, fields: Mapping[str, Field], at: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in fields.items():
        presence = draw(st.integers(0, 7))
        if presence == 0:
            found[name] = None
        elif presence > 2:
            found[name] = draw(_values(field.type, at))
    if fields is CATALOG.traits and draw(st.integers(0, 2)) == 0:
        found[LIST + draw(st.sampled_from(LISTS))] = draw(st.sampled_from((True, True, None)))
    if draw(st.integers(0, 9)) == 0:
        found["unheard_of"] = draw(st.sampled_from(({"a": [1, 2.5]}, "x", None, Decimal("1.10"))))
    return found


def _values(kind: FieldType, at: int) -> SearchStrategy[Any]:
    match kind:
        case "integer":
            return st.sampled_from(INTEGERS).map(int)
        case "decimal":
            return st.one_of(st.sampled_from(NUMBERS), st.sampled_from((0, 1, 10, -7)))
        case "boolean":
            return st.booleans()
        case "timestamp":
            near = [at + sign * length for length in LENGTHS for sign in (-1, 1)]
            instants = st.sampled_from([at, *near]).flatmap(
                lambda instant: st.sampled_from((instant - 1, instant, instant + 1))
            )
            return st.one_of(instants, instants.map(format_instant), st.just("2026-03-14"))
        case "array<string>":
            return st.lists(st.sampled_from(TEXTS), max_size=3)
        case _:
            return st.sampled_from(TEXTS)


GARBAGE = [
    b"{",
    b"[]",
    b"\xff",
    b'{"type":"login"}',
    b'{"event_id":"g1","user_id":7,"type":"login","ts":1}',
    b'{"event_id":"g2","user_id":"u1","type":"login","ts":"2026-03-15"}',
    b'{"event_id":"g3","user_id":"u1","type":"login","ts":-1}',
    b'{"event_id":"g4","user_id":"u1\\u0000","type":"login","ts":1}',
    b'{"event_id":"g5","user_id":"u1","type":"purchase","ts":1,"properties":{"amount":"10"}}',
    b'{"event_id":"g6","user_id":"u1","type":"purchase","ts":1,"properties":{"items":3.0}}',
    b'{"event_id":"g7","user_id":"u1","type":"purchase","ts":1,"properties":{"amount":1e11}}',
    b'{"event_id":"g8","user_id":"u1","type":"purchase","ts":1,"properties":{"amount":-1e12}}',
    b'{"user_id":"u1","type":"traits","ts":1,"traits":{"score":99999999999.99995}}',
    b'{"event_id":"g9","user_id":"u1","type":"purchase","ts":1,"properties":{"gift":1}}',
    b'{"user_id":"u1","type":"traits","ts":1,"traits":{"age":true}}',
    b'{"user_id":"u1","type":"traits","ts":1,"traits":{"tags":["a",null]}}',
]
"""Lines that every door refuses (some only where the catalog above is in force)."""


def to_lines(history: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """One line of JSON each, decimals with exactly their digits."""
    return [_json(line).encode() for line in history]


def _json(value: Any) -> str:
    match value:
        case Decimal():
            return str(value)
        case dict():
            return "{" + ",".join(f"{json.dumps(k)}:{_json(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ",".join(map(_json, value)) + "]"
        case _:
            return json.dumps(value)


def _renamed(segment: Segment, name: str) -> Segment:
    return dataclasses.replace(segment, id=name)
