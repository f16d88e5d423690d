"""The checks of meaning, in one go."""

from __future__ import annotations

from headrace.errors import Problem
from headrace.rules.computed import written_out
from headrace.rules.meaning.findings import check_parts
from headrace.rules.meaning.overlaps import check_overlaps
from headrace.rules.meaning.reasoning import Reasoning
from headrace.rules.source import Places, Rules


def check_meaning(rules: Rules) -> tuple[Problem, ...]:
    """Warnings about what the segments of ``rules`` say; the rules have no errors.

    HR310 never holds, HR311 always holds, HR312 adds nothing, HR314 a duplicate, HR315 a part of
    another segment. Each is proven; where the proof would be long there is no warning, nor of
    statements in batch, which say it in words of their own.
    """
    written = (written_out(one, rules.catalog) for one in rules.segments if not one.sql)
    segments = sorted(written, key=lambda segment: segment.id)
    reasoning = Reasoning(rules.catalog, {segment.id: segment for segment in segments})
    problems: list[Problem] = []
    for segment in segments:
        places = rules.places.get(segment.id, Places(segment.id))
        problems += check_parts(segment, reasoning, places)
    problems += check_overlaps(segments, reasoning, rules.places)
    return tuple(sorted(problems, key=lambda problem: (problem.place, problem.code)))
