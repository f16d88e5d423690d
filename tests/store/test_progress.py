"""Scheduled runs that broke off stand until one of their kind has ended well."""

from __future__ import annotations

from headrace.store import Kind, Store


def run(store: Store, kind: Kind, *, well: bool) -> int:
    row = store.begin_progress(kind, kind)
    store.end_progress(row, "done" if well else "failed")
    return row


def test_what_broke_off_stands_until_one_of_its_kind_ends_well(store: Store) -> None:
    run(store, "recompute", well=True)
    assert store.broken_off() == []
    failed = run(store, "recompute", well=False)
    lost = store.begin_progress("upkeep", "upkeep")
    store.end_progress(lost, "lost")
    run(store, "export", well=False)  # somebody's own, who saw it
    assert [row.id for row in store.broken_off()] == [lost, failed]
    store.begin_progress("recompute", "recompute")
    assert [row.id for row in store.broken_off()] == [lost, failed], "it has not ended yet"
    run(store, "recompute", well=True)
    assert [row.id for row in store.broken_off()] == [lost]
