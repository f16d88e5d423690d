"""Which fields of a message an event is made of: no others need to leave where they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

from headrace.rules.streams.model import (
    At,
    Computed,
    Constant,
    Converted,
    Expression,
    First,
    Joined,
    Lookup,
    Lower,
    Stream,
)

TOLD: Final = frozenset({"__op", "__ts", "__id"})
"""What is told of a change beside its row."""


def columns_of(stream: Stream) -> tuple[str, ...] | None:
    """The columns that ``stream`` reads of its rows, sorted; None for all of them."""
    expressions = [*stream.map.fields.values(), *stream.map.properties.values()]
    if stream.map.all_properties is not None:
        expressions.append(stream.map.all_properties)
    found = set(stream.key)
    for path in (at.path for expression in expressions for at in _paths(expression)):
        if not path or not isinstance(path[0], str):
            return None
        found.add(path[0])
    return tuple(sorted(found - TOLD))


def _paths(expression: Expression) -> Iterator[At]:
    match expression:
        case At():
            yield expression
        case Constant():
            return
        case Converted(of, _) | Lookup(of, _, _) | Lower(of):
            yield from _paths(of)
        case First(parts) | Joined(parts) | Computed(_, parts):
            for part in parts:
                yield from _paths(part)
        case _:
            assert_never(expression)
