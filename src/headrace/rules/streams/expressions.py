"""How a value of an event is found in a message, as written -> an Expression.

A text that begins with ``$`` is a path into the message; any other scalar is a constant; a mapping
with one of the keys of ``FORMS`` makes something of other expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, get_args

from headrace.rules.nodes import Mapping as MappingNode
from headrace.rules.nodes import Node, Scalar
from headrace.rules.reading import Reading
from headrace.rules.streams.model import (
    Computed,
    Constant,
    Conversion,
    Converted,
    Expression,
    First,
    Joined,
    Lookup,
    Lower,
)
from headrace.rules.streams.paths import parse_path

CONVERSIONS: Final[tuple[Conversion, ...]] = get_args(Conversion)
LONGEST_NAME: Final = 256
DEEPEST: Final = 8


def read_expressions(reading: Reading, node: Node | None, what: str) -> dict[str, Expression]:
    """What each name of a mapping stands for; problems are noted in ``reading``."""
    body = reading.mapping(node, what) if node is not None else None
    for entry in body or ():
        if not (0 < len(entry.key) <= LONGEST_NAME and entry.key.isprintable()):
            message = f"the name of a property is 1 to {LONGEST_NAME} printable characters"
            reading.problem("HR111", message, entry.place)
    return {
        entry.key: found
        for entry in body or ()
        if (found := read_expression(reading, entry.value, f"{entry.key!r}")) is not None
    }


def read_expression(reading: Reading, node: Node, what: str, depth: int = 0) -> Expression | None:
    """What ``node`` says, or None beside the problem; ``depth`` is that of what it stands in."""
    if isinstance(node, Scalar):
        return _leaf(reading, node, what)
    body = reading.mapping(node, what)
    if body is None:
        return None
    if depth > DEEPEST:
        reading.problem("HR106", f"{what} is nested more than {DEEPEST} deep", node.place)
        return None
    heads = [entry for entry in body if entry.key in FORMS]
    if len(heads) != 1:
        names = ", ".join(FORMS)
        reading.problem("HR114", f"{what} has one of the keys {names}", body.place)
        return None
    form = FORMS[heads[0].key]
    reading.known_keys(body, (heads[0].key, *form.beside), what)
    return form.read(reading, body, heads[0].value, depth + 1)


def _leaf(reading: Reading, node: Scalar, what: str) -> Expression | None:
    value = _literal(reading, node, what)
    if not isinstance(value, str) or not value.startswith("$"):
        return None if value is None else Constant(value)
    try:
        return parse_path(value)
    except ValueError as error:
        hint = "a constant that begins with '$' is written {constant: ..}"
        reading.problem("HR113", str(error), node.place, hint)
        return None


def _literal(reading: Reading, node: Node, what: str) -> str | Decimal | bool | None:
    """A constant that can be kept as it is."""
    value = reading.literal(node, what)
    if isinstance(value, Decimal) and Decimal(repr(float(value))) != value:
        reading.problem("HR113", f"{what} has more digits than are kept: {value}", node.place)
    elif isinstance(value, str) and not value.isprintable():
        reading.problem("HR113", f"{what} has characters that cannot be seen", node.place)
    else:
        return value
    return None


def _constant(reading: Reading, body: MappingNode, node: Node, depth: int) -> Expression | None:
    value = _literal(reading, node, "'constant'")
    return None if value is None else Constant(value)


def _converted(reading: Reading, body: MappingNode, node: Node, depth: int) -> Expression | None:
    of = read_expression(reading, node, "'convert'", depth)
    reading.required(body, "to", "a conversion")
    to = reading.choice(body, "to", CONVERSIONS, "text")
    return None if of is None else Converted(of, to)


def _lookup(reading: Reading, body: MappingNode, node: Node, depth: int) -> Expression | None:
    of = read_expression(reading, node, "'lookup'", depth)
    found = reading.required(body, "in", "a lookup")
    rows = reading.mapping(found, "'in'") if found is not None else None
    table = {
        entry.key: value
        for entry in rows or ()
        if (value := _literal(reading, entry.value, f"what {entry.key!r} becomes")) is not None
    }
    usual = body.get("default")
    default = _literal(reading, usual, "'default'") if usual is not None else None
    return None if of is None else Lookup(of, table, default)


def _several(reading: Reading, node: Node, what: str, depth: int) -> tuple[Expression, ...] | None:
    items = reading.sequence(node, what)
    if items is None:
        return None
    parts = [read_expression(reading, item, f"a part of {what}", depth) for item in items.items]
    if not parts:
        reading.problem("HR113", f"{what} has at least one part", node.place)
    return tuple(part for part in parts if part is not None)


def _first(reading: Reading, body: MappingNode, node: Node, depth: int) -> Expression | None:
    parts = _several(reading, node, "'first'", depth)
    return None if parts is None else First(parts)


def _joined(reading: Reading, body: MappingNode, node: Node, depth: int) -> Expression | None:
    parts = _several(reading, node, "'join'", depth)
    return None if parts is None else Joined(parts)


def _lower(reading: Reading, body: MappingNode, node: Node, depth: int) -> Expression | None:
    of = read_expression(reading, node, "'lower'", depth)
    return None if of is None else Lower(of)


def _computed(how: Literal["sum", "product"]) -> _Read:
    def read(reading: Reading, body: MappingNode, node: Node, depth: int) -> Expression | None:
        parts = _several(reading, node, f"{how!r}", depth)
        return None if parts is None else Computed(how, parts)

    return read


_Read = Callable[[Reading, MappingNode, Node, int], Expression | None]


@dataclass(frozen=True, slots=True)
class _Form:
    """How an expression with a certain key is read, and what may stand beside the key."""

    read: _Read
    beside: tuple[str, ...] = ()


FORMS: Final[Mapping[str, _Form]] = {
    "constant": _Form(_constant),
    "convert": _Form(_converted, ("to",)),
    "lookup": _Form(_lookup, ("in", "default")),
    "first": _Form(_first),
    "join": _Form(_joined),
    "lower": _Form(_lower),
    "sum": _Form(_computed("sum")),
    "product": _Form(_computed("product")),
}
