"""Which event types streams bring, and which of them rules rest on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headrace.rules.catalog import Catalog
from headrace.rules.computed import written_out
from headrace.rules.model import Compare, InSegment, Measure, Segment, Sequence, leaves
from headrace.rules.streams.model import Constant, Stream


def carried(stream: Stream) -> frozenset[str] | None:
    """The event types that ``stream`` can bring; None where it does not say."""
    said = stream.map.fields.get("type")
    if isinstance(said, Constant):
        return frozenset((str(said.value),))
    return frozenset(stream.types) or None


def both_take(one: Stream, other: Stream) -> str | None:
    """What of the events that sources send would go to both streams; None for nothing.

    Of one that names no types it is what no other stream names.
    """
    for source in sorted({*one.sources} & {*other.sources}):
        if not one.types and not other.types:
            return f"the events of {source!r}"
        for kind in sorted({*one.types} & {*other.types}):
            return f"{kind!r} of {source!r}"
    return None


def needed(segments: Iterable[Segment], catalog: Catalog) -> Mapping[str, frozenset[str]]:
    """The event types that each of ``segments`` rests on, those it refers to included.

    What computed traits rest on says the ``catalog``.
    """
    known = {segment.id: written_out(segment, catalog) for segment in segments}
    return {name: _needed(name, known, frozenset()) for name in known}


def _needed(name: str, known: Mapping[str, Segment], above: frozenset[str]) -> frozenset[str]:
    if name not in known or name in above:
        return frozenset()
    segment, found = known[name], set[str]()
    conditions = [segment.condition]
    if segment.stay is not None and segment.stay.exit_when is not None:
        conditions.append(segment.stay.exit_when)
    for condition in conditions:
        for leaf in leaves(condition):
            match leaf:
                case Compare(Measure() as measure):
                    found.add(measure.event)
                case Sequence(steps):
                    found.update(step.event for step in steps)
                case InSegment(other):
                    found |= _needed(other, known, above | {name})
    return frozenset(found)
