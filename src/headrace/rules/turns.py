"""When time alone changes a membership next: by trying every instant at which it could."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.rules.catalog import Catalog
from headrace.rules.computed import written_out
from headrace.rules.model import Period, Segment, conditions_of, leaves
from headrace.rules.reference import reference_members
from headrace.rules.reference_calendar import period_end
from headrace.rules.reference_facts import LAST_INSTANT, Fact, read_facts
from headrace.rules.reference_stays import edges, window_of


def next_turn(
    lines: Sequence[bytes],
    segments: Sequence[Segment],
    catalog: Catalog,
    at: int,
    member: tuple[str, str],
) -> int | None:
    """The first instant after ``at`` at which (segment, user) is in where it was out, or out.

    Nothing of ``lines`` is later than ``at``. None when it never changes again.
    """
    facts = read_facts(lines, catalog, at)
    turns = {turn for one in segments for turn in _turns(written_out(one, catalog), facts, at)}
    was = member in reference_members(lines, segments, catalog, at)
    for turn in sorted(turn for turn in turns if at < turn <= LAST_INSTANT):
        if (member in reference_members(lines, segments, catalog, turn)) is not was:
            return turn
    return None


def _turns(segment: Segment, facts: Sequence[Fact], at: int) -> set[int]:
    """Every instant at which time may change something for ``segment``, and some more."""
    stay = segment.stay
    turns: set[int] = set()
    for leaf in (leaf for part in conditions_of(segment) for leaf in leaves(part)):
        for fact in facts:
            turns.update(edges(leaf, fact.ts, fact.values.values()))
        window = window_of(leaf)
        if isinstance(window, Period):
            turns.add(period_end(window.name, window.zone, at))
    for _ in range(2 if stay else 0):  # who dwelt may leave, who left may come back
        assert stay is not None
        steps = turns | {fact.ts for fact in facts}
        turns |= {one + length for one in steps for length in (stay.min_dwell, stay.cooldown)}
    return turns
