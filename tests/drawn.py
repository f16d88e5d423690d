"""What property tests drew: how often each form, operator, function and window of the language."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import get_args

from headrace.rules.conditions import FUNCTIONS, OPERATORS
from headrace.rules.model import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Leaf,
    Measure,
    Not,
    Period,
    Segment,
    Sequence,
    Window,
)

counts: defaultdict[str, Counter[str]] = defaultdict(Counter)


def count(segments: Iterable[Segment]) -> None:
    """Add the conditions of ``segments`` to the counts."""
    counts["cases"]["rule-history pairs"] += 1
    for segment in segments:
        counts["timezone"]["UTC" if segment.timezone == "UTC" else "others"] += 1
        _count(segment.condition)
        if segment.stay is not None:
            counts["form"]["Stay"] += 1
            if segment.stay.exit_when is not None:
                _count(segment.stay.exit_when)


def _count(condition: Condition) -> None:
    counts["form"][type(condition).__name__] += 1
    match condition:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                _count(part)
        case Not(part):
            _count(part)
        case Sequence(steps, window):
            _window(window)
            counts["sequence"].update("forbidden" if step.forbidden else "step" for step in steps)
            for step in steps:
                if step.where is not None:
                    _count(step.where)
        case Compare(subject, operator, _):
            counts["operator"][operator] += 1
            counts["subject"][type(subject).__name__] += 1
            if isinstance(subject, Measure):
                counts["function"][subject.function] += 1
                _window(subject.window)
                if subject.where is not None:
                    _count(subject.where)


def _window(window: Window) -> None:
    name = window.name if isinstance(window, Period) else type(window).__name__
    counts["window"][name] += 1


def missing() -> list[str]:
    """Parts of the language that were never drawn."""
    forms = [one.__name__ for one in (*get_args(Leaf), AllOf, AnyOf, Not)]
    every = {"form": forms, "operator": OPERATORS, "function": FUNCTIONS}
    return [name for kind, names in every.items() for name in names if not counts[kind][name]]


def report() -> str:
    """One line for each kind of part."""
    lines = (
        f"{kind}: " + ", ".join(f"{name} {number:,}" for name, number in of.most_common())
        for kind, of in counts.items()
    )
    return "\n".join(lines)
