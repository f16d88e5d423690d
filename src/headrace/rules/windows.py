"""Windows as written -> windows of the model."""

from __future__ import annotations

from typing import Final, get_args

from headrace.clock import parse_instant
from headrace.rules.durations import parse_duration
from headrace.rules.model import (
    DAY,
    SECOND,
    Ever,
    Period,
    PeriodName,
    Span,
    Window,
    Within,
    default_hop,
)
from headrace.rules.nodes import Entry, Mapping, Node, Scalar, Sequence
from headrace.rules.reading import Reading, described
from headrace.rules.source import Path, did_you_mean

WINDOWS: Final = ("within", "since", "period", "resolution")
"""Keys that say which events count; ``between`` is one too where it has two instants."""

PERIODS: Final[tuple[PeriodName, ...]] = get_args(PeriodName)


def read_window(reading: Reading, mapping: Mapping, path: Path) -> Window:
    """The window that ``mapping`` names; Ever when it names none, or a broken one."""
    found = [e for e in mapping if e.key in ("within", "since", "period") or is_span(e, mapping)]
    resolution = mapping.get("resolution")
    if len(found) > 1:
        names = " and ".join(repr(entry.key) for entry in found)
        message = f"one window a condition, not {names}"
        reading.problem("HR114", message, found[1].place, "between: [START, END] has both ends")
        return Ever()
    if found:
        reading.places[path] = found[0].value.place
    if resolution is not None and (not found or found[0].key != "within"):
        message = "'resolution' needs a window: nothing leaves without 'within'"
        reading.problem("HR112", message, resolution.place)
    if not found:
        return Ever()
    match found[0].key:
        case "within":
            return _within(reading, found[0].value, resolution)
        case "period":
            return _period(reading, found[0].value)
        case key:
            return _span(reading, key, found[0].value)


def is_span(entry: Entry, mapping: Mapping) -> bool:
    """Is this `between` a window? Of two instants it is, of two numbers a comparison."""
    node = entry.value
    if entry.key != "between" or not isinstance(node, Sequence) or not node.items:
        return False
    if not all(isinstance(i, Scalar) and isinstance(i.value, str) for i in node.items):
        return False
    if any(other.key in ("first", "last") for other in mapping):  # these compare texts too
        return all(isinstance(i, Scalar) and _is_instant(i.text) for i in node.items)
    return True


def read_duration(reading: Reading, node: Node, what: str) -> int | None:
    """A length of time in ms, longer than nothing."""
    text = reading.text(node, f"{what!r}")
    if text is None:
        return None
    try:
        length = parse_duration(text)
    except ValueError as error:
        hint = did_you_mean(text, (f"{text} days",)) if text.isdigit() else ""
        reading.problem("HR112", f"{what!r}: {error}", node.place, hint)
        return None
    if length == 0:
        reading.problem("HR112", f"{what!r} must be longer than nothing", node.place)
        return None
    return length


def _is_instant(text: str) -> bool:
    try:
        return parse_instant(text) is not None
    except ValueError:
        return False


def _within(reading: Reading, node: Node, resolution: Node | None) -> Window:
    length = read_duration(reading, node, "within")
    hop = read_duration(reading, resolution, "resolution") if resolution is not None else None
    if resolution is not None and hop is not None and (hop < SECOND or DAY % hop):
        message = f"'resolution' must divide a day, {described(resolution)} does not"
        reading.problem("HR112", message, resolution.place)
        return Ever()
    return Within(length, hop or default_hop(length)) if length else Ever()


def _period(reading: Reading, node: Node) -> Window:
    text = reading.text(node, "'period'")
    if text is None:
        return Ever()
    found = next((name for name in PERIODS if name == text), None)
    if found is None:
        message = f"'period' is one of {', '.join(PERIODS)}, not {text!r}"
        reading.problem("HR112", message, node.place, did_you_mean(text, PERIODS))
        return Ever()
    return Period(found, reading.zone)


def _span(reading: Reading, key: str, node: Node) -> Window:
    items = node.items if isinstance(node, Sequence) else (node,)
    if key == "between" and len(items) != 2:
        message = f"'between' takes two instants, start and end, not {len(items)}"
        reading.problem("HR113", message, node.place)
        return Ever()
    ends: list[int] = []
    for item in items:
        text = reading.text(item, f"{key!r}")
        if text is None:
            return Ever()
        try:
            ends.append(parse_instant(text))
        except ValueError as error:
            reading.problem("HR112", f"{key!r}: {error}", item.place, "or a bare date, 2026-01-31")
            return Ever()
    if len(ends) == 2 and ends[0] >= ends[1]:
        message = "'between' ends before it starts: no event can lie in it"
        reading.problem("HR112", message, node.place, "write the earlier instant first")
        return Ever()
    return Span(*ends)
