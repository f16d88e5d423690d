"""Integers for content hashes: stable, dense, quick, and the same for all who ask at once."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

from headrace.plan.registry import MemoryRegistry
from headrace.store import Store


def hashes(count: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{number}".encode()).hexdigest() for number in range(count)]


def test_same_contract_as_the_registry_in_memory(store: Store) -> None:
    memory = MemoryRegistry()
    for kind, wanted in [
        ("slot", ["b", "a", "b"]),
        ("slot", ["c", "a"]),
        ("version", ["c"]),
        ("slot", []),
        ("slot", ["d", "d", "e", "a"]),
    ]:
        assert store.ids(kind, wanted) == memory.ids(kind, wanted)


def test_an_abandoned_edition_leaves_no_gap(store: Store) -> None:
    with store.publishing(dry_run=True) as edition:
        assert edition.registry.ids("slot", ["a", "b"]) == [0, 1]
    assert store.ids("slot", ["b"]) == [0]


def test_twenty_thousand_are_given_at_once(store: Store) -> None:
    wanted = hashes(20_000)
    begun = time.monotonic()
    assert store.ids("slot", wanted) == list(range(20_000))
    given = time.monotonic() - begun
    assert store.ids("slot", list(reversed(wanted))) == list(reversed(range(20_000)))
    assert given < 5.0, "the ids are to be given in bulk, not one by one"


def test_askers_at_once_agree(store: Store) -> None:
    wanted = hashes(500)
    orders = [wanted[k * 50 :] + wanted[: k * 50] for k in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda order: store.ids("slot", order), orders))
    agreed = [
        dict(zip(order, ids, strict=True)) for order, ids in zip(orders, answers, strict=True)
    ]
    assert all(answer == agreed[0] for answer in agreed)
    assert sorted(agreed[0].values()) == list(range(500))
