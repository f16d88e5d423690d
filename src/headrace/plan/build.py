"""Versions of segments -> one plan in which everything equal is there once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from headrace.errors import InternalError
from headrace.messages import topics
from headrace.plan.model import (
    Branch,
    JobParameters,
    MeasureTest,
    Plan,
    Program,
    Stay,
    Tree,
    tree_out,
)
from headrace.plan.registry import MemoryRegistry, Registry
from headrace.plan.sharing import Found, Leaf, Node
from headrace.plan.text import canonical
from headrace.rules.catalog import Catalog
from headrace.rules.model import Segment
from headrace.rules.streams import Stream

SOURCES = (topics.EVENTS, topics.CONTROL)
OUTPUTS = (topics.MEMBERSHIPS, topics.SEGMENTS, topics.DEAD)


@dataclass(frozen=True, slots=True)
class SegmentVersion:
    """One immutable text of a segment."""

    segment: Segment
    version: int


def streamed(versions: Iterable[SegmentVersion]) -> tuple[SegmentVersion, ...]:
    """The versions that the stream keeps: all but those in batch only."""
    return tuple(one for one in versions if not one.segment.is_batch_only)


def batch_plan(versions: Iterable[SegmentVersion], catalog: Catalog, job: JobParameters) -> Plan:
    """The plan of those among ``versions`` that are in batch only; they may refer to the others.

    Statements, which are for Spark SQL, are left out.
    """
    known = tuple(one for one in versions if not one.segment.sql)
    kept = {one.segment.id for one in streamed(known)}
    plan = build_plan(known, catalog, MemoryRegistry(), job)
    return replace(plan, programs=tuple(p for p in plan.programs if p.segment not in kept))


def build_plan(
    versions: Iterable[SegmentVersion],
    catalog: Catalog,
    registry: Registry,
    job: JobParameters,
    streams: Iterable[Stream] = (),
) -> Plan:
    """Compile ``versions`` so that each base, window and predicate is computed once.

    The result depends only on the content of the versions, never on their order, so that a
    redeploy keeps the state.
    """
    ordered = sorted(versions, key=lambda one: (one.segment.id, one.version))
    for one in ordered:
        if one.segment.sql:  # its condition, which says nothing, would hold of everybody
            raise InternalError(f"{one.segment.id!r} is SQL in batch and part of no plan")
    found = Found(catalog, {one.segment.id: one.segment for one in ordered})
    trees = [found.segment(one.segment) for one in ordered]
    kept = {name: found.computed(one.measure) for name, one in sorted(catalog.computed.items())}
    layout = found.laid_out(registry)
    ids = registry.ids("version", [f"{one.segment.id}@{one.version}" for one in ordered])
    programs = tuple(
        Program(version_id, one.segment.id, one.version, _indexed(tree, layout.place))
        for version_id, one, tree in zip(ids, ordered, trees, strict=True)
    )
    computed = []
    for name, leaf in kept.items():
        predicate = layout.predicates[layout.place[leaf]]
        assert isinstance(predicate, MeasureTest)
        computed.append((name, predicate.measure))
    published = any(event.publish for event in catalog.events.values())
    return Plan(
        catalog=replace(catalog, computed={}),  # in the plan they are measures
        event_types=tuple(sorted({base.event for base in layout.bases})),
        sources=SOURCES,
        outputs=(*OUTPUTS, topics.ACCEPTED) if published else OUTPUTS,
        filters=layout.filters,
        bases=layout.bases,
        slots=layout.slots,
        measures=layout.measures,
        predicates=layout.predicates,
        programs=programs,
        job=job,
        stays=tuple(
            Stay(
                id_,
                measure,
                _indexed(held.match, layout.place),
                None if held.exit is None else _indexed(held.exit, layout.place),
                held.min_dwell,
                held.cooldown,
            )
            for id_, measure, held in layout.stays
        ),
        streams=tuple(sorted(streams, key=lambda stream: stream.id)),
        computed=tuple(computed),
    )


def _indexed(node: Node, place: dict[Leaf, int]) -> Tree:
    """A tree over places, in one spelling; the sorting lets rules of one shape meet."""
    if not isinstance(node, tuple):
        return place[node]
    kind, parts = node
    inner = [_indexed(part, place) for part in parts]
    if kind == "not":
        only = inner[0]
        if isinstance(only, Branch) and only.kind == "not":
            return only.parts[0]
        return Branch("not", (only,))
    flat: dict[str, Tree] = {}
    for tree in inner:
        same = isinstance(tree, Branch) and tree.kind == kind
        for one in tree.parts if same and isinstance(tree, Branch) else (tree,):
            flat[_tree_key(one)] = one
    ordered = tuple(flat[key] for key in sorted(flat))
    if len(ordered) == 1:
        return ordered[0]
    return Branch("all" if kind == "all" else "any", ordered)


def _tree_key(tree: Tree) -> str:
    # Negated leaves after plain ones, branches last: equal shapes then sort alike.
    if isinstance(tree, int):
        return f"0{tree:09d}"
    if tree.kind == "not" and isinstance(tree.parts[0], int):
        return f"1{tree.parts[0]:09d}"
    return "2" + canonical(tree_out(tree))
