from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from headrace.clock import DAY, MINUTE, Instant
from headrace.engine.door import admit
from headrace.jobs.shop import HABITS, Message, Shop
from headrace.jobs.shop_garbage import GARBAGE
from headrace.rules.catalog import Catalog
from headrace.rules.folder import load_rules

START: Instant = 1_760_000_000_000
RETENTION = 1_095 * DAY


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_rules(Path(__file__).parents[2] / "rules").catalog


def at_the_door(messages: list[Message], catalog: Catalog, now: Instant) -> pa.Table:
    raw = pa.table(
        {
            "value": pa.array([message.value for message in messages], pa.binary()),
            "topic": ["events.v1"] * len(messages),
            "partition": pa.array([0] * len(messages), pa.int32()),
            "offset": pa.array(range(len(messages)), pa.int64()),
        }
    )
    return admit(raw, catalog=catalog, now=now, retention_ms=RETENTION)


def played(seed: int) -> list[Message]:
    shop = Shop(seed=seed, users=50, start=START)
    return [*shop.history(2_000), *shop.live(500, START + MINUTE)]


def test_same_seed_same_messages() -> None:
    assert played(7) == played(7)
    assert played(7) != played(8)


def test_history_is_as_long_as_asked_and_every_customer_signs_up() -> None:
    messages = list(Shop(seed=1, users=50, start=START).history(2_000))
    events = [orjson.loads(m.value) for m in messages if m.kind == "event"]
    links = [e for e in events if e["type"] in ("alias", "delete")]
    assert len(events) - len(links) == 2_000 and links
    known = {e["user_id"] for e in events if e["type"] == "traits"}
    assert len([user for user in known if user.startswith("user-")]) == 50
    assert min(e["ts"] for e in events) >= START - 40 * DAY
    assert max(e["ts"] for e in events) <= START


def test_repeats_are_of_messages_already_sent() -> None:
    sent: set[bytes] = set()
    repeats = 0
    for message in played(1):
        if message.kind == "duplicate":
            repeats += 1
            assert message.value in sent
        sent.add(message.value)
    assert repeats > 5


def test_events_are_not_in_order() -> None:
    stamps = [orjson.loads(m.value)["ts"] for m in played(1) if m.kind == "event"]
    assert stamps != sorted(stamps)


def test_the_catalog_knows_every_habit_and_its_properties(catalog: Catalog) -> None:
    shop = Shop(seed=1, users=10, start=START)
    for message in shop.live(2_000, START):
        line = orjson.loads(message.value) if message.kind == "event" else {}
        if line.get("type") == "traits":
            assert line["traits"].keys() <= catalog.traits.keys()
        elif line.get("type") not in (None, "alias", "delete"):
            assert line["properties"].keys() <= catalog.events[line["type"]].properties.keys()
    assert HABITS.keys() <= catalog.events.keys()


def test_the_door_takes_events_and_repeats_and_refuses_garbage(catalog: Catalog) -> None:
    messages = played(3)
    now = START + MINUTE
    verdicts = at_the_door(messages, catalog, now)["verdict"].to_pylist()
    found = Counter(zip((m.kind for m in messages), verdicts, strict=True))
    assert found.keys() == {
        ("event", "accepted"),
        ("duplicate", "accepted"),
        ("garbage", "rejected"),
    }


@pytest.mark.parametrize(
    "number", range(len(GARBAGE)), ids=[f"{i}-{g.reason}" for i, g in enumerate(GARBAGE)]
)
def test_garbage_is_refused_for_its_reason(catalog: Catalog, number: int) -> None:
    garbage = GARBAGE[number]
    message = Message(b"u", garbage.make("e1", "u1", START), "garbage")
    row = at_the_door([message], catalog, START).to_pylist()[0]
    assert (row["verdict"], row["reason"], row["raw"]) == (
        "rejected",
        garbage.reason,
        message.value,
    )
