"""How statements stand on their lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.rules.printer import WIDTH
from headrace.rules.sql.wording import Words


@dataclass(frozen=True, slots=True)
class Query:
    """Lines of a statement; ``is_set`` when it combines several."""

    lines: tuple[str, ...]
    is_set: bool = False

    @property
    def operand(self) -> tuple[str, ...]:
        """As a part of another statement."""
        return in_parentheses(self.lines) if self.is_set else self.lines


def clause(name: str, words: Words) -> tuple[str, ...]:
    """One line, or a line for each part."""
    line = f"{name} {words.text}"
    if len(line) <= WIDTH or len(words.parts) == 1:
        return (line,)
    first, *others = words.parts
    return (f"{name} {first}", *(f"  {words.joint} {part}" for part in others))


def joined(operands: Iterable[tuple[str, ...]], word: str) -> tuple[str, ...]:
    """Statements with ``word`` between them."""
    lines: tuple[str, ...] = ()
    for operand in operands:
        lines = (*lines, *((word,) if lines else ()), *operand)
    return lines


def in_parentheses(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Indented, between parentheses."""
    return ("(", *(f"  {line}" for line in lines), ")")
