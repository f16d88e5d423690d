"""What a new plan changes: which slots lack history, which versions come, go and replace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.plan.model import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDiff:
    """From one plan to another, by registry ids.

    ``replaced`` maps each version that ends to its successor in the same segment, or to None when
    the segment is retired; ``names`` gives segment and version of those that end.
    """

    added_slots: tuple[int, ...]
    replaced: Mapping[int, int | None]
    added: tuple[int, ...]
    names: Mapping[int, tuple[str, int]]

    @property
    def is_empty(self) -> bool:
        """No version comes or goes and no slot lacks history."""
        return not (self.added_slots or self.replaced or self.added)


def diff(old: Plan | None, new: Plan) -> PlanDiff:
    """What changes when ``new`` takes over from ``old``."""
    raise NotImplementedError


def bridge(old: Plan, new: Plan) -> Plan:
    """``old`` that also folds the slots only ``new`` has: what runs while their history is built.

    Its catalog and job are those of ``new``.
    """
    raise NotImplementedError
