"""What is left of joins and deletions once the forgotten are gone says the same of everybody."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.erasure import DATED_SCHEMA, names_in, own_deletion, remembered
from headrace.engine.families import FAMILY_SCHEMA, regroup
from headrace.engine.identity import Identities, Link, resolve
from properties import many

USERS = [f"u{number}" for number in range(7)]


class Registry:
    """Links as the tables keep them: rows of identities, tombstones, and the links themselves."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.tombstones: dict[str, int] = {}
        self.links: list[Link] = []
        self.sent: list[Link] = []
        self.n = 0

    def batch(self, links: list[Link], now: int) -> None:
        self.n += 1
        named = {user for link in links for user in link[2:] if user}
        newest = self.newest()
        families = {row["family"] for row in newest.values() if row["user_id"] in named}
        rows = [row for row in newest.values() if row["family"] in families]
        known = [{name: row[name] for name in FAMILY_SCHEMA.names} for row in rows]
        missing = named - {row["user_id"] for row in rows}
        known += [own_deletion(u, self.tombstones[u]) for u in missing & self.tombstones.keys()]
        change = regroup(pa.Table.from_pylist(known, FAMILY_SCHEMA), links, now=now)
        self.rows += [{**row, "n": self.n, "at": now} for row in change.rows.to_pylist()]
        for user, until in change.forgotten.items():
            self.tombstones.pop(user, None)
            self.tombstones |= {} if until is None else {user: until}
        self.links += links
        self.sent += links

    def erase(self) -> None:
        table = pa.Table.from_pylist(self.rows, DATED_SCHEMA)
        self.rows = remembered(table, n=self.n).to_pylist()
        self.links = [link for link in self.links if link[0] > self.tombstones.get(link[2], -1)]

    def newest(self) -> dict[str, dict[str, Any]]:
        return {row["user_id"]: row for row in sorted(self.rows, key=lambda row: row["n"])}

    def stream(self) -> dict[str, str]:
        rows = self.newest().values()
        return {r["user_id"]: r["canonical"] for r in rows if r["canonical"] != r["user_id"]}

    def batch_path(self, now: int) -> Identities:
        """As a recompute resolves what is stored."""
        named = {user for link in self.links for user in link[2:] if user}
        own: list[Link] = [
            (self.tombstones[user], "delete", user, "") for user in named & self.tombstones.keys()
        ]
        return resolve(self.links + own, at=now)


def history(random: Random) -> list[Link]:
    made: list[Link] = []
    for ts in sorted(random.choices(range(1, 60), k=random.randint(3, 25))):
        one, other = random.sample(USERS, 2)
        made.append((ts, "delete", one, "") if random.random() < 0.3 else (ts, "alias", one, other))
    return made


@given(st.integers(0, 1 << 32))
@many
def test_erasing_between_batches_changes_nobodys_identity(seed: int) -> None:
    random = Random(seed)
    registry, links = Registry(), history(random)
    while links:
        size = random.randint(1, 6)
        arrived, links = links[:size], links[size:]
        again = random.choices(registry.sent, k=2) if registry.sent else []
        now = max(ts for ts, *_ in [*arrived, *registry.sent])
        registry.batch([*arrived, *again], now)
        if random.random() < 0.6:
            registry.erase()
        truth = resolve(registry.sent, at=now)
        assert registry.tombstones == truth.forgotten
        assert registry.stream() == registry.batch_path(now).canonical == truth.canonical


@given(st.integers(0, 1 << 32))
@many
def test_stream_and_batch_agree_on_links_that_come_after_their_deletion(seed: int) -> None:
    random = Random(seed)
    registry, links, now = Registry(), history(random), 60
    random.shuffle(links)
    for link in links:
        registry.batch([link], now)
        if random.random() < 0.5:
            registry.erase()
        found = registry.batch_path(now)
        assert registry.stream() == found.canonical
        assert found.forgotten.items() <= registry.tombstones.items()


@given(st.integers(0, 1 << 32))
@many
def test_nothing_names_the_forgotten_but_what_came_since(seed: int) -> None:
    random = Random(seed)
    registry, links = Registry(), history(random)
    registry.batch(links, 60)
    registry.erase()
    since = {user for ts, _, *ends in resolve_live(links, registry.tombstones) for user in ends}
    gone = registry.tombstones.keys() - since
    assert not gone & {row["user_id"] for row in registry.rows}
    text = orjson.dumps(registry.rows).decode() + orjson.dumps(registry.links).decode()
    assert not [user for user in gone if f'"{user}"' in text or f'\\"{user}\\"' in text]


def resolve_live(links: list[Link], until: dict[str, int]) -> list[Link]:
    return [link for link in links if link[0] > until.get(link[2], -1)]


def test_a_deletion_carried_out_meanwhile_waits_for_the_next_round() -> None:
    registry = Registry()
    registry.batch([(1, "alias", "u0", "u1"), (2, "delete", "u0", "")], 5)
    table = pa.Table.from_pylist(registry.rows, DATED_SCHEMA)
    assert remembered(table, n=0).to_pylist() == registry.rows
    assert remembered(table, n=1).num_rows == 0


def test_a_user_linked_again_keeps_when_he_was_forgotten() -> None:
    registry = Registry()
    registry.batch([(1, "alias", "u0", "u1")], 5)
    registry.batch([(6, "delete", "u0", "")], 7)
    registry.batch([(8, "alias", "u0", "u2")], 9)
    registry.erase()
    rows = [(row["user_id"], row["n"], row["at"], row["forgotten"]) for row in registry.rows]
    assert sorted(rows) == [("u0", 2, 7, 6), ("u0", 3, 9, 6), ("u2", 3, 9, None)]
    assert {row["family"] for row in registry.rows} == {"u0"}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"user_id": "ann"}', id="JSON"),
        pytest.param(b'{"user_id": "ann", "ts":', id="JSON that was cut off"),
        pytest.param(b'{"user_id":"\\u0061nn"}', id="escaped"),
        pytest.param(b'[[{"from": ["ann"]}]]', id="deep inside"),
        pytest.param(b'{"user_id": "ann\\u0000"}', id="before a NUL"),
        pytest.param(b"purchase;ann;9.99", id="a line of another form"),
        pytest.param(b"user=ann\xff\xfe", id="before bytes that are no text"),
    ],
)
def test_refused_bytes_name_ann(raw: bytes) -> None:
    assert "ann" in names_in(raw)


def test_refused_bytes_do_not_name_whom_they_only_contain() -> None:
    assert not {"ann", "hanna", ""} & names_in(b'{"user_id": "johanna"} hannah')
    assert names_in(b"") == set()
    assert "o'neill, ann" in names_in(b'{"user_id": "o\'neill, ann"}')
