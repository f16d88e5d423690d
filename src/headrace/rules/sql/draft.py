"""One pass over one SQL text: what is wrong with it, and where the model's parts stand in it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from sqlglot import exp

from headrace.errors import Place, Problem
from headrace.rules.model import AllOf, AnyOf, Compare, Condition, Measure, Not
from headrace.rules.source import Path

LONGEST_QUOTE = 60


@dataclass(slots=True)
class Draft:
    """What was found so far in ``text``.

    ``zone`` is the one whose calendar the rule goes by, ``signs`` how much YAML was in it.
    """

    file: str
    text: str
    zone: str = "UTC"
    problems: list[Problem] = field(default_factory=list)
    origins: dict[int, tuple[Condition, Mapping[Path, Place]]] = field(default_factory=dict)
    signs: int = 0
    _lines: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = [0, *accumulate(len(line) + 1 for line in self.text.split("\n"))]

    def place(self, offset: int) -> Place:
        """The place of the character at ``offset``."""
        line = bisect_right(self._lines, offset)
        return Place(self.file, line, offset - self._lines[line - 1] + 1)

    def place_of(self, node: exp.Expr) -> Place:
        """Where ``node`` begins; a node without words of its own begins where its parent does."""
        return self.place(self._extent(node)[0])

    def written(self, node: exp.Expr) -> str:
        """``node`` as it stands in the text, shortened."""
        start, end = self._extent(node)
        opened = self.text.count("(", start, end + 1) - self.text.count(")", start, end + 1)
        for _ in range(opened):  # the end of a call has no node
            end = max(end, self.text.find(")", end + 1))
        if self.text.startswith("()", end + 1):
            end += 2
        words = " ".join(self.text[start : end + 1].split())
        return words if len(words) <= LONGEST_QUOTE else words[: LONGEST_QUOTE - 3] + "..."

    def problem(self, code: str, message: str, place: Place, hint: str = "") -> None:
        """Note a problem and go on."""
        self.problems.append(Problem(code, message, place, hint))

    def refuse(self, code: str, message: str, node: exp.Expr, hint: str = "") -> None:
        """Note a problem with ``node`` and go on without it."""
        self.problem(code, message, self.place_of(node), hint)

    def stands(self, condition: Condition, places: Mapping[Path, Place]) -> None:
        """Remember where ``condition`` and what it is made of stand."""
        # By identity: equal conditions may stand in two places. Holding it keeps the identity.
        self.origins[id(condition)] = (condition, places)

    def inherits(self, condition: Condition, original: Condition) -> None:
        """``condition`` stands where ``original`` does."""
        if id(original) in self.origins:
            self.stands(condition, self.origins[id(original)][1])

    def places(self, condition: Condition) -> dict[Path, Place]:
        """The places of all parts of ``condition``."""
        found: dict[Path, Place] = {}
        waiting: list[tuple[Condition, Path]] = [(condition, ())]
        while waiting:
            part, path = waiting.pop()
            _, places = self.origins.get(id(part), (part, {}))
            found |= {(*path, *rest): place for rest, place in places.items()}
            match part:
                case AllOf(parts) | AnyOf(parts):
                    waiting += [(inner, (*path, n)) for n, inner in enumerate(parts)]
                case Not(inner):
                    waiting.append((inner, (*path, 0)))
                case Compare(Measure(where=where)) if where is not None:
                    waiting.append((where, (*path, "where")))
        return found

    def _extent(self, node: exp.Expr) -> tuple[int, int]:
        if isinstance(node, exp.Literal | exp.Identifier) and "start" in node.meta:
            return node.meta["start"], node.meta["end"]
        above: exp.Expr | None = node
        while above is not None:
            spans = list(_spans(above))
            if spans:
                start, end = min(start for start, _ in spans), max(end for _, end in spans)
                return self._with_word(above, start), end
            above = above.parent
        return 0, 0

    def _with_word(self, node: exp.Expr, start: int) -> int:
        """The parser notes no place of clauses, and of few functions: their word stands before."""
        before = self.text[max(0, start - 100) : start]
        if isinstance(node, exp.Func) and "start" not in node.meta:
            found = re.search(r"\w+\s*\(\s*(DISTINCT\s+)?$", before, re.ASCII | re.IGNORECASE)
        elif isinstance(node, exp.Column):
            return start
        else:
            found = re.search(rf"\b{type(node).__name__}\s+$", before, re.IGNORECASE)
        return start - len(found[0]) if found else start


def _spans(node: exp.Expr) -> Iterator[tuple[int, int]]:
    for part in node.walk():
        if "start" in part.meta:
            yield part.meta["start"], part.meta["end"]
