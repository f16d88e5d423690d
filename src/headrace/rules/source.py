"""Where rules come from: what was read, what is wrong with it, and where each part stands."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from headrace.errors import Place, Problem, RuleError
from headrace.rules.catalog import Catalog
from headrace.rules.model import Segment
from headrace.rules.trials import Trial

Path: TypeAlias = tuple[str | int, ...]
"""Steps into a model: part numbers of AllOf, AnyOf and Not, then names such as ``value``."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of one segment stand in its text."""

    file: str
    at: Mapping[Path, Place] = field(default_factory=dict)

    def of(self, path: Path) -> Place:
        """The place of ``path``, or of the nearest part around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.at:
                return self.at[path[:length]]
        return Place(self.file)


@dataclass(frozen=True, slots=True)
class SegmentText:
    """What one text says. ``segment`` may lack broken parts when there are problems."""

    segment: Segment | None
    places: Places
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleTest:
    """Examples in a file of their own; each of their expectations names its segment."""

    name: str
    trials: tuple[Trial, ...]
    places: Places


@dataclass(frozen=True, slots=True)
class RuleTestText:
    """What one text says. ``test`` may lack broken parts when there are problems."""

    test: RuleTest | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogText:
    """What one catalog text says."""

    catalog: Catalog
    problems: tuple[Problem, ...] = ()
    places: Places = field(default_factory=lambda: Places(""))


@dataclass(frozen=True, slots=True)
class Rules:
    """A catalog, its segments by id, and the tests in files of their own; all problems found."""

    catalog: Catalog
    segments: tuple[Segment, ...] = ()
    problems: tuple[Problem, ...] = ()
    places: Mapping[str, Places] = field(default_factory=dict)
    tests: tuple[RuleTest, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop publishing."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that do not."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    def require(self) -> Rules:
        """These rules, or RuleError with every problem."""
        if self.errors:
            raise RuleError(self.errors)
        return self


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """A hint that names the nearest of ``options``, or nothing."""
    known = {option.lower(): option for option in sorted(options, reverse=True)}
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"did you mean {known[near[0]]!r}?" if near else ""
