"""The examples an author writes beside rules: what happened, and who must be a member."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

TrialValue: TypeAlias = str | Decimal | bool | tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEvent:
    """One fact of an example; ``fields`` are its properties, traits, or the joined id."""

    user: str
    ts: int
    type: str
    id: str = ""
    fields: tuple[tuple[str, TrialValue], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Who must, or must not, be a member at an instant: of ``segment``, or of the one beside."""

    user: str
    at: int
    member: bool
    segment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A small history, who is on which list, and what rules must say about it."""

    name: str
    events: tuple[TrialEvent, ...] = ()
    expect: tuple[Expectation, ...] = ()
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
