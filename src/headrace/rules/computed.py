"""Conditions with computed traits written out as the measures they are."""

from __future__ import annotations

from dataclasses import replace

from headrace.rules.catalog import Catalog
from headrace.rules.model import AllOf, AnyOf, Compare, Condition, Not, Segment, Trait


def written_out(segment: Segment, catalog: Catalog) -> Segment:
    """``segment`` as if it named the measures themselves; its parts stay where they are."""
    if not catalog.computed:
        return segment
    stay = segment.stay
    if stay is not None and stay.exit_when is not None:
        stay = replace(stay, exit_when=_condition(stay.exit_when, catalog))
    return replace(segment, condition=_condition(segment.condition, catalog), stay=stay)


def _condition(condition: Condition, catalog: Catalog) -> Condition:
    match condition:
        case AllOf(parts):
            return AllOf(tuple(_condition(part, catalog) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(_condition(part, catalog) for part in parts))
        case Not(part):
            return Not(_condition(part, catalog))
        case Compare(Trait(name), operator, value) if name in catalog.computed:
            return Compare(catalog.computed[name].measure, operator, value)
        case _:
            return condition
