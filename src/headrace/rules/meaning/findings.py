"""Parts of one rule that can never hold, always hold, or make no difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from headrace.errors import Problem
from headrace.rules.meaning.reasoning import Reasoning, Signed
from headrace.rules.model import AllOf, AnyOf, Compare, Condition, Measure, Not, Segment
from headrace.rules.model import Sequence as Steps
from headrace.rules.printer import print_condition
from headrace.rules.source import Path, Places

MOST_PARTS: Final = 64
LONGEST_QUOTE: Final = 90

Verdict: TypeAlias = Literal["never", "always"] | None


def check_parts(segment: Segment, reasoning: Reasoning, places: Places) -> list[Problem]:
    """What is odd about the conditions of ``segment``."""
    walk = _Walk(reasoning, places)
    found = walk.verdict(_Part(segment.condition, ()))
    leaving = segment.stay.exit_when if segment.stay is not None else None
    if leaving is not None:
        out = _Part(leaving, ("exit_when",))
        told = found or walk.verdict(out)
        if not told and reasoning.implies(segment.condition, leaving):
            message = f"nobody ever enters: {out.quoted} holds whenever the rule does"
            walk.tell("HR310", message, out, "exit_when is for what the rule does not allow")
    return walk.problems


@dataclass(frozen=True, slots=True)
class _Part:
    """A condition at its place; under an odd number of nots it must not hold."""

    condition: Condition
    path: Path
    holds: bool = True

    @property
    def quoted(self) -> str:
        text = print_condition(self.condition if self.holds else Not(self.condition))
        return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "..."

    def signed(self, is_true: bool = True) -> Signed:
        """For the reasoning: this part, or its opposite."""
        return self.condition, self.holds == is_true


@dataclass(slots=True)
class _Walk:
    """Through one rule from the inside out, so that only the cause of a finding is told."""

    reasoning: Reasoning
    places: Places
    problems: list[Problem] = field(default_factory=list)
    families: dict[Path, frozenset[tuple[str, ...]]] = field(default_factory=dict)

    def tell(self, code: str, message: str, part: _Part, hint: str = "") -> None:
        self.problems.append(
            Problem(code, message, self.places.of(part.path), hint, severity="warning")
        )

    def verdict(self, part: _Part, event: str = "") -> Verdict:
        """Does ``part`` never hold, or always? Whatever its parts do not explain is told."""
        match part.condition:
            case Not(inner):
                return self.verdict(_Part(inner, (*part.path, 0), not part.holds), event)
            case AllOf() | AnyOf():
                return self._group(part, event)
            case _:
                return self._leaf(part, event)

    def _leaf(self, part: _Part, event: str) -> Verdict:
        match part.condition:
            case Compare(Measure(event=of, where=where)) if where is not None:
                self.verdict(_Part(where, (*part.path, "where")), of)
            case Steps(steps):
                for number, step in enumerate(steps):
                    if step.where is not None:
                        path = (*part.path, "steps", number, "where")
                        self.verdict(_Part(step.where, path), step.event)
        leaf = _Part(part.condition, part.path)
        found: Verdict = None
        if self.reasoning.is_impossible([leaf.signed()], event):
            found = "never"
        elif self.reasoning.is_impossible([leaf.signed(False)], event):
            found = "always"
        if found and not _is_told(leaf.condition):
            code, hint = ("HR310", "") if found == "never" else ("HR311", "leave it out")
            self.tell(code, f"this {found} holds: {leaf.quoted}", leaf, hint)
        if found and not part.holds:
            return "always" if found == "never" else "never"
        return found

    def _group(self, part: _Part, event: str) -> Verdict:
        is_all = isinstance(part.condition, AllOf) == part.holds
        parts = list(_flat(part, is_all))
        verdicts = [self.verdict(one, event) for one in parts]
        deciding: Verdict = "never" if is_all else "always"
        if deciding in verdicts:
            return deciding
        open_ = [one for one, found in zip(parts, verdicts, strict=True) if not found]
        if not open_:
            return "always" if is_all else "never"
        if 1 < len(open_) <= MOST_PARTS and self._are_related(open_, event):
            group = _Group(self.reasoning, event, is_all)
            if core := group.core([], open_):
                self._tell_together(core, is_all)
                return deciding
            self._tell_useless(group, open_)
        return None

    def _tell_together(self, core: list[_Part], is_all: bool) -> None:
        if is_all:
            message = f"these never hold together: {_listed(core, 'and')}"
            self.tell("HR310", message, core[-1], "did you mean any: ?")
        else:
            message = f"one of these always holds: {_listed(core, 'or')}"
            self.tell("HR311", message, core[-1], "did you mean all: ?")

    def _tell_useless(self, group: _Group, parts: list[_Part]) -> None:
        kept = list(parts)
        for one in reversed(parts):  # of two that say the same, the later is told
            others = self._around(one, kept, group.event)
            if core := group.core([one.signed(not group.is_all)], others):
                kept = [other for other in kept if other is not one]
                if self._is_tacit(one):
                    continue
                if group.is_all:
                    message = f"{one.quoted} adds nothing: it follows from {_listed(core, 'and')}"
                else:
                    message = f"{one.quoted} adds nothing beside {_listed(core, 'or')}"
                self.tell("HR312", message, one, "leave it out")
        for one in kept if group.is_all else ():
            others = self._around(one, kept, group.event)
            for way in _ways(one) if others else ():
                core = group.core([way.signed()], others)
                if core and not self.reasoning.is_impossible([way.signed()], group.event):
                    message = f"{way.quoted} never holds here, beside {_listed(core, 'and')}"
                    self.tell("HR310", message, way)

    def _is_tacit(self, part: _Part) -> bool:
        """Did nobody write ``part``? Rules in SQL mean that what is compared exists."""
        if not self.places.file.endswith(".sql"):
            return False
        match part.condition:
            case Compare(_, "exists", True):
                return True
            case Compare(Measure("count"), "gte", least):
                return least == 1
            case _:
                return False

    def _around(self, one: _Part, parts: Sequence[_Part], event: str) -> list[_Part]:
        """The other ``parts`` that have to do with ``one``, directly or through others."""
        waiting = {id(part): self._families(part, event) for part in parts if part is not one}
        seen = set(self._families(one, event))
        found: set[int] = set()
        grows = True
        while grows:
            near = {key for key, families in waiting.items() if seen & families}
            found |= near
            seen.update(*(waiting.pop(key) for key in near))
            grows = bool(near)
        return [part for part in parts if id(part) in found]

    def _are_related(self, parts: Sequence[_Part], event: str) -> bool:
        """Do two of ``parts`` look at the same things? Else nothing follows from the others."""
        seen: set[tuple[str, ...]] = set()
        for part in parts:
            mine = self._families(part, event)
            if seen & mine:
                return True
            seen |= mine
        return False

    def _families(self, part: _Part, event: str) -> frozenset[tuple[str, ...]]:
        known = self.families.get(part.path)
        if known is None:
            known = self.families[part.path] = self.reasoning.families(part.condition, event)
        return known


@dataclass(frozen=True, slots=True)
class _Group:
    """Parts of which all must hold; or any: that is the opposite of all of their opposites."""

    reasoning: Reasoning
    event: str
    is_all: bool

    def core(self, fixed: list[Signed], parts: list[_Part]) -> list[_Part]:
        """Few of ``parts`` that are impossible beside ``fixed``; none where all of them are not."""
        if not self._is_impossible(fixed, parts):
            return []
        kept = list(parts)
        for part in parts:
            fewer = [one for one in kept if one is not part]
            if self._is_impossible(fixed, fewer):
                kept = fewer
        return kept

    def _is_impossible(self, fixed: list[Signed], parts: list[_Part]) -> bool:
        signed = [part.signed(self.is_all) for part in parts]
        return self.reasoning.is_impossible([*fixed, *signed], self.event)


def _flat(part: _Part, is_all: bool) -> Iterator[_Part]:
    """The parts of ``part`` and, where they are groups of its kind themselves, theirs."""
    match part.condition:
        case Not(inner):
            yield from _flat(_Part(inner, (*part.path, 0), not part.holds), is_all)
        case AllOf(parts) | AnyOf(parts) if (
            isinstance(part.condition, AllOf) == part.holds
        ) == is_all:
            for index, one in enumerate(parts):
                yield from _flat(_Part(one, (*part.path, index), part.holds), is_all)
        case _:
            yield part


def _ways(part: _Part) -> list[_Part]:
    """The ways in which ``part`` may hold, where it is an any of several."""
    ways = list(_flat(part, is_all=False))
    return ways if len(ways) > 1 else []


def _listed(parts: Sequence[_Part], word: str) -> str:
    quoted = [part.quoted for part in parts]
    if len(quoted) > 3:
        quoted = [*quoted[:3], f"{len(quoted) - 3} more"]
    return f" {word} ".join(quoted)


def _is_told(leaf: Condition) -> bool:
    """Is this one comparison HR303's to tell?"""
    match leaf:
        case Compare(Measure("count"), operator, _):
            return operator != "exists"
        case Compare(_, "between", (Decimal() as low, Decimal() as high)):
            return low > high
        case _:
            return False
