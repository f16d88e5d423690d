"""Walking nodes with one eye on the author: what is expected, what stands there, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from headrace.errors import Place, Problem
from headrace.rules.nodes import Mapping, Node, Scalar, Sequence
from headrace.rules.source import Path, did_you_mean

_Name = TypeVar("_Name", bound=str)

LARGEST_EXPONENT = 40  # numbers beyond are compared with nothing we keep


@dataclass(slots=True)
class Reading:
    """One pass over one text: collects problems and the places of the model's parts.

    ``zone`` is the one whose calendar its rule goes by.
    """

    file: str
    zone: str = "UTC"
    problems: list[Problem] = field(default_factory=list)
    places: dict[Path, Place] = field(default_factory=dict)
    nodes: int = 0

    def problem(self, code: str, message: str, place: Place, hint: str = "") -> None:
        """Note a problem and go on."""
        self.problems.append(Problem(code, message, place, hint))

    def mapping(self, node: Node, what: str) -> Mapping | None:
        """``node`` as a mapping."""
        if isinstance(node, Mapping):
            return node
        self.problem("HR107", f"{what} must be a mapping, not {described(node)}", node.place)
        return None

    def sequence(self, node: Node, what: str) -> Sequence | None:
        """``node`` as a list."""
        if isinstance(node, Sequence):
            return node
        self.problem("HR107", f"{what} must be a list, not {described(node)}", node.place)
        return None

    def text(self, node: Node, what: str) -> str | None:
        """``node`` as a text. A name is a text whatever it looks like."""
        if isinstance(node, Scalar) and node.value is not None:
            return node.text
        self.problem("HR107", f"{what} must be a text, not {described(node)}", node.place)
        return None

    def boolean(self, node: Node, what: str) -> bool | None:
        """``node`` as true or false."""
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        message = f"{what} must be true or false, not {described(node)}"
        self.problem("HR107", message, node.place)
        return None

    def literal(self, node: Node, what: str) -> str | Decimal | bool | None:
        """``node`` as a text, number or boolean; null is none of these."""
        if not isinstance(node, Scalar) or node.value is None:
            message = f"{what} must be a text, a number, true or false, not {described(node)}"
            self.problem("HR113", message, node.place)
            return None
        value = node.value
        if isinstance(value, Decimal):
            digits = len(value.as_tuple().digits)
            exponent = value.as_tuple().exponent
            if digits > LARGEST_EXPONENT or abs(int(exponent)) > LARGEST_EXPONENT:
                self.problem("HR113", f"the number {node.text} is out of range", node.place)
                return None
        return value

    def choice(self, node: Mapping, key: str, options: tuple[_Name, ...], usual: _Name) -> _Name:
        """What ``key`` of ``node`` says of ``options``, or ``usual`` where it says nothing."""
        value = node.get(key)
        if value is None:
            return usual
        text = value.text if isinstance(value, Scalar) else ""
        if text in options:
            return options[options.index(text)]
        message = f"{key!r} is one of {', '.join(options)}, not {described(value)}"
        self.problem("HR113", message, value.place, did_you_mean(text, options))
        return usual

    def known_keys(self, node: Mapping, keys: Iterable[str], what: str) -> None:
        """Note every key of ``node`` that is not among ``keys``."""
        known = tuple(keys)
        for entry in node:
            if entry.key not in known:
                hint = did_you_mean(entry.key, known)
                self.problem("HR108", f"unknown key {entry.key!r} in {what}", entry.place, hint)

    def required(self, node: Mapping, key: str, what: str) -> Node | None:
        """The value under ``key``, which must be there."""
        found = node.get(key)
        if found is None:
            self.problem("HR109", f"{what} needs the key {key!r}", node.place)
        return found

    def forget(self, path: Path) -> None:
        """Drop the places under ``path``: that part was broken and left out."""
        for known in [known for known in self.places if known[: len(path)] == path]:
            del self.places[known]


def described(node: Node) -> str:
    """What stands there, in words."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar():
            if node.value is None:
                return "null"
            short = node.text if len(node.text) <= 60 else node.text[:57] + "..."
            return f"{short!r}" if isinstance(node.value, str) else short
