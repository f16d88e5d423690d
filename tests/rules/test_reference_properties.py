"""Promises of the oracle that hold for any rule and history."""

from __future__ import annotations

import random
from collections.abc import Iterable

from hypothesis import given

from headrace.rules.model import Segment
from headrace.rules.reference import reference_members
from headrace.rules.yaml import canonical, content_hash, parse_segment, print_segment
from properties import looking
from strategies import CATALOG, Case, cases, segments

SLOW = looking(80)


@SLOW
@given(cases())
def test_the_order_of_lines_means_nothing(case: Case) -> None:
    shuffled = list(case.lines)
    random.Random(7).shuffle(shuffled)

    def members(lines: Iterable[bytes]) -> list[tuple[str, str]]:
        return reference_members(lines, case.segments, CATALOG, case.at)

    assert members(case.lines) == members(shuffled) == members(reversed(case.lines))


@SLOW
@given(cases())
def test_a_repeated_file_changes_nothing(case: Case) -> None:
    once = reference_members(case.lines, case.segments, CATALOG, case.at)
    assert reference_members(case.lines * 2, case.segments, CATALOG, case.at) == once


@SLOW
@given(segments())
def test_printing_and_parsing_gives_the_rule_back(segment: Segment) -> None:
    text = print_segment(segment)
    again = parse_segment(text)
    assert again == segment
    assert print_segment(again) == text
    assert content_hash(again) == content_hash(segment)
    assert canonical(again) == text
