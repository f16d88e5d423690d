"""Fixes: what is done to rejected messages before they are sent again.

    apiVersion: headrace/v1
    kind: Fix
    where: {reason: [missing-user-id, wrong-type]}
    rename: {usr: user_id}
    convert: {ts: seconds, properties.amount: number}
    set: {properties.currency: EUR}

A field is a path of keys joined by dots. The steps run in this order: rename, convert, set,
default (as set, but only where nothing is), remove. A fix says what becomes of a message and not
when, so a message fixed twice is the same message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import orjson

from headrace.errors import RuleError
from headrace.rules.documents import in_order
from headrace.rules.metadata import read_head
from headrace.rules.nodes import Mapping as MappingNode
from headrace.rules.nodes import Node, Scalar, read_node
from headrace.rules.nodes import Sequence as SequenceNode
from headrace.rules.reading import Reading, described
from headrace.rules.source import did_you_mean

KEYS: Final = ("metadata", "where", "rename", "convert", "set", "default", "remove")
WORDS: Final = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


class Unfixable(ValueError):
    """A message the fix cannot be applied to; says why in a few words."""


def _number(value: Any) -> float | int:
    if type(value) in (int, float):
        return value  # type: ignore[no-any-return]
    text = str(value).strip()
    found = float(text)
    if not isfinite(found):
        raise ValueError
    return int(found) if found.is_integer() and "." not in text else found


def _whole(value: Any) -> int:
    found = _number(value)
    if found != int(found):
        raise ValueError
    return int(found)


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    return WORDS[str(value).strip().lower()]


def _text(value: Any) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) not in (str, int, float):
        raise ValueError
    return str(value)


CONVERSIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "number": _number,
    "integer": _whole,
    "boolean": _boolean,
    "text": _text,
    "seconds": lambda value: round(_number(value) * 1_000),  # since 1970, to milliseconds
}


@dataclass(frozen=True, slots=True)
class Fix:
    """One way to repair messages; with ``reasons``, only those rejected for one of them."""

    reasons: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)
    convert: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    remove: tuple[str, ...] = ()

    def concerns(self, reason: str) -> bool:
        """Is it for messages rejected for ``reason``?"""
        return not self.reasons or reason in self.reasons

    def applied(self, raw: bytes) -> bytes:
        """The message repaired; raises Unfixable where it cannot be."""
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise Unfixable("not JSON") from None
        if type(line) is not dict:
            raise Unfixable("not an object")
        for old, new in self.rename.items():
            if (value := _taken(line, old)) is not _NOTHING:
                _put(line, new, value)
        for path, kind in self.convert.items():
            if (value := _found(line, path)) not in (_NOTHING, None):
                try:
                    _put(line, path, CONVERSIONS[kind](value))
                except (ValueError, KeyError, OverflowError):
                    raise Unfixable(f"{path} is no {kind}") from None
        for path, value in self.values.items():
            _put(line, path, value)
        for path, value in self.defaults.items():
            if _found(line, path) in (_NOTHING, None):
                _put(line, path, value)
        for path in self.remove:
            _taken(line, path)
        return orjson.dumps(line)


_NOTHING: Final = object()


def _found(line: dict[str, Any], path: str) -> Any:
    value: Any = line
    for key in path.split("."):
        if type(value) is not dict or key not in value:
            return _NOTHING
        value = value[key]
    return value


def _put(line: dict[str, Any], path: str, value: Any) -> None:
    *folders, name = path.split(".")
    for key in folders:
        inner = line.setdefault(key, {})
        if type(inner) is not dict:
            raise Unfixable(f"{key} is not an object")
        line = inner
    line[name] = value


def _taken(line: dict[str, Any], path: str) -> Any:
    folder, _, name = path.rpartition(".")
    inner = _found(line, folder) if folder else line
    return inner.pop(name, _NOTHING) if type(inner) is dict else _NOTHING


def parse_fix(text: str, file: str = "<text>") -> Fix:
    """The fix that ``text`` (YAML or JSON) spells; RuleError holds every problem."""
    reading = Reading(file)
    node = read_node(text, file, reading.problems)
    fix = _fix(reading, node) if node is not None else None
    if reading.problems or fix is None:
        raise RuleError(in_order(reading.problems))
    return fix


def _fix(reading: Reading, node: Node) -> Fix | None:
    document = read_head(reading, node, "Fix", KEYS, "a fix")
    if document is None:
        return None
    if not any(document.get(key) for key in KEYS[2:]):
        reading.problem("HR109", f"a fix needs one of the keys {', '.join(KEYS[2:])}", node.place)
    return Fix(
        reasons=_reasons(reading, document.get("where")),
        rename=_texts(reading, document, "rename"),
        convert=_conversions(reading, document),
        values=_values(reading, document, "set"),
        defaults=_values(reading, document, "default"),
        remove=_names(reading, document.get("remove"), "'remove'"),
    )


def _reasons(reading: Reading, node: Node | None) -> frozenset[str]:
    where = reading.mapping(node, "'where'") if node is not None else None
    if where is None:
        return frozenset()
    reading.known_keys(where, ("reason",), "'where'")
    return frozenset(_names(reading, where.get("reason"), "'reason'"))


def _names(reading: Reading, node: Node | None, what: str) -> tuple[str, ...]:
    """One name, or a list of them."""
    if node is None:
        return ()
    items = node.items if isinstance(node, SequenceNode) else (node,)
    return tuple(text for item in items if (text := reading.text(item, what)) is not None)


def _entries(reading: Reading, document: MappingNode, key: str) -> list[tuple[str, Node]]:
    node = document.get(key)
    mapping = reading.mapping(node, f"{key!r}") if node is not None else None
    found = []
    for entry in mapping or ():
        if all(entry.key.split(".")):
            found.append((entry.key, entry.value))
        else:
            reading.problem("HR111", f"{entry.key!r} is no path of keys", entry.place)
    return found


def _texts(reading: Reading, document: MappingNode, key: str) -> dict[str, str]:
    found = {}
    for path, node in _entries(reading, document, key):
        text = reading.text(node, f"the new name of {path!r}")
        if text is not None and all(text.split(".")):
            found[path] = text
        elif text is not None:
            reading.problem("HR111", f"{text!r} is no path of keys", node.place)
    return found


def _conversions(reading: Reading, document: MappingNode) -> dict[str, str]:
    found = {}
    for path, node in _entries(reading, document, "convert"):
        text = node.text if isinstance(node, Scalar) else ""
        if text in CONVERSIONS:
            found[path] = text
        else:
            hint = did_you_mean(text, CONVERSIONS) or f"one of {', '.join(CONVERSIONS)}"
            message = f"{path!r} cannot be converted to {described(node)}"
            reading.problem("HR113", message, node.place, hint)
    return found


def _values(reading: Reading, document: MappingNode, key: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, node in _entries(reading, document, key):
        value = reading.literal(node, f"the value of {path!r}")
        if isinstance(value, Decimal):
            found[path] = int(value) if value == value.to_integral_value() else float(value)
        elif value is not None:
            found[path] = value
    return found
