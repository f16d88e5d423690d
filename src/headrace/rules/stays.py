"""``spec.stay`` as written: hysteresis of a segment."""

from __future__ import annotations

from headrace.rules.conditions import read_condition
from headrace.rules.model import Stay
from headrace.rules.nodes import Node
from headrace.rules.reading import Reading
from headrace.rules.windows import read_duration


def read_stay(reading: Reading, node: Node) -> Stay | None:
    """The stay that ``node`` spells; None when it is none."""
    mapping = reading.mapping(node, "'stay'")
    if mapping is None:
        return None
    reading.known_keys(mapping, ("exit_when", "min_dwell", "cooldown"), "'stay'")
    if not mapping.entries:
        reading.problem("HR121", "'stay' says nothing", node.place, "for example min_dwell: 1 hour")
        return None
    lengths = {}
    for key in ("min_dwell", "cooldown"):
        given = mapping.get(key)
        lengths[key] = (read_duration(reading, given, key) or 0) if given is not None else 0
    leaving = mapping.get("exit_when")
    condition = read_condition(reading, leaving, ("exit_when",)) if leaving is not None else None
    return Stay(exit_when=condition, **lengths)
