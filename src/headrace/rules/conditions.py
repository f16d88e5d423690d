"""Conditions as written -> conditions of the model.

Each form is recognised by its head key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence as AnySequence
from decimal import Decimal
from typing import Final, Protocol, get_args

from headrace.rules.durations import parse_duration
from headrace.rules.model import (
    COUNTING,
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Function,
    InList,
    InSegment,
    Measure,
    Not,
    Operator,
    Property,
    Sample,
    Trait,
    Value,
    Window,
)
from headrace.rules.nodes import Mapping, Node, Scalar, Sequence
from headrace.rules.reading import Reading, described
from headrace.rules.sequences import read_sequence
from headrace.rules.source import Path, did_you_mean
from headrace.rules.windows import WINDOWS, is_span, read_window

DEEPEST = 64
MOST_NODES = 500

LOGIC: Final = ("all", "any", "none", "not")
OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)
FUNCTIONS: Final[tuple[Function, ...]] = get_args(Function)
MEASURE_KEYS: Final = ("event", *FUNCTIONS, "where", *WINDOWS, "between")
HEADS: Final = (
    *LOGIC, "did", "did_not", "event", "trait", "segment", "list", "sample", "sequence",
)  # fmt: skip

DID: Final[AnyMapping[str, tuple[Operator, Decimal]]] = {
    "did": ("gte", Decimal(1)),
    "did_not": ("eq", Decimal(0)),
}

LIST_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")

_TAKES_LIST: Final = ("in", "not_in", "contains_any", "contains_all")
_PLACEHOLDER: Final[tuple[Operator, Value]] = ("exists", True)
"""Stands for a broken comparison, so that the names beside it are still checked."""


class _Read(Protocol):
    """`read_condition` or `read_filter`: logic is the same around both."""

    def __call__(
        self, reading: Reading, node: Node, path: Path, depth: int = 1
    ) -> Condition | None: ...


def read_condition(reading: Reading, node: Node, path: Path, depth: int = 1) -> Condition | None:
    """The condition that ``node`` spells, or None when nothing of it is usable."""
    form = _form(reading, node, path, depth, HEADS, "a condition")
    if form is None:
        return None
    mapping, head = form
    match head:
        case "all" | "any" | "none" | "not":
            return _logic(reading, mapping, head, path, depth, read_condition)
        case "trait":
            return _trait(reading, mapping, path)
        case "did" | "did_not":
            return _did(reading, mapping, head, path)
        case "segment":
            return _segment(reading, mapping, path)
        case "list":
            return _list(reading, mapping, path)
        case "sample":
            return _sample(reading, mapping, path)
        case "sequence":
            return read_sequence(reading, mapping, path, read_filter)
        case _:
            return _event(reading, mapping, path)


def read_filter(reading: Reading, node: Node, path: Path, depth: int = 1) -> Condition | None:
    """A ``where``: an equality map, or the same logic over ``property``."""
    heads = (*LOGIC, "property")
    if depth == 1 and isinstance(node, Mapping) and not any(e.key in heads for e in node):
        return _equalities(reading, node, path)
    form = _form(reading, node, path, depth, heads, "a filter")
    if form is None:
        return None
    mapping, head = form
    if head != "property":
        return _logic(reading, mapping, head, path, depth, read_filter)
    name = _name(reading, mapping, "property", path + ("property",))
    reading.known_keys(mapping, ("property", *OPERATORS), "a filter")
    operator, value = _comparison(reading, mapping, path, "property")
    return Compare(Property(name), operator, value) if name is not None else None


def _form(
    reading: Reading,
    node: Node,
    path: Path,
    depth: int,
    heads: AnySequence[str],
    what: str,
) -> tuple[Mapping, str] | None:
    """The mapping and its one head key; counts nodes and depth on the way."""
    reading.places[path] = node.place
    reading.nodes += 1
    if reading.nodes > MOST_NODES:
        if reading.nodes == MOST_NODES + 1:
            message = f"more than {MOST_NODES} conditions in one rule"
            reading.problem("HR116", message, node.place)
        return None
    if depth > DEEPEST + 1:  # 64 levels of logic around a comparison
        reading.problem("HR116", f"conditions nested more than {DEEPEST} deep", node.place)
        return None
    if isinstance(node, Sequence):
        message = f"{what} must be a mapping, not a list"
        reading.problem("HR107", message, node.place, "put the list under all: or any:")
        return None
    mapping = reading.mapping(node, what)
    if mapping is None:
        return None
    found = [entry for entry in mapping if entry.key in heads]
    if len(found) == 1:
        return mapping, found[0].key
    if len(found) > 1:
        names = " and ".join(repr(entry.key) for entry in found)
        hint = "put each under one all: or any:"
        reading.problem("HR114", f"{what} has one form, not {names}", found[1].place, hint)
        return None
    hint = next((near for e in mapping if (near := did_you_mean(e.key, heads))), "")
    expected = ", ".join(heads)
    reading.problem("HR114", f"{what} needs one of {expected}", mapping.place, hint)
    return None


def _logic(
    reading: Reading,
    mapping: Mapping,
    head: str,
    path: Path,
    depth: int,
    read: _Read,
) -> Condition | None:
    reading.known_keys(mapping, (head,), f"{head!r}")
    node = mapping.get(head)
    assert node is not None
    if head == "not":
        part = read(reading, node, path + (0,), depth + 1)
        return Not(part) if part is not None else None
    items = reading.sequence(node, f"{head!r}")
    if items is None:
        return None
    if not items.items:
        reading.problem("HR107", f"{head!r} needs at least one condition", items.place)
        return None
    inner = path + (0,) if head == "none" else path
    reading.places[inner] = items.place if head == "none" else mapping.place
    parts: list[Condition] = []
    for item in items.items:
        here = inner + (len(parts),)
        part = read(reading, item, here, depth + 1)
        if part is None:
            reading.forget(here)
        else:
            parts.append(part)
    if not parts:
        return None
    match head:
        case "all":
            return AllOf(tuple(parts))
        case "any":
            return AnyOf(tuple(parts))
        case _:
            return Not(AnyOf(tuple(parts)))


def _equalities(reading: Reading, node: Mapping, path: Path) -> Condition | None:
    """``{page: /pricing, device: ios}``: every property equals its constant."""
    reading.places[path] = node.place
    if not node.entries:
        reading.problem("HR107", "'where' needs at least one property", node.place)
        return None
    parts: list[Condition] = []
    for entry in node:
        reading.nodes += 1
        # One equality stands alone in the model, without an AllOf around it.
        here = path + (len(parts),) if len(node.entries) > 1 else path
        reading.places[here + ("property",)] = entry.place
        reading.places[here + ("operator",)] = entry.place
        reading.places[here + ("value",)] = entry.value.place
        if isinstance(entry.value, Scalar):
            value = reading.literal(entry.value, f"the value of {entry.key!r}")
        else:
            hint = f"write {{property: {entry.key}, in: [..]}}"
            message = f"{entry.key!r} must equal one value, not {described(entry.value)}"
            reading.problem("HR107", message, entry.value.place, hint)
            value = None
        if value is None:
            parts.append(Compare(Property(entry.key), *_PLACEHOLDER))
        else:
            parts.append(Compare(Property(entry.key), "eq", value))
    if reading.nodes > MOST_NODES:
        message = f"more than {MOST_NODES} conditions in one rule"
        reading.problem("HR116", message, node.place)
        return None
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _name(reading: Reading, mapping: Mapping, key: str, path: Path) -> str | None:
    node = mapping.get(key)
    assert node is not None
    reading.places[path] = node.place
    return reading.text(node, f"{key!r}")


def _trait(reading: Reading, mapping: Mapping, path: Path) -> Condition | None:
    name = _name(reading, mapping, "trait", path + ("trait",))
    reading.known_keys(mapping, ("trait", *OPERATORS), "a trait condition")
    operator, value = _comparison(reading, mapping, path, "trait")
    return Compare(Trait(name), operator, value) if name is not None else None


def _segment(reading: Reading, mapping: Mapping, path: Path) -> Condition | None:
    name = _name(reading, mapping, "segment", path + ("segment",))
    reading.known_keys(mapping, ("segment",), "a segment condition")
    return InSegment(name) if name is not None else None


def _list(reading: Reading, mapping: Mapping, path: Path) -> Condition | None:
    name = _name(reading, mapping, "list", path + ("list",))
    reading.known_keys(mapping, ("list",), "a list condition")
    if name is None:
        return None
    if not LIST_NAME.fullmatch(name):
        message = f"a list is named with A to Z, 0 to 9, _ and -, not {name!r}"
        reading.problem("HR111", message, reading.places[path + ("list",)])
        return None
    return InList(name)


def _sample(reading: Reading, mapping: Mapping, path: Path) -> Condition | None:
    reading.known_keys(mapping, ("sample",), "a sample")
    node = mapping.get("sample")
    assert node is not None
    inner = reading.mapping(node, "'sample'")
    if inner is None:
        return None
    reading.known_keys(inner, ("percent", "salt"), "'sample'")
    percent, salt = reading.required(inner, "percent", "'sample'"), inner.get("salt")
    text = reading.text(salt, "'salt'") if salt is not None else ""
    if percent is None or text is None:
        return None
    reading.places[path + ("percent",)] = percent.place
    value = reading.literal(percent, "'percent'")
    if value is None:
        return None
    if not isinstance(value, Decimal) or not 0 < value <= 100 or value * 100 % 1:
        message = f"'percent' is a number up to 100 of at most two places, not {described(percent)}"
        reading.problem("HR119", message, percent.place, "for example percent: 10")
        return None
    return Sample(value, text)


def _did(reading: Reading, mapping: Mapping, head: str, path: Path) -> Condition | None:
    event = _name(reading, mapping, head, path + ("event",))
    reading.known_keys(mapping, (head, "where", *WINDOWS, "between"), f"{head!r}")
    for entry in mapping:
        if entry.key == "between" and not is_span(entry, mapping):
            message = f"'between' takes two instants here: {head!r} is a comparison already"
            reading.problem("HR113", message, entry.value.place)
    where, window = _where_and_window(reading, mapping, path)
    if event is None:
        return None
    operator, constant = DID[head]
    return Compare(Measure("count", event, None, where, window), operator, constant)


def _event(reading: Reading, mapping: Mapping, path: Path) -> Condition | None:
    event = _name(reading, mapping, "event", path + ("event",))
    keys = ("event", *FUNCTIONS, "where", *WINDOWS, *OPERATORS)
    reading.known_keys(mapping, keys, "an event condition")
    function, field = _function(reading, mapping, path)
    where, window = _where_and_window(reading, mapping, path)
    compared = Mapping(tuple(e for e in mapping if not is_span(e, mapping)), mapping.place)
    operator, value = _comparison(reading, compared, path, "measure")
    if event is None or function is None:
        return None
    zone = reading.zone if function == "days_active" else "UTC"
    return Compare(Measure(function, event, field, where, window, zone), operator, value)


def read_measure(reading: Reading, mapping: Mapping, path: Path) -> Measure | None:
    """What an event condition measures, written without a comparison."""
    event = _name(reading, mapping, "event", path + ("event",))
    function, field = _function(reading, mapping, path)
    for entry in mapping:
        if entry.key == "between" and not is_span(entry, mapping):
            message = "'between' takes two instants here: nothing is compared"
            reading.problem("HR113", message, entry.value.place)
    where, window = _where_and_window(reading, mapping, path)
    if event is None or function is None:
        return None
    return Measure(function, event, field, where, window)


def _function(reading: Reading, mapping: Mapping, path: Path) -> tuple[Function | None, str | None]:
    found = [entry for entry in mapping if entry.key in FUNCTIONS]
    if len(found) != 1:
        if found:
            names = " and ".join(repr(entry.key) for entry in found)
            message = f"one function a condition, not {names}"
            reading.problem("HR114", message, found[1].place, "put each under one all:")
        else:
            expected = ", ".join(
                f"{name}: {'true' if name in COUNTING else 'FIELD'}" for name in FUNCTIONS
            )
            hint = "" if mapping.get("between") else "or write did: for 'at least once'"
            message = f"an event condition needs a function: {expected}"
            reading.problem("HR109", message, mapping.place, hint)
        return None, None
    name = next(name for name in FUNCTIONS if name == found[0].key)
    node = found[0].value
    reading.places[path + ("function",)] = found[0].place
    reading.places[path + ("field",)] = node.place
    if name in COUNTING:
        if not (isinstance(node, Scalar) and node.value is True):
            message = f"{name!r} takes true, not {described(node)}"
            what = "events" if name == "count" else "the days that have one"
            reading.problem("HR107", message, node.place, f"{name}: true counts {what}")
        return name, None
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        message = f"{name!r} takes the name of a property, not {described(node)}"
        reading.problem("HR107", message, node.place)
        return None, None
    field = reading.text(node, f"{name!r}")
    return (name, field) if field is not None else (None, None)


def _where_and_window(
    reading: Reading, mapping: Mapping, path: Path
) -> tuple[Condition | None, Window]:
    node = mapping.get("where")
    where = read_filter(reading, node, path + ("where",)) if node is not None else None
    return where, read_window(reading, mapping, path + ("window",))


def _comparison(
    reading: Reading, mapping: Mapping, path: Path, kind: str
) -> tuple[Operator, Value]:
    """The operator and constant. A broken one is noted and replaced by a placeholder."""
    found = [entry for entry in mapping if entry.key in OPERATORS]
    if len(found) != 1:
        if found:
            names = " and ".join(repr(entry.key) for entry in found)
            hint = "use between: [low, high], or put each under one all:"
            message = f"one comparison a condition, not {names}"
            reading.problem("HR115", message, found[1].place, hint)
        else:
            hint = "for example gte: 1" if kind == "measure" else "for example eq: VALUE"
            message = f"a {kind} condition needs a comparison"
            reading.problem("HR115", message, mapping.place, hint)
        return _PLACEHOLDER
    operator = next(name for name in OPERATORS if name == found[0].key)
    node = found[0].value
    reading.places[path + ("operator",)] = found[0].place
    reading.places[path + ("value",)] = node.place
    value = _value(reading, operator, node, path + ("value",))
    return (operator, value) if value is not None else _PLACEHOLDER


def _value(reading: Reading, operator: Operator, node: Node, path: Path) -> Value | None:
    if operator == "exists":
        return reading.boolean(node, "'exists'")
    if operator in ("before", "after"):
        return _instant_or_ago(reading, operator, node)
    if operator not in _TAKES_LIST and operator != "between":
        if isinstance(node, Sequence):
            hint = "use in:" if operator == "eq" else "use not_in:" if operator == "ne" else ""
            message = f"{operator!r} takes one value, not a list"
            reading.problem("HR113", message, node.place, hint)
            return None
        return reading.literal(node, f"{operator!r}")
    items = reading.sequence(node, f"{operator!r}")
    if items is None:
        return None
    if operator == "between" and len(items.items) != 2:
        message = f"'between' takes two values, low and high, not {len(items.items)}"
        reading.problem("HR113", message, items.place)
        return None
    if not items.items:
        reading.problem("HR113", f"{operator!r} needs at least one value", items.place)
        return None
    values = []
    for index, item in enumerate(items.items):
        reading.places[path + (index,)] = item.place
        values.append(reading.literal(item, f"a value of {operator!r}"))
    kept = tuple(value for value in values if value is not None)
    return kept if len(kept) == len(values) else None


def _instant_or_ago(reading: Reading, operator: Operator, node: Node) -> Value | None:
    value = reading.literal(node, f"{operator!r}")
    if not isinstance(value, str):
        return value
    sign = -1 if value.startswith("+") else 1
    try:
        length = parse_duration(value.lstrip("+-") if value[:1] in ("+", "-") else value)
    except ValueError:
        return value  # an instant; its catalogued type says whether it reads as one
    if value[:1] not in ("+", "-"):
        hint = f"did you mean '-{value}'?"
        message = f"{operator!r}: {value!r} is neither ago (-) nor ahead (+)"
        reading.problem("HR112", message, node.place, hint)
        return None
    return Ago(sign * length)
