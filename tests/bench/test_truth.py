"""The benchmark's truth is held against the oracle, so that "wrong 0" means something."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import orjson

sys.path.insert(0, str(Path(__file__).parent))

from calibration import draw_rules
from published import Verdict, judge
from truth import Boundary, Moves, Ranked, measures, members, seen_by, transitions
from workload import (
    HOUR,
    Rules,
    catalog_document,
    draw_events,
    encode,
    rule_document,
    rule_name,
    user_name,
)

from headrace.rules.reference import reference_members
from headrace.rules.yaml import parse_catalog, parse_segment

END = 1_760_000_123_456
EVENTS = draw_events(seed=3, end=END, scale=0.002)


def drawn(count: int) -> Rules:
    return draw_rules(Ranked.of(measures(EVENTS, END)), len(EVENTS), count, seed=3)


def test_truth_is_what_the_oracle_says() -> None:
    rules = drawn(20)
    catalog = parse_catalog(orjson.dumps(catalog_document()).decode(), "catalog")
    segments = [
        parse_segment(orjson.dumps(rule_document(rules, number)).decode(), rule_name(number))
        for number in range(len(rules))
    ]
    lines = [value for rows in encode(EVENTS) for _, _, value in rows]
    for now in (END, END + 7 * HOUR + 1):
        found = members(Ranked.of(measures(EVENTS, now)), rules)
        mine = {(rule_name(n % len(rules)), user_name(n // len(rules))) for n in found.tolist()}
        assert mine == set(reference_members(lines, segments, catalog, now))
        assert mine


def test_calibrated_rules_yield_what_is_wanted() -> None:
    assert abs(drawn(100).expected / len(EVENTS) - 0.25) < 0.05


def test_transitions_of_all_batches_add_up_to_the_memberships_at_the_end() -> None:
    rules = drawn(50)
    ends = [dict.fromkeys(range(4), size) for size in (300, 700, 10_000)]
    batches = [Boundary(n, END + n, end) for n, end in enumerate(ends)]
    moves = transitions(EVENTS, rules, batches)
    held: set[int] = set()
    for move in moves:
        held |= set(move.entered.tolist())
        held -= set(move.left.tolist())
    assert sorted(held) == members(Ranked.of(measures(EVENTS, END + 2)), rules).tolist()
    assert seen_by(EVENTS, ends[0]).sum() == 4 * 300


def test_a_verdict_counts_what_is_missing_extra_or_told_twice() -> None:
    one, none = np.array([5]), np.array([], dtype=np.int64)
    assert judge([Moves(1, one, none)], [Moves(1, one, none)]) == Verdict(1, 1, 0)
    assert judge([], [Moves(1, one, none)]).wrong == 1
    assert judge([Moves(2, one, none)], [Moves(1, one, none)]).wrong == 2
    assert judge([Moves(1, none, one)], [Moves(1, one, none)]).wrong == 2
    assert judge([Moves(1, np.array([5, 5]), none)], [Moves(1, one, none)]).wrong == 1
