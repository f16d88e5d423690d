"""Comments of a YAML text: printing a rule anew keeps those above it and would lose the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import yaml


@dataclass(frozen=True, slots=True)
class Comments:
    """Lines of comments above everything, and the numbers of other lines that have one."""

    leading: tuple[str, ...] = ()
    others: tuple[int, ...] = ()


def yaml_comments(text: str) -> Comments:
    """The comments of ``text``, which has been read without problems."""
    lines = text.split("\n")
    first = next((n for n, line in enumerate(lines) if line.strip() and line[0] != "#"), len(lines))
    tokens = yaml.scan(text, Loader=yaml.SafeLoader)
    spans = ((token.start_mark.index, token.end_mark.index) for token in tokens)
    others = [line for line in lines_between(text, spans, ("#",)) if line > first]
    return Comments(tuple(line for line in lines[:first] if line.strip()), tuple(others))


def lines_between(text: str, spans: Iterable[tuple[int, int]], signs: tuple[str, ...]) -> list[int]:
    """The lines, from 1, of what begins with one of ``signs`` between words at ``spans``."""
    found = []
    before = 0
    for start, end in (*spans, (len(text), len(text))):
        offsets = [text.find(sign, before, start) for sign in signs]
        if any(offset >= 0 for offset in offsets):
            first = min(offset for offset in offsets if offset >= 0)
            found.append(text.count("\n", 0, first) + 1)
        before = max(before, end)
    return found
