"""Leaves of rules beside the values found, for people and for programs."""

from __future__ import annotations

from typing import Any

import orjson

from headrace.clock import format_instant
from headrace.rules.printer import print_condition, print_number
from headrace.rules.reference import Leaf


def as_text(leaf: Leaf) -> str:
    """``holds  {did: login}  found 3``."""
    mark = "holds" if leaf.holds else "fails"
    value = _shown(leaf)
    found = "missing" if value is None else orjson.dumps(value).decode()
    return f"{mark}  {print_condition(leaf.condition)}  found {found}"


def as_json(leaf: Leaf) -> dict[str, Any]:
    """Condition, value and verdict."""
    return {
        "condition": print_condition(leaf.condition),
        "value": _shown(leaf),
        "holds": leaf.holds,
    }


def _shown(leaf: Leaf) -> Any:
    """The value as JSON holds it; decimals stay exact as text."""
    if leaf.type == "decimal" and leaf.value is not None:
        return print_number(leaf.value)
    if leaf.type == "timestamp" and leaf.value is not None:
        return format_instant(leaf.value)
    return leaf.value
