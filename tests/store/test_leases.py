"""Leases: one holder at a time, by the database's clock."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from headrace.store import Lease, Store

LONG = timedelta(seconds=30)
SHORT = timedelta(milliseconds=50)


def test_one_of_many_gets_it(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: store.take_lease("stream", f"h{n}", LONG), range(8)))
    assert len([lease for lease in taken if lease]) == 1


def test_story_of_a_lease(store: Store) -> None:
    assert store.take_lease("stream", "ann", LONG) == Lease("stream", "ann", None)
    assert store.take_lease("stream", "bob", LONG) is None
    assert store.take_lease("load", "bob", LONG) is not None, "each job has its own"
    assert store.take_lease("stream", "ann", SHORT) == Lease("stream", "ann", None)
    time.sleep(0.1)
    assert store.lease_holder("stream") is None
    assert store.renew_lease("stream", "ann", SHORT), "expired, but nobody else wanted it"
    time.sleep(0.1)
    assert store.take_lease("stream", "bob", LONG) == Lease("stream", "bob", "ann")
    assert not store.renew_lease("stream", "ann", LONG)
    store.release_lease("stream", "ann")
    assert store.lease_holder("stream") == "bob"
    store.release_lease("stream", "bob")
    assert store.take_lease("stream", "cid", LONG) == Lease("stream", "cid", None)
