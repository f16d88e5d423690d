"""Models as canonical YAML: one text for one meaning, whatever the author's formatting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias, assert_never

from headrace.clock import format_instant
from headrace.rules.catalog import Catalog, Computed, Field
from headrace.rules.conditions import DID, HEADS
from headrace.rules.durations import format_duration
from headrace.rules.metadata import API_VERSION
from headrace.rules.model import (
    COUNTING,
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
    Property,
    Sample,
    Scalar,
    Segment,
    Sequence,
    Span,
    Stay,
    Step,
    Trait,
    Trial,
    Value,
    Window,
    Within,
    default_hop,
)

WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Bare:
    """Text that is printed as it is: lengths of time and instants."""

    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """Printable lines that are printed below each other, below a ``|``."""

    text: str


Tree: TypeAlias = "str | Decimal | bool | Bare | Block | list[Tree] | dict[str, Tree] | None"

# Texts that need no quotes here nor in any other YAML reader.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*( [A-Za-z0-9_./@+-]+)*")
_MISREAD = re.compile(r"(?i)true|false|yes|no|on|off|y|n|null")


def print_segment(segment: Segment) -> str:
    """Canonical YAML of ``segment``, its tests included; parsing it gives ``segment`` back."""
    tree = _segment(segment)
    if segment.tests:
        tree["tests"] = [_trial(trial) for trial in segment.tests]
    return _document(tree)


def print_rule(segment: Segment) -> str:
    """As `print_segment`, without the tests: what a stored version holds."""
    return _document(_segment(segment))


def print_catalog(catalog: Catalog) -> str:
    """Canonical YAML of ``catalog``; the order of names is kept."""
    tree: dict[str, Tree] = {"apiVersion": API_VERSION, "kind": "Catalog"}
    tree["modes"] = {
        "events": catalog.events_mode,
        "properties": catalog.properties_mode,
    }
    events: dict[str, Tree] = {}
    for name, event in catalog.events.items():
        body: dict[str, Tree] = {"description": event.description} if event.description else {}
        if event.publish:
            body["publish"] = True
        if event.properties or not body:
            body["properties"] = _fields(event.properties)
        events[name] = body
    tree["events"] = events
    traits = {name: _field(field) for name, field in catalog.traits.items()}
    tree["traits"] = traits | {name: _computed(one) for name, one in catalog.computed.items()}
    return _document(tree)


def _fields(fields: Mapping[str, Field]) -> Tree:
    return {name: _field(field) for name, field in fields.items()}


def _computed(one: Computed) -> Tree:
    tree = _measured(one.measure)
    return tree | {"description": one.description} if one.description else tree


def _field(field: Field) -> Tree:
    tree: dict[str, Tree] = {"type": field.type}
    if field.unit:
        tree["unit"] = field.unit
    if field.pii:
        tree["pii"] = True
    if field.description:
        tree["description"] = field.description
    return tree


def _segment(segment: Segment) -> dict[str, Tree]:
    metadata: dict[str, Tree] = {"id": segment.id}
    for key in ("name", "owner", "description"):
        text = getattr(segment, key)
        if text:
            metadata[key] = text
    if segment.tags:
        metadata["tags"] = list(segment.tags)
    spec: dict[str, Tree] = (
        {"sql": Block(segment.sql)} if segment.sql else {"match": condition_tree(segment.condition)}
    )
    if segment.timezone != "UTC":
        spec["timezone"] = segment.timezone
    if segment.refresh != "continuous":
        spec["refresh"] = segment.refresh
    if segment.stay is not None:
        spec["stay"] = stay_tree(segment.stay)
    return {
        "apiVersion": API_VERSION,
        "kind": "Segment",
        "metadata": metadata,
        "spec": spec,
    }


def stay_tree(stay: Stay) -> dict[str, Tree]:
    """``stay`` as keys and values."""
    tree: dict[str, Tree] = {}
    if stay.exit_when is not None:
        tree["exit_when"] = condition_tree(stay.exit_when)
    for key, length in (("min_dwell", stay.min_dwell), ("cooldown", stay.cooldown)):
        if length:
            tree[key] = Bare(format_duration(length))
    return tree


def print_stay(stay: Stay) -> str:
    """``stay`` on one line."""
    return _flow(stay_tree(stay))


def print_condition(condition: Condition) -> str:
    """``condition`` on one line."""
    return _flow(condition_tree(condition))


def condition_tree(condition: Condition) -> dict[str, Tree]:
    """``condition`` as keys and values."""
    match condition:
        case AllOf(parts):
            return {"all": [condition_tree(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [condition_tree(part) for part in parts]}
        case Not(AnyOf(parts)):
            return {"none": [condition_tree(part) for part in parts]}
        case Not(part):
            return {"not": condition_tree(part)}
        case InSegment(segment):
            return {"segment": segment}
        case Sample(percent, salt):
            return {"sample": {"percent": percent, **({"salt": salt} if salt else {})}}
        case InList(name):
            return {"list": name}
        case Sequence(steps, window):
            return {"sequence": [_step(step) for step in steps], **_window(window)}
        case Compare(subject, operator, value):
            match subject:
                case Trait(name):
                    return {"trait": name, operator: _value(value)}
                case Property(name):
                    return {"property": name, operator: _value(value)}
                case Measure():
                    return _measure(subject, operator, value)
                case _:
                    assert_never(subject)
        case _:
            assert_never(condition)


def _measure(measure: Measure, operator: str, value: Value) -> dict[str, Tree]:
    tree: dict[str, Tree] = {}
    did = None
    if measure.function == "count" and isinstance(value, Decimal):
        did = next((name for name, held in DID.items() if held == (operator, value)), None)
    if did is not None:
        tree[did] = measure.event
        if measure.where is not None:
            tree["where"] = _where(measure.where)
        return tree | _window(measure.window)
    return {**_measured(measure), operator: _value(value)}


def _measured(measure: Measure) -> dict[str, Tree]:
    tree: dict[str, Tree] = {"event": measure.event}
    tree[measure.function] = True if measure.function in COUNTING else measure.field
    if measure.where is not None:
        tree["where"] = _where(measure.where)
    return tree | _window(measure.window)


def _step(step: Step) -> dict[str, Tree]:
    tree: dict[str, Tree] = {"not" if step.forbidden else "event": step.event}
    if step.where is not None:
        tree["where"] = _where(step.where)
    if step.within is not None:
        tree["within"] = Bare(format_duration(step.within))
    return tree


def _window(window: Window) -> dict[str, Tree]:
    match window:
        case Within(length, hop):
            tree: dict[str, Tree] = {"within": Bare(format_duration(length))}
            if hop != default_hop(length):
                tree["resolution"] = Bare(format_duration(hop))
            return tree
        case Span(start, None):
            return {"since": Bare(format_instant(start))}
        case Span(start, int(end)):
            return {"between": [Bare(format_instant(one)) for one in (start, end)]}
        case Period(name, _):
            return {"period": name}
        case Ever():
            return {}
        case _:
            raise AssertionError(window)


def _where(condition: Condition) -> dict[str, Tree]:
    """The equality map where it says the same, else logic over properties."""
    parts = condition.parts if isinstance(condition, AllOf) else (condition,)
    equalities: dict[str, Tree] = {}
    for part in parts:
        match part:
            case Compare(Property(name), "eq", value) if not isinstance(value, (tuple, Ago)):
                equalities[name] = _value(value)
    alone = isinstance(condition, AllOf) and len(parts) == 1  # {a: 1} reads without an AllOf
    if len(equalities) < len(parts) or alone or {*HEADS, "property"} & equalities.keys():
        return condition_tree(condition)
    return equalities


def _value(value: Value) -> Tree:
    if isinstance(value, tuple):
        return [_scalar(item) for item in value]
    return _scalar(value)


def _scalar(value: Scalar) -> Tree:
    if isinstance(value, Ago):
        sign = "+" if value.length < 0 else "-"
        return Bare(sign + format_duration(abs(value.length)))
    return value


def _trial(trial: Trial) -> Tree:
    events: list[Tree] = []
    for event in trial.events:
        tree: dict[str, Tree] = {
            "user": event.user,
            "ts": Bare(format_instant(event.ts)),
            "type": event.type,
        }
        if event.id:
            tree["id"] = event.id
        for key, value in event.fields:
            tree[key] = list(value) if isinstance(value, tuple) else value
        events.append(tree)
    expect: list[Tree] = [
        {"user": held.user, "at": Bare(format_instant(held.at)), "member": held.member}
        for held in trial.expect
    ]
    return {"name": trial.name, "events": events, "expect": expect}


def _document(tree: dict[str, Tree]) -> str:
    return "".join(line + "\n" for line in _block(tree, 0))


def _block(tree: Tree, indent: int) -> list[str]:
    """Lines of ``tree``; short collections stay on one line."""
    pad = " " * indent
    lines: list[str] = []
    match tree:
        case dict():
            for key, value in tree.items():
                head = f"{pad}{_text(key)}:"
                if isinstance(value, Block):
                    lines += [f"{head} |-", *(f"{pad}  {line}" for line in value.text.split("\n"))]
                    continue
                flow = _flow(value)
                if _is_short(value) and len(head) + 1 + len(flow) <= WIDTH:
                    lines.append(f"{head} {flow}")
                else:
                    lines += [head, *_block(value, indent + 2)]
        case list():
            for item in tree:
                flow = _flow(item)
                if _is_short(item) and indent + 2 + len(flow) <= WIDTH:
                    lines.append(f"{pad}- {flow}")
                else:
                    first, *others = _block(item, indent + 2)
                    lines += [f"{pad}- {first[indent + 2 :]}", *others]
        case _:
            lines.append(pad + _flow(tree))
    return lines


def _is_short(tree: Tree) -> bool:
    """May stand on one line: no list of mappings inside, one mapping inside at most."""
    match tree:
        case dict():
            inner = [value for value in tree.values() if isinstance(value, dict) and value]
            flat = not any(isinstance(v, dict) for held in inner for v in held.values())
            lists = [value for value in tree.values() if isinstance(value, list)]
            short = all(map(_is_short, inner)) and all(map(_is_short, lists))
            has_block = any(isinstance(value, Block) for value in tree.values())
            return len(inner) <= 1 and flat and short and not has_block
        case list():
            return not any(isinstance(item, (dict, list)) for item in tree)
        case _:
            return True


def _flow(tree: Tree) -> str:
    match tree:
        case dict():
            return "{" + ", ".join(f"{_text(k)}: {_flow(v)}" for k, v in tree.items()) + "}"
        case list():
            return "[" + ", ".join(map(_flow, tree)) + "]"
        case bool():
            return "true" if tree else "false"
        case None:
            return "null"
        case Bare(text):
            return text
        case Decimal():
            return print_number(tree)
        case str() | Block():
            return _text(tree if isinstance(tree, str) else tree.text)
        case _:
            assert_never(tree)


def print_number(number: Decimal) -> str:
    """Plain notation without trailing zeros: equal numbers print alike."""
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _text(text: str) -> str:
    if len(text) < WIDTH and _PLAIN.fullmatch(text) and not _MISREAD.fullmatch(text):
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
