"""What happened to a user: whole, in order, and nothing of others or of what is forgotten."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from headrace.lake.tables import LakeDown, Tables
from headrace.lake.timeline import Entry, Kind, Place, Question, part_of
from headrace.lake.users import Deletion

EVENTS = pa.schema(
    [
        ("event_id", pa.string()), ("user_id", pa.string()), ("type", pa.string()),
        ("ts", pa.int64()), ("properties", pa.string()), ("verdict", pa.string()),
        ("partition", pa.int32()), ("offset", pa.int64()), ("n", pa.int64()), ("at", pa.int64()),
        ("day", pa.date32()),
    ]
)  # fmt: skip
TRANSITIONS = pa.schema(
    [
        ("id", pa.string()), ("user_id", pa.string()), ("segment", pa.string()),
        ("version", pa.int32()), ("change", pa.string()), ("at", pa.int64()),
        ("effective_at", pa.int64()), ("reason", pa.string()), ("measures", pa.string()),
        ("n", pa.int64()), ("day", pa.date32()),
    ]
)  # fmt: skip
FIRST = date(2026, 1, 1)
DAYS = 60
IDS: dict[str, Deletion | None] = {
    "ann": None, "visitor-{1}": Deletion(30_000, 120), "o'hara": None,
}  # fmt: skip
TYPES = ("purchase", "login")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Sixty days of some users; ann goes by three ids, one of which was forgotten once."""
    random, root = Random(7), tmp_path_factory.mktemp("tables")
    events, transitions = [], []
    users = [*IDS, "bob", "ann2"]
    for number in range(500):
        at = random.randrange(DAYS) * 1_000
        batch = {"n": at // 250, "at": at, "day": FIRST + timedelta(days=at // 1_000)}
        user = random.choice(users)
        events.append(
            {"event_id": f"e{number}", "user_id": user, "type": random.choice(TYPES), "ts": at - 5,
             "properties": "{}", "partition": random.randrange(3), "offset": number,
             "verdict": random.choice(["accepted"] * 9 + ["rejected"]), **batch}
        )  # fmt: skip
        transitions.append(
            {"id": f"{random.randrange(1 << 40):x}", "user_id": user, "segment": "big",
             "version": 1, "change": "enter", "effective_at": at, "reason": "event",
             "measures": "{}", **batch}
        )  # fmt: skip
    for name, rows, schema, by in (
        ("events", events, EVENTS, ["day", "verdict"]),
        ("transitions", transitions, TRANSITIONS, ["day"]),
    ):
        table = pa.Table.from_pylist(rows, schema)
        write_deltalake(str(root / name), table, partition_by=by)
    return Tables(str(root))


def question(
    limit: int, kinds: Sequence[Kind] = ("event", "transition"), types: Sequence[str] = ()
) -> Question:
    return Question(canonical="ann", deletions=IDS, limit=limit, kinds=kinds, types=types)


def pages(
    tables: Tables, asked: Question, clock: Callable[[], float] = lambda: 0.0
) -> list[tuple[Entry, ...]]:
    """All pages, one after the other."""
    found, before = [], None
    for _ in range(2_000):
        part = part_of(tables, asked, before=before, clock=clock)
        found.append(part.entries)
        before = part.next
        if before is None:
            return found
    raise AssertionError("there is no end of it")


def everything(tables: Tables, kind: Kind) -> list[dict[str, Any]]:
    """The truth, by reading all of it."""
    name = "events" if kind == "event" else "transitions"
    rows: list[dict[str, Any]] = tables.ask(name, f"SELECT * FROM {name}").to_pylist()
    if kind == "transition":
        return [row for row in rows if row["user_id"] == "ann"]
    return [
        row
        for row in rows
        if row["user_id"] in IDS
        and row["verdict"] == "accepted"
        and row["ts"] > (IDS[row["user_id"]] or Deletion(-9, 0)).until
    ]


def key(entry: Entry) -> tuple[Any, ...]:
    row = entry.row
    return (
        row["day"], row["n"], entry.kind == "transition", row.get("partition", 0),
        row.get("offset", 0), row.get("id", ""),
    )  # fmt: skip


@pytest.mark.parametrize("limit", [7, 100, 5_000])
def test_pages_are_the_whole_in_order(tables: Tables, limit: int) -> None:
    found = pages(tables, question(limit))
    assert all(len(page) == limit for page in found[:-1]) and len(found[-1]) <= limit
    entries = list(itertools.chain(*found))
    assert entries == sorted(entries, key=key, reverse=True)
    for kind in ("event", "transition"):
        told = [entry.row["event_id" if kind == "event" else "id"] for entry in entries
                if entry.kind == kind]  # fmt: skip
        truth = [row["event_id" if kind == "event" else "id"] for row in everything(tables, kind)]
        assert sorted(told) == sorted(truth) and truth


@pytest.mark.parametrize(("limit", "seed"), [(30, 1), (50, 2), (90, 3)])
def test_pages_that_took_too_long_leave_nothing_out(tables: Tables, limit: int, seed: int) -> None:
    random = Random(seed)
    time = 0.0

    def clock() -> float:
        nonlocal time
        time += random.choice([0.0, 0.0, 1.0])
        return time

    slow = list(itertools.chain(*pages(tables, question(limit), clock)))
    assert slow == list(itertools.chain(*pages(tables, question(5_000))))


def test_kinds_and_types_alone(tables: Tables) -> None:
    (found,) = pages(tables, question(5_000, ("transition",)))
    assert {entry.kind for entry in found} == {"transition"}
    (found,) = pages(tables, question(5_000, ("event",), ("login",)))
    expected = [row for row in everything(tables, "event") if row["type"] == "login"]
    assert len(found) == len(expected) and {entry.row["type"] for entry in found} == {"login"}


def test_what_is_forgotten_is_not_told(tables: Tables) -> None:
    # Batch 165 carried it out: until then what was forgotten had its say.
    asked = Question(canonical="ann", deletions={"ann": Deletion(40_000, 165)}, limit=5_000)
    (found,) = pages(tables, asked)
    for kind in ("event", "transition"):
        told = [entry.row for entry in found if entry.kind == kind]
        assert told
        assert all(row["ts"] > 40_000 if kind == "event" else row["n"] > 165 for row in told)


def test_a_place_of_no_day_is_the_end(tables: Tables) -> None:
    part = part_of(tables, question(5), before=Place(FIRST - timedelta(days=1)))
    assert part.entries == () and part.next is None


def test_tables_that_are_not_there_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LakeDown):
        part_of(Tables(str(tmp_path / "nowhere")), question(5))
