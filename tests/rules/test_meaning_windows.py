"""Windows in windows, held against what counts in them by the oracle."""

from __future__ import annotations

from math import gcd
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import DAY, HOUR, MINUTE, parse_instant
from headrace.rules.meaning.windows import is_inside, most_days
from headrace.rules.model import Ever, Period, Span, Window, Within
from headrace.rules.reference_calendar import local_day
from headrace.rules.reference_measures import counts
from properties import looking

HOPS = (MINUTE, 45 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 16 * HOUR // 5, DAY)
STARTS = tuple(
    map(parse_instant, ("2026-03-02", "2026-03-29", "2026-10-25T01:00:00Z", "2026-01-01"))
)
ZONES = ("UTC", "Europe/Berlin", "Pacific/Apia", "Antarctica/Troll")


def windows() -> st.SearchStrategy[Window]:
    lengths = st.sampled_from((HOUR, 23 * HOUR, DAY, 7 * DAY, 31 * DAY, 366 * DAY))
    around = st.tuples(lengths, st.sampled_from((-DAY, -HOUR, -MINUTE, -1, 0, 1, HOUR, DAY)))
    within = st.builds(Within, around.map(sum).filter(lambda one: one > 0), st.sampled_from(HOPS))
    starts = st.sampled_from(STARTS)
    spans = st.builds(Span, starts, st.none()) | st.builds(
        lambda start, length: Span(start, start + length), starts, lengths
    )
    names = st.sampled_from(("today", "this_week", "this_month", "this_year"))
    periods = st.builds(Period, names, st.sampled_from(ZONES))
    return within | within | spans | periods | st.just(Ever())


@looking(120)
@given(windows(), windows(), st.integers(0, 1 << 32))
def test_what_counts_in_the_narrow_window_counts_in_the_wide_one(
    narrow: Window, wide: Window, seed: int
) -> None:
    if not is_inside(narrow, wide):
        return
    random = Random(seed)
    for _ in range(60):
        day = random.choice(STARTS) + random.randrange(-2, 3) * DAY
        event = day + random.randrange(25) * HOUR + random.choice((-1, 0, 1))
        lengths = {one.length + one.hop for one in (narrow, wide) if isinstance(one, Within)}
        later = random.choice((*lengths, HOUR, DAY, 7 * DAY, 31 * DAY, 366 * DAY))
        at = event + random.choice((0, later - HOUR, later - 1, later)) // MINUTE * MINUTE - 1
        if counts(event, narrow, at):
            assert counts(event, wide, at), (event, at)


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("other", HOPS)
def test_the_bound_on_tails_is_exact(hop: int, other: int) -> None:
    least = DAY + hop - gcd(hop, other)
    assert is_inside(Within(DAY, hop), Within(least, other))
    assert not is_inside(Within(DAY, hop), Within(least - 1, other))
    # The last instant at which an event of the narrow window counts, for every place of its hops.
    ends = [(event, event + hop + DAY - 1) for event in range(0, 2 * DAY, hop)]
    assert all(counts(event, Within(least, other), end) for event, end in ends)
    assert not all(counts(event, Within(least - 1, other), end) for event, end in ends)


PAIRS = [
    (Period("today"), Period("this_week"), True),
    (Period("this_week"), Period("this_month"), False),
    (Period("today", "Europe/Berlin"), Period("today"), False),
    (Period("today"), Within(DAY, HOUR), True),
    (Period("today", "Europe/Berlin"), Within(DAY, HOUR), False),
    (Period("today", "Europe/Berlin"), Within(2 * DAY, HOUR), True),
    (Within(MINUTE, MINUTE), Period("today"), False),
    (Span(5, 9), Span(5, None), True),
    (Span(5, None), Span(5, 9), False),
    (Span(5, 9), Within(366 * DAY, DAY), False),
    (Ever(), Within(366 * DAY, DAY), False),
]


@pytest.mark.parametrize(("narrow", "wide", "expected"), PAIRS)
def test_inside(narrow: Window, wide: Window, expected: bool) -> None:
    assert is_inside(narrow, wide) is expected


@looking(80)
@given(windows(), st.sampled_from(ZONES), st.integers(0, 1 << 32))
def test_no_more_days_count_than_there_are(window: Window, zone: str, seed: int) -> None:
    most = most_days(window, zone)
    if most is None or (isinstance(window, Within) and window.length > 40 * DAY):
        return
    random = Random(seed)
    start = random.choice(STARTS) + random.choice((-1, 0, 1, HOUR, DAY))
    at = start + random.randrange(40 * 24) * HOUR + random.choice((-1, 0, 1))
    happened = range(at - 45 * DAY, at + 1, 45 * MINUTE)
    days = {local_day(zone, one) for one in happened if counts(one, window, at)}
    assert len(days) <= most
