"""What comparisons say about one text, or one list of texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import re2

from headrace.rules.model import Operator

_ORDER: Final = ("gt", "gte", "lt", "lte")
_OPPOSITE: Final[dict[str, Operator]] = {"gt": "lte", "gte": "lt", "lt": "gte", "lte": "gt"}


@dataclass(frozen=True, slots=True)
class Said:
    """One comparison, without its negations: ``in`` has several constants, others have one."""

    operator: Operator
    constants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Texts:
    """The values that every comparison of ``yes`` and none of ``no`` holds for.

    ``no`` holds for no value at all too, ``yes`` never does.
    """

    yes: frozenset[Said] = frozenset()
    no: frozenset[Said] = frozenset()
    is_list: bool = False
    is_empty: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        empty = bool(self.yes) and not _is_possible(self)
        object.__setattr__(self, "is_empty", empty)

    def meet(self, other: Texts) -> Texts:
        """The values in both."""
        return Texts(self.yes | other.yes, self.no | other.no, self.is_list)

    def is_apart(self, other: Texts) -> bool:
        """Is no value in both?"""
        return self.meet(other).is_empty


EXISTS: Final = Said("exists", ())


def _is_possible(texts: Texts) -> bool:
    """May a value that is there fit? True where we cannot tell."""
    if EXISTS in texts.no:
        return False
    # Of a value that is there, an order that does not hold is the opposite order that does.
    yes = texts.yes | {
        Said(_OPPOSITE[said.operator], said.constants)
        for said in texts.no
        if said.operator in _ORDER
    }
    lists = [set(said.constants) for said in yes if said.operator == "in"]
    if lists:
        candidates = set.intersection(*lists)
        return any(_fits(text, yes, texts.no) for text in candidates)
    if any(_follows(one, other, texts.is_list) for one in yes for other in texts.no):
        return False
    return not any(_exclude(one, other) for one in yes for other in yes)


def _fits(text: str, yes: frozenset[Said], no: frozenset[Said]) -> bool:
    return all(_holds(text, said) for said in yes) and not any(_holds(text, said) for said in no)


def _holds(text: str, said: Said) -> bool:
    """Is the comparison true of ``text``?"""
    if said.operator == "in":
        return text in said.constants
    if said.operator == "exists":
        return True
    (constant,) = said.constants
    match said.operator:
        case "gt":
            return text > constant
        case "gte":
            return text >= constant
        case "lt":
            return text < constant
        case "lte":
            return text <= constant
        case "contains":
            return constant in text
        case "starts_with":
            return text.startswith(constant)
        case "ends_with":
            return text.endswith(constant)
        case _:
            return pattern(constant).search(text) is not None


def _follows(one: Said, other: Said, is_list: bool) -> bool:
    """Does ``other`` hold of every value that ``one`` holds of? False where we cannot tell."""
    if one == other or other.operator == "exists":
        return True
    if is_list or len(one.constants) != 1 or len(other.constants) != 1:
        return False
    (mine,), (others,) = one.constants, other.constants
    match one.operator, other.operator:
        case ("starts_with", "starts_with"):
            return mine.startswith(others)
        case ("ends_with", "ends_with"):
            return mine.endswith(others)
        case ("contains" | "starts_with" | "ends_with", "contains"):
            return others in mine
        case ("gt" | "gte", "gt"):
            return mine > others or (mine == others and one.operator == "gt")
        case ("gt" | "gte", "gte"):
            return mine >= others
        case ("lt" | "lte", "lt"):
            return mine < others or (mine == others and one.operator == "lt")
        case ("lt" | "lte", "lte"):
            return mine <= others
        case ("starts_with", "gte"):
            return mine >= others
        case _:
            return False


def _exclude(one: Said, other: Said) -> bool:
    """Is there no text that both hold of? False where we cannot tell."""
    if len(one.constants) != 1 or len(other.constants) != 1:
        return False
    (mine,), (others,) = one.constants, other.constants
    match one.operator, other.operator:
        case ("starts_with", "starts_with"):
            return not mine.startswith(others) and not others.startswith(mine)
        case ("ends_with", "ends_with"):
            return not mine.endswith(others) and not others.endswith(mine)
        case ("gt" | "gte", "lt" | "lte"):
            strict = one.operator == "gt" or other.operator == "lt"
            return mine > others or (mine == others and strict)
        case _:
            return False


@lru_cache(maxsize=1024)
def pattern(text: str) -> Any:
    """A pattern, ready to search."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)
