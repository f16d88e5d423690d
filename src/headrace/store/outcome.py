"""What a publishing transaction changed."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.errors import Problem
from headrace.plan.build import SegmentVersion
from headrace.rules.catalog import Catalog
from headrace.rules.model import Segment
from headrace.store.versions import Created


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying rules changed, and what is active now."""

    catalog: Catalog
    catalog_changed: bool
    created: tuple[Created, ...]
    unchanged: tuple[str, ...]
    retired: tuple[str, ...]
    active: tuple[SegmentVersion, ...]
    warnings: tuple[Problem, ...]
    renumbered: tuple[str, ...] = ()
    """Those among ``created`` whose text stayed."""

    @property
    def is_empty(self) -> bool:
        """Nothing changed."""
        return not (self.catalog_changed or self.created or self.retired)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """What was kept as drafts, and all segments as they would be with them."""

    created: tuple[Created, ...]
    unchanged: tuple[str, ...]
    segments: tuple[Segment, ...]
    has_other_catalog: bool
    warnings: tuple[Problem, ...]
