from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from headrace.cli.live import SegmentLine, View, plain_line
from headrace.jobs.batch_log import covers, logged_batches
from headrace.jobs.comparison import Accounts, compare, expected_members
from headrace.jobs.shop import Shop
from headrace.rules.folder import load_rules
from headrace.rules.reference import reference_members

BATCH = {
    "event": "batch", "n": 7, "now": 1_000, "events": 5, "accepted": 3, "duplicates": 1,
    "quarantined": 1, "users": 2, "messages": 2, "next_due": None, "linked": True,
    "seconds": {"fold": 0.1},
    "ends": {"events.v1": {"0": 5}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "served", "said"),
    [
        pytest.param([("s", "a")], [("s", "a")], [], id="equal"),
        pytest.param([("s", "a")], [], ["s a: is a member, not served as one"], id="missing"),
        pytest.param([], [("s", "a")], ["s a: served as a member, is none"], id="extra"),
        pytest.param([], [], [], id="nothing at all"),
    ],
)
def test_compare(
    expected: list[tuple[str, str]], served: list[tuple[str, str]], said: list[str]
) -> None:
    assert [str(difference) for difference in compare(expected, served).differences] == said


def test_a_comparison_says_how_much_it_compared() -> None:
    assert str(compare([("s", "a"), ("t", "a")], [("s", "a")])) == "1 differences in 2 memberships"


def test_of_a_batch_that_ran_twice_the_last_word_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "stream-1.log", tmp_path / "stream-2.log"
    first.write_bytes(
        b"WARN something else\n" + orjson.dumps({**BATCH, "accepted": 2}) + b'\n{"event":"batch","n'
    )
    second.write_bytes(orjson.dumps(BATCH) + b"\n" + orjson.dumps({**BATCH, "n": 8}) + b"\n")
    batches = logged_batches([first, second, tmp_path / "stream-3.log"])
    assert [(batch.n, batch.accepted) for batch in batches] == [(7, 3), (8, 3)]
    assert batches[0].ends == {"events.v1": {0: 5}}


@pytest.mark.parametrize(
    ("ends", "wanted", "is_covered"),
    [
        ({0: 5, 1: 3}, {0: 5, 1: 2}, True),
        ({0: 4}, {0: 5}, False),
        ({}, {0: 0}, True),
        ({}, {}, True),
    ],
)
def test_covers(ends: dict[int, int], wanted: dict[int, int], is_covered: bool) -> None:
    assert covers(ends, wanted) is is_covered


def test_a_view_in_one_plain_line() -> None:
    view = View(
        phase="live",
        seconds=12.3,
        segments=(SegmentLine("vip", 12, 3, 1),),
        sent=100,
        lag=4,
        batch=7,
        freshness_ms=1_540,
        accounts=Accounts(accepted=90, duplicates=5, quarantined=1),
    )
    assert plain_line(view) == (
        "  12.3 s  live  batch=7 sent=100 lag=4 accepted=90 duplicates=5 quarantined=1"
        " freshness=1.5s entered/min=3 left/min=1  vip=12"
    )


def test_the_oracle_says_the_same_in_shares(tmp_path: Path) -> None:
    rules = load_rules(Path(__file__).parents[2] / "rules")
    start = 1_760_000_000_000
    lines = [
        message.value
        for message in Shop(seed=5, users=40, start=start).history(800)
        if message.kind == "event"
    ]
    file = tmp_path / "shop.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    whole = reference_members(lines, rules.segments, rules.catalog, start)
    assert whole
    assert expected_members(file, rules.segments, rules.catalog, start, processes=2) == whole
