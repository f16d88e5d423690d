"""Errors, by who must act.

HeadraceError
├── RuleError       the author of a rule or catalog: holds every problem found
├── OperatorError   whoever runs the system: a server, a setting, a disk, a missing tool
└── InternalError   us: a promise inside the program was broken
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in a text something stands; lines and columns count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a rule. Checks return these; only the edges turn them into errors."""

    code: str
    message: str
    place: Place
    hint: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.place}: {self.message}{hint} [{self.code}]"


class HeadraceError(Exception):
    """Anything we refuse with a sentence instead of a traceback."""

    code = "HR000"


class RuleError(HeadraceError):
    """A rule cannot be used. Holds every problem found, not just the first."""

    code = "HR001"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class OperatorError(HeadraceError):
    """Something outside the program is missing, down or wrong; the message names the setting."""

    def __init__(self, message: str, *, code: str = "HR900") -> None:
        self.code = code
        super().__init__(message)


class InternalError(HeadraceError):
    """A promise between our own parts was broken."""

    code = "HR999"
