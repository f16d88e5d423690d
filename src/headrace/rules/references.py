"""Segments that refer to segments: who needs whom, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from headrace.errors import Problem
from headrace.rules.model import AllOf, AnyOf, Condition, InSegment, Not, Segment
from headrace.rules.source import Path, Places, did_you_mean


def references(condition: Condition, path: Path = ()) -> Iterator[tuple[str, Path]]:
    """The segments that ``condition`` refers to, each with the path of the reference."""
    match condition:
        case InSegment(segment):
            yield segment, path
        case AllOf(parts) | AnyOf(parts):
            for index, part in enumerate(parts):
                yield from references(part, (*path, index))
        case Not(part):
            yield from references(part, (*path, 0))
        case _:
            return


def segment_references(segment: Segment) -> Iterator[tuple[str, Path]]:
    """The segments that ``segment`` refers to, in its rule or in how its members leave."""
    yield from references(segment.condition)
    if segment.stay is not None and segment.stay.exit_when is not None:
        yield from references(segment.stay.exit_when, ("exit_when",))


def check_references(
    segments: Iterable[Segment], places: Mapping[str, Places]
) -> tuple[Problem, ...]:
    """References to nothing, to what the stream does not keep, and of a segment to itself."""
    known = {segment.id: segment for segment in segments}
    endless = _endless(known)
    problems: list[Problem] = []
    for segment in known.values():
        where = places.get(segment.id, Places(segment.id))
        for name, path in segment_references(segment):
            place = where.of((*path, "segment"))
            if name not in known:
                hint = did_you_mean(name, known)
                problems.append(Problem("HR306", f"unknown segment {name!r}", place, hint))
            elif name in endless and (way := _way(name, segment.id, known)):
                message = f"{segment.id!r} refers to itself: {' -> '.join((segment.id, *way))}"
                problems.append(Problem("HR307", message, place))
            elif known[name].sql:
                message = f"{segment.id!r} refers to {name!r}, which is SQL in batch"
                hint = "no rule looks into a statement; write its condition here"
                problems.append(Problem("HR309", message, place, hint))
            elif known[name].is_batch_only and not segment.is_batch_only:
                message = f"{segment.id!r} is continuous and {name!r} is batch only (cron)"
                hint = f"give {segment.id!r} a cron line too: refresh: {known[name].refresh}"
                problems.append(Problem("HR309", message, place, hint))
    return tuple(problems)


def _endless(known: Mapping[str, Segment]) -> set[str]:
    """The segments from which references lead on for ever: only there can circles be."""
    needed_by: dict[str, list[str]] = {}
    open_ends: dict[str, int] = {}
    for segment in known.values():
        needs = {name for name, _ in segment_references(segment) if name in known}
        open_ends[segment.id] = len(needs)
        for name in needs:
            needed_by.setdefault(name, []).append(segment.id)
    ended = [name for name, count in open_ends.items() if not count]
    for name in ended:
        for other in needed_by.get(name, ()):
            open_ends[other] -= 1
            if not open_ends[other]:
                ended.append(other)
    return known.keys() - set(ended)


def _way(start: str, end: str, known: Mapping[str, Segment]) -> tuple[str, ...]:
    """The shortest chain of references from ``start`` to ``end``; empty when there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    for way in ways:
        if way[-1] == end:
            return way
        for name, _ in segment_references(known[way[-1]]):
            if name in known and name not in seen:
                seen.add(name)
                ways.append((*way, name))
    return ()
