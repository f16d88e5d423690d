"""Sequences as written -> sequences of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from headrace.rules.model import Condition, Step
from headrace.rules.model import Sequence as Steps
from headrace.rules.nodes import Mapping, Node
from headrace.rules.reading import Reading
from headrace.rules.source import Path
from headrace.rules.windows import WINDOWS, read_duration, read_window

MOST_STEPS: Final = 32

_ReadFilter: TypeAlias = Callable[[Reading, Node, Path], Condition | None]


def read_sequence(
    reading: Reading, mapping: Mapping, path: Path, read_filter: _ReadFilter
) -> Steps | None:
    """``{sequence: [..], within: ..}``; None when nothing of it is usable."""
    node = mapping.get("sequence")
    assert node is not None
    reading.known_keys(mapping, ("sequence", *WINDOWS, "between"), "a sequence")
    window = read_window(reading, mapping, (*path, "window"))
    items = reading.sequence(node, "'sequence'")
    if items is None:
        return None
    if not 1 <= len(items.items) <= MOST_STEPS:
        message = f"a sequence has 1 to {MOST_STEPS} steps, not {len(items.items)}"
        reading.problem("HR120", message, items.place)
        return None
    steps: list[Step] = []
    for number, item in enumerate(items.items):
        reading.nodes += 1
        step = _step(reading, item, (*path, "steps", number), read_filter)
        if step is None:
            return None
        steps.append(step)
    last = max((n for n, step in enumerate(steps) if not step.forbidden), default=-1)
    for number, (step, item) in enumerate(zip(steps, items.items, strict=True)):
        message, hint = _misplaced(step, is_first=number == 0, is_trailing=number > last)
        if message:
            reading.problem("HR120", message, item.place, hint)
            return None
    return Steps(tuple(steps), window)


def _step(reading: Reading, node: Node, path: Path, read_filter: _ReadFilter) -> Step | None:
    reading.places[path] = node.place
    mapping = reading.mapping(node, "a step")
    if mapping is None:
        return None
    reading.known_keys(mapping, ("event", "not", "where", "within"), "a step")
    heads = [entry for entry in mapping if entry.key in ("event", "not")]
    if len(heads) != 1:
        hint = "{event: E} must happen, {not: E} must not"
        reading.problem("HR120", "a step names one event", mapping.place, hint)
        return None
    event = reading.text(heads[0].value, f"{heads[0].key!r}")
    reading.places[(*path, "event")] = heads[0].value.place
    where, within = mapping.get("where"), mapping.get("within")
    condition = read_filter(reading, where, (*path, "where")) if where is not None else None
    gap = read_duration(reading, within, "within") if within is not None else None
    if event is None:
        return None
    return Step(event, condition, gap, forbidden=heads[0].key == "not")


def _misplaced(step: Step, *, is_first: bool, is_trailing: bool) -> tuple[str, str]:
    """What is wrong with a step at its place, and what to do about it."""
    if is_first and step.forbidden:
        return "a sequence starts with an event that happens", "put {event: ..} first"
    if is_first and step.within is not None:
        hint = "put within: beside sequence: for the window of all"
        return "the first step has no step before it to be near to", hint
    if step.forbidden and is_trailing and step.within is None:
        message = "a last 'not' needs to know how long nothing may happen"
        return message, f"{{not: {step.event}, within: 1 hour}}"
    if step.forbidden and not is_trailing and step.within is not None:
        hint = "put within: at the next step for the largest gap"
        return "a 'not' between two steps lasts from one to the other", hint
    return "", ""
