"""The examples an author writes beside a rule: what happened, and who must be a member."""

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
    """Who must, or must not, be a member of the segment at an instant."""

    user: str
    at: int
    member: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A small history and what the rule must say about it."""

    name: str
    events: tuple[TrialEvent, ...] = ()
    expect: tuple[Expectation, ...] = ()
