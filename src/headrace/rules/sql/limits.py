"""How much one rule may say, counted as its YAML spelling is: what we read, YAML can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headrace.rules.conditions import DEEPEST, LOGIC, MOST_NODES
from headrace.rules.model import Segment, conditions_of
from headrace.rules.printer import Tree, condition_tree


def beyond(segment: Segment) -> str:
    """What of ``segment`` is too much for one rule; nothing when it fits."""
    depths = depths_of(segment)
    if max(depths) > DEEPEST + 1:  # 64 levels of logic around a comparison
        return f"conditions nested more than {DEEPEST} deep"
    return f"more than {MOST_NODES} conditions" if len(depths) > MOST_NODES else ""


def depths_of(segment: Segment) -> list[int]:
    """For each condition, filter and step of ``segment``, how deep it is nested."""
    return [depth for one in conditions_of(segment) for depth in _depths(condition_tree(one), 1)]


def _depths(tree: Tree, depth: int) -> Iterator[int]:
    """The depth of each condition, filter and step in ``tree``."""
    assert isinstance(tree, Mapping)
    where = tree.get("where")
    if isinstance(where, Mapping):
        is_logic = any(key in (*LOGIC, "property") for key in where)
        yield from _depths(where, 1) if is_logic else (1 for _ in where)
    yield depth
    for key in (*LOGIC, "sequence"):
        inside = tree.get(key)
        for part in inside if isinstance(inside, list) else [inside]:
            if isinstance(part, Mapping):
                yield from _depths(part, depth if key == "sequence" else depth + 1)
