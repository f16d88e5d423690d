"""Holds: one a segment until a person releases it, and none for what was seen by then."""

from __future__ import annotations

from datetime import timedelta

from headrace.store import Store

HOUR, NO_TIME = timedelta(hours=1), timedelta(0)


def test_story_of_a_hold(store: Store) -> None:
    assert store.hold("big", "lost half", seen=HOUR)
    assert not store.hold("big", "lost two thirds", seen=HOUR)
    assert store.hold("small", "lost half", seen=HOUR)
    assert [(one.segment_id, one.reason) for one in store.holds()] == [
        ("big", "lost half"),
        ("small", "lost half"),
    ]
    assert store.release_hold("big", by="ann")
    assert not store.release_hold("big", by="bob")
    assert not store.hold("big", "lost half", seen=HOUR), "ann has seen that"
    assert [one.segment_id for one in store.holds()] == ["small"]
    assert store.hold("big", "lost half again", seen=NO_TIME)
