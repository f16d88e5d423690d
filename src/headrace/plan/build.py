"""Versions of segments -> one plan in which everything equal is there once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import Registry
from headrace.rules.catalog import Catalog
from headrace.rules.model import Segment


@dataclass(frozen=True, slots=True)
class SegmentVersion:
    """One immutable text of a segment."""

    segment: Segment
    version: int


def build_plan(
    versions: Iterable[SegmentVersion], catalog: Catalog, registry: Registry, job: JobParameters
) -> Plan:
    """Compile ``versions`` so that each base, window and predicate is computed once.

    The result depends only on the content of the versions, never on their order.
    """
    raise NotImplementedError
