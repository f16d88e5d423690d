"""What is told of a stream: all it brought, and whether most of what came lately is bad."""

from __future__ import annotations

from collections import Counter

from headrace.jobs.stream_counts import FEWEST, LATELY, StreamCounts


def test_a_few_bad_messages_say_nothing_yet() -> None:
    counts = StreamCounts()
    counts.count(5, Counter({"not-json": FEWEST - 1}))
    told = counts.told(12)
    assert (told["accepted"], told["rejected"], told["last_at"]) == (0, FEWEST - 1, 5)
    assert told["failing"] == "" and told["reasons"] == {"not-json": FEWEST - 1}


def test_a_bad_streak_is_failing_until_it_is_over() -> None:
    counts = StreamCounts()
    counts.count(1, Counter({"": LATELY}))
    assert counts.told(12)["failing"] == ""
    for now in range(2, 12):
        counts.count(now, Counter({"": 40, "bad-ts": 50, "wrong-type": 10}))
    told = counts.told(12)
    assert told["failing"] == "600 of the last 1,000 messages were rejected: bad-ts, wrong-type"
    assert told["rejected"] == 600
    for now in range(12, 22):
        counts.count(now, Counter({"": 100}))
    told = counts.told(12)
    assert (told["failing"], told["reasons"], told["rejected"]) == ("", {}, 600)
