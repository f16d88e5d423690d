"""YAML inside SQL: ``condition('{..}')``, ``segment('..')``, ``list('..')`` and header values."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as AnySequence
from dataclasses import replace
from itertools import accumulate
from typing import Final, TypeAlias

from sqlglot import exp

from headrace.errors import Place, Problem
from headrace.rules.conditions import read_condition
from headrace.rules.model import Condition
from headrace.rules.nodes import Entry, Mapping, Node, Scalar, Sequence, read_node
from headrace.rules.reading import Reading
from headrace.rules.source import did_you_mean
from headrace.rules.sql.draft import Draft

SOURCES: Final = ("segment", "list", "condition")
MOST_SIGNS: Final = 3_000  # PyYAML reads some 20,000 a second

Moved: TypeAlias = Callable[[Place], Place]


def read_source(draft: Draft, node: exp.Anonymous | exp.List) -> Condition | None:
    """The users that ``segment('..')``, ``list('..')`` or ``condition('..')`` name."""
    name = "list" if isinstance(node, exp.List) else str(node.this).lower()
    if name not in SOURCES:
        message = f"{draft.written(node)!r} is no table"
        hint = did_you_mean(name, SOURCES) or f"one of {', '.join(SOURCES)}"
        draft.refuse("HR405", message, node, hint)
        return None
    arguments = node.expressions
    text = arguments[0] if len(arguments) == 1 else None
    if not isinstance(text, exp.Literal) or not text.is_string:
        draft.refuse("HR405", f"{name}() takes one text in single quotes", node)
        return None
    if name == "condition":
        node_inside = read_yaml(draft, str(text.this), _offsets(draft, text))
        return _read(draft, node_inside) if node_inside is not None else None
    place = draft.place_of(text)
    entry = Entry(name, draft.place_of(node), Scalar(str(text.this), False, place))
    return _read(draft, Mapping((entry,), place))


def signs_in(yaml: str) -> int:
    """How many collections, keys and values ``yaml`` may have at most."""
    return sum(map(yaml.count, "[{:,-?&*!"))


def relocated(node: Node, moved: Moved) -> Node:
    """``node`` and all inside of it, with their places in the file around."""
    place = moved(node.place)
    match node:
        case Scalar():
            return replace(node, place=place)
        case Sequence(items):
            return Sequence(tuple(relocated(item, moved) for item in items), place)
        case Mapping(entries):
            inside = (Entry(e.key, moved(e.place), relocated(e.value, moved)) for e in entries)
            return Mapping(tuple(inside), place)


def read_yaml(draft: Draft, text: str, offsets: AnySequence[int]) -> Node | None:
    """The YAML in ``text``, whose characters stand at ``offsets`` of the file."""
    draft.signs += signs_in(text)
    if draft.signs > MOST_SIGNS:
        message = f"more than {MOST_SIGNS:,} values and keys in YAML"
        draft.problem("HR400", message, draft.place(offsets[0]), "write the rule in a YAML file")
        return None
    problems: list[Problem] = []
    node = read_node(text, draft.file, problems)
    moved = _moved(draft, text, offsets)
    draft.problems += [replace(problem, place=moved(problem.place)) for problem in problems]
    return relocated(node, moved) if node is not None else None


def _moved(draft: Draft, text: str, offsets: AnySequence[int]) -> Moved:
    """Places in ``text`` -> places in the file."""
    lines = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]

    def moved(place: Place) -> Place:
        index = lines[min(place.line, len(lines)) - 1] + place.column - 1
        return draft.place(offsets[min(index, len(offsets) - 1)])

    return moved


def _offsets(draft: Draft, literal: exp.Expr) -> list[int]:
    """For each character of a text, and its end, where it stands in the file."""
    position, end = literal.meta["start"] + 1, literal.meta["end"]
    offsets = []
    while position < end:
        offsets.append(position)
        position += 2 if draft.text.startswith("''", position) else 1
    return [*offsets, end]


def _read(draft: Draft, node: Node) -> Condition | None:
    reading = Reading(draft.file, zone=draft.zone)
    condition = read_condition(reading, node, ())
    draft.problems += reading.problems
    if condition is not None:
        draft.stands(condition, reading.places)
    return condition
