"""A SQL rule means what SQL means: SQLite and the reference find the same users.

SQLite gets the statement as it stands, but for what it spells otherwise: instants are numbers
there, and our sources are tables.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from headrace.clock import DAY, HOUR, parse_instant
from headrace.rules.model import Segment
from headrace.rules.printer import print_condition
from headrace.rules.reference import reference_members
from headrace.rules.sql import print_sql, read_sql
from strategies import AT, CATALOG

USERS = tuple(f"u{number}" for number in range(12))
LENGTHS = {"HOUR": HOUR, "DAY": DAY, "WEEK": 7 * DAY}

STATEMENTS_TEXT = """
SELECT user_id FROM purchase
SELECT DISTINCT user_id FROM purchase WHERE amount > 2
SELECT user_id FROM profiles
SELECT user_id FROM purchase WHERE amount <> 2
SELECT user_id FROM purchase WHERE NOT (amount = 2 OR sku = 'a')
SELECT user_id FROM purchase WHERE NOT (amount = 2 AND sku = 'a')
SELECT user_id FROM purchase WHERE NOT amount > 2 AND NOT sku = 'a'
SELECT user_id FROM purchase WHERE (amount > 2) IS NOT TRUE
SELECT user_id FROM purchase WHERE (amount > 2 AND sku = 'a') IS FALSE
SELECT user_id FROM purchase WHERE ((amount > 2) IS TRUE OR sku = 'ab') IS NOT FALSE
SELECT user_id FROM purchase WHERE amount NOT BETWEEN 1 AND 3
SELECT user_id FROM purchase WHERE NOT NOT amount BETWEEN 1 AND 3
SELECT user_id FROM purchase WHERE sku NOT IN ('a', 'b') AND items IN (1, 2)
SELECT user_id FROM purchase WHERE sku IS NULL OR sku NOT IN ('a', 'b')
SELECT user_id FROM purchase WHERE (sku IS NULL OR sku NOT LIKE '%b%') AND amount < 3
SELECT user_id FROM purchase WHERE sku LIKE 'a%' OR sku LIKE '%c' OR sku LIKE 'b'
SELECT user_id FROM purchase WHERE sku NOT LIKE 'a%' AND NOT sku LIKE '%b'
SELECT user_id FROM purchase WHERE NOT (sku RLIKE '^a' OR sku IS NULL)
SELECT user_id FROM purchase WHERE sku IS DISTINCT FROM 'a' AND amount IS NOT DISTINCT FROM 2
SELECT user_id FROM purchase WHERE NOT (sku IS DISTINCT FROM 'a')
SELECT user_id FROM purchase WHERE gift
SELECT user_id FROM purchase WHERE NOT gift
SELECT user_id FROM purchase WHERE gift IS NOT TRUE AND amount IS NOT NULL
SELECT user_id FROM purchase WHERE 2 <= amount AND 3 > amount
SELECT user_id FROM purchase WHERE ts > now() - INTERVAL 30 DAYS
SELECT user_id FROM purchase WHERE now() - INTERVAL 7 DAYS <= ts AND amount > 1
SELECT user_id FROM purchase WHERE ts >= TIMESTAMP '2026-02-01 00:00:00'
SELECT user_id FROM purchase WHERE ts > DATE '2026-02-01' AND ts <= DATE '2026-03-01'
SELECT user_id FROM purchase WHERE ts BETWEEN DATE '2026-02-01' AND DATE '2026-02-20'
SELECT user_id FROM purchase WHERE ts < TIMESTAMP '2026-02-14 12:34:56.789'
SELECT user_id FROM purchase WHERE ships > TIMESTAMP '2026-02-14 00:00:00' AND NOT ships > DATE
    '2026-03-01'
SELECT user_id FROM purchase GROUP BY user_id HAVING count(*) < 3
SELECT user_id FROM purchase GROUP BY user_id HAVING count(*) <> 2
SELECT user_id FROM purchase WHERE amount > 100 GROUP BY user_id HAVING count(*) = 0
SELECT user_id FROM purchase GROUP BY user_id HAVING count(amount) < 2
SELECT user_id FROM purchase GROUP BY user_id HAVING count(amount) = 0
SELECT user_id FROM purchase GROUP BY user_id HAVING count(DISTINCT sku) <= 1
SELECT user_id FROM purchase GROUP BY user_id HAVING NOT count(DISTINCT sku) > 0
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) < 4
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) <> 4
SELECT user_id FROM purchase GROUP BY user_id HAVING NOT (sum(amount) > 4)
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) IS NULL
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) IS NOT NULL AND sum(items) IS
    NULL
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) IS DISTINCT FROM 0
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) IS DISTINCT FROM 4
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) BETWEEN -3 AND 3
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) NOT BETWEEN -3 AND 3
SELECT user_id FROM purchase GROUP BY user_id HAVING (sum(amount) > 4) IS NOT TRUE
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) IS NULL OR sum(amount) NOT IN
    (0, 4)
SELECT user_id FROM purchase GROUP BY user_id HAVING avg(amount) <= 2 OR avg(amount) IS NULL
SELECT user_id FROM purchase GROUP BY user_id HAVING NOT (avg(amount) > 2 AND max(items) = 2)
SELECT user_id FROM purchase GROUP BY user_id HAVING min(items) <> 1 AND max(amount) IN (1, 2,
    3)
SELECT user_id FROM purchase GROUP BY user_id HAVING min(items) IS DISTINCT FROM 1
SELECT user_id FROM purchase WHERE sku IS NOT NULL GROUP BY user_id HAVING max_by(sku, ts) = 'a'
SELECT user_id FROM purchase WHERE sku LIKE 'a%' GROUP BY user_id HAVING min_by(sku, ts) <> 'a'
SELECT user_id FROM purchase WHERE sku IS NOT NULL AND amount > 1 GROUP BY user_id HAVING NOT
    max_by(sku, ts) IN ('a') AND count(*) > 1
SELECT user_id FROM profiles WHERE country <> 'DE'
SELECT user_id FROM profiles WHERE NOT (country = 'DE' OR age > 20)
SELECT user_id FROM profiles WHERE country IN ('DE', 'NO') AND NOT age BETWEEN 10 AND 20
SELECT user_id FROM profiles WHERE signed_up > now() - INTERVAL 30 DAYS
SELECT user_id FROM profiles WHERE NOT signed_up > now() - INTERVAL 30 DAYS
SELECT user_id FROM profiles WHERE signed_up <= now() - INTERVAL 7 DAYS AND signed_up < now()
SELECT user_id FROM profiles WHERE signed_up >= DATE '2026-02-20' AND consent
SELECT user_id FROM profiles WHERE age <=> 20 OR NOT consent
SELECT user_id FROM profiles WHERE country = 'DE' AND user_id IN (SELECT user_id FROM purchase
    WHERE amount > 1)
SELECT user_id FROM profiles WHERE country = 'DE' OR user_id NOT IN (SELECT user_id FROM
    purchase)
SELECT user_id FROM profiles p WHERE NOT (country = 'DE' AND EXISTS (SELECT 1 FROM purchase x
    WHERE x.user_id = p.user_id AND x.amount > 1))
SELECT user_id FROM profiles p WHERE NOT EXISTS (SELECT * FROM purchase WHERE p.user_id =
    user_id GROUP BY user_id HAVING count(*) > 2)
SELECT user_id FROM purchase p WHERE p.amount > 1 AND EXISTS (SELECT 1 FROM page_view v WHERE
    v.user_id = p.user_id AND v.page = 'a') GROUP BY p.user_id HAVING count(*) < 3
SELECT user_id FROM purchase WHERE user_id NOT IN (SELECT user_id FROM page_view) AND amount <>
    2
SELECT user_id FROM profiles EXCEPT SELECT user_id FROM purchase
SELECT user_id FROM profiles EXCEPT SELECT user_id FROM purchase GROUP BY user_id HAVING
    count(*) > 2
SELECT user_id FROM profiles EXCEPT SELECT user_id FROM purchase GROUP BY user_id HAVING
    sum(amount) > 2
SELECT user_id FROM profiles EXCEPT SELECT user_id FROM purchase GROUP BY user_id HAVING
    sum(amount) < 2
SELECT user_id FROM profiles EXCEPT SELECT user_id FROM purchase GROUP BY user_id HAVING
    avg(amount) = 2
SELECT user_id FROM profiles EXCEPT SELECT user_id FROM purchase GROUP BY user_id HAVING
    avg(amount) > 2
SELECT user_id FROM profiles EXCEPT SELECT user_id FROM purchase GROUP BY user_id HAVING
    max(items) IS NOT NULL
SELECT user_id FROM profiles EXCEPT SELECT user_id FROM profiles WHERE country = 'DE'
SELECT user_id FROM purchase INTERSECT SELECT user_id FROM page_view EXCEPT SELECT user_id FROM
    profiles WHERE age > 10
SELECT user_id FROM purchase WHERE amount > 2 UNION SELECT user_id FROM page_view UNION ALL
    SELECT user_id FROM profiles WHERE age > 20
SELECT user_id FROM page_view EXCEPT SELECT user_id FROM purchase UNION SELECT user_id FROM
    profiles WHERE age > 20
"""
STATEMENTS = re.sub(r"\n +", " ", STATEMENTS_TEXT.strip()).splitlines()


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [World(random.Random(seed)) for seed in range(6)]


class World:
    """One history, as lines of events and as tables of SQLite."""

    def __init__(self, choose: random.Random) -> None:
        self.lines: list[bytes] = []
        self.database = sqlite3.connect(":memory:")
        self.database.execute("PRAGMA case_sensitive_like = ON")
        self.database.create_function(
            "regexp", 2, lambda p, x: None if x is None else bool(re.search(p, x))
        )
        self.database.create_aggregate("min_by", 2, _by(min))  # type: ignore[arg-type]
        self.database.create_aggregate("max_by", 2, _by(max))  # type: ignore[arg-type]
        traits = {"country": ("DE", "NO", "de"), "age": (10, 15, 20, 25), "consent": (True, False)}
        days = [AT - day * DAY + DAY // 2 for day in range(1, 60)]
        rows = []
        for user in USERS:
            found = _some(choose, {**traits, "signed_up": days})
            self.lines.append(_line(user_id=user, type="traits", ts=0, traits=found))
            rows.append((user, *(found.get(name) for name in (*traits, "signed_up"))))
        self._table("profiles", (*traits, "signed_up"), rows)
        fields = {
            "amount": (-3, 0, 1, 2, 3, 4.5), "items": (1, 2, 3), "gift": (True, False),
            "sku": ("a", "b", "ab", "abc", "c"), "ships": days,
        }  # fmt: skip
        self._events(choose, "purchase", fields, days)
        self._events(choose, "page_view", {"page": ("a", "b")}, days)

    def _events(
        self, choose: random.Random, kind: str, fields: dict[str, Any], days: Sequence[int]
    ) -> None:
        rows = []
        for number, ts in enumerate(choose.sample(days, 18)):
            user = choose.choice(USERS[:9])
            found = _some(choose, fields)
            line = _line(
                event_id=f"{kind}{number}", user_id=user, type=kind, ts=ts, properties=found
            )
            self.lines.append(line)
            rows.append((user, ts, *(found.get(name) for name in fields)))
        self._table(kind, ("ts", *fields), rows)

    def _table(self, name: str, columns: Iterable[str], rows: Sequence[tuple[Any, ...]]) -> None:
        self.database.execute(f"CREATE TABLE {name} (user_id, {', '.join(columns)})")
        marks = ", ".join("?" for _ in rows[0])
        self.database.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)

    def by_sqlite(self, statement: str) -> list[str]:
        return sorted({row[0] for row in self.database.execute(_for_sqlite(statement))})

    def by_reference(self, segment: Segment) -> list[str]:
        return [user for _, user in reference_members(self.lines, [segment], CATALOG, AT)]


def _some(choose: random.Random, fields: dict[str, Any]) -> dict[str, Any]:
    return {name: choose.choice(of) for name, of in fields.items() if choose.random() < 0.6}


def _line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _by(pick: Any) -> type:
    class By:
        def __init__(self) -> None:
            self.rows: list[tuple[int, Any]] = []

        def step(self, value: Any, ts: int) -> None:
            self.rows.append((ts, value))

        def finalize(self) -> Any:
            return pick(self.rows, key=lambda row: row[0])[1]

    return By


def _for_sqlite(statement: str) -> str:
    def ago(found: re.Match[str]) -> str:
        return str(AT - int(found[1]) * LENGTHS[found[2]])

    def instant(found: re.Match[str]) -> str:
        text = found[1].replace(" ", "T")
        return str(parse_instant(text if len(text) == 10 else text + "Z"))

    statement = re.sub(r"now\(\) - INTERVAL (\d+) (HOUR|DAY|WEEK)S?", ago, statement)
    statement = re.sub(r"(?:TIMESTAMP|DATE) '([^']*)'", instant, statement)
    statement = statement.replace("now()", str(AT)).replace("<=>", "IS NOT DISTINCT FROM")
    return statement.replace("RLIKE", "REGEXP")


@pytest.mark.parametrize("statement", STATEMENTS)
def test_sqlite_finds_the_same_users(statement: str, worlds: list[World]) -> None:
    read = read_sql(f"-- id: x\n{statement}")
    assert read.segment is not None and not read.problems, read.problems
    for world in worlds:
        expected = world.by_sqlite(statement)
        assert world.by_reference(read.segment) == expected, print_condition(read.segment.condition)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_what_is_printed_means_the_same(statement: str, worlds: list[World]) -> None:
    read = read_sql(f"-- id: x\n{statement}")
    if read.problems or read.segment is None:
        return
    printed = print_sql(read.segment, CATALOG)
    again = read_sql(printed)
    assert again.segment == read.segment
    assert print_sql(again.segment, CATALOG) == printed
    if "condition(" in printed or re.search(r"^\s*\($", printed, re.MULTILINE):
        return  # SQLite knows neither
    plain = re.sub(r"'(\d{4}-\d\d-\d\d)T([0-9:.]+)Z'", r"'\1 \2'", printed)
    for world in worlds:
        assert world.by_sqlite(plain) == world.by_sqlite(statement), printed


ROW = """
amount > 2 | amount <> 2 | amount <= 3 | amount IS NULL | amount BETWEEN 0 AND 2 | items = 1
items IN (1, 2) | items IS DISTINCT FROM 2 | sku = 'a' | sku LIKE 'a%' | sku NOT IN ('a', 'b')
sku IS NULL | sku NOT LIKE '%b%' | sku RLIKE 'b' | gift | gift IS TRUE | gift <=> FALSE
ships > TIMESTAMP '2026-02-20 00:00:00' | ships <= DATE '2026-02-20'
"""
GROUP = """
count(*) > 1 | count(*) < 3 | count(amount) <> 1 | count(DISTINCT sku) = 1 | sum(amount) > 2
sum(amount) < 2 | sum(amount) IS NULL | sum(items) BETWEEN 0 AND 3 | sum(items) = 0
sum(items) IS DISTINCT FROM 0 | avg(amount) <= 1 | avg(amount) <> 2 | avg(amount) IS NULL
min(items) > 1 | min(items) IS NOT DISTINCT FROM 1 | max(amount) IN (1, 2, 3)
max(amount) NOT IN (3, 4.5) | NOT max(items) >= 2
"""
USER = """
country = 'DE' | country <> 'DE' | country IS NULL OR country NOT IN ('NO') | age > 15
age NOT BETWEEN 11 AND 16 | consent | consent IS NOT TRUE | signed_up > now() - INTERVAL 30 DAYS
signed_up <= now() - INTERVAL 14 DAYS | user_id IN (SELECT user_id FROM purchase WHERE amount > 2)
user_id NOT IN (SELECT user_id FROM purchase GROUP BY user_id HAVING count(*) < 3)
EXISTS (SELECT 1 FROM page_view v WHERE v.user_id = p.user_id AND NOT page = 'a')
"""


def _made_up(choose: random.Random, leaves: str, depth: int) -> str:
    shape = choose.randrange(6) if depth else 6
    inner = [_made_up(choose, leaves, depth - 1) for _ in range(2)] if depth else []
    match shape:
        case 0 | 1:
            return f"({inner[0]}) AND ({inner[1]})"
        case 2 | 3:
            return f"({inner[0]}) OR ({inner[1]})"
        case 4:
            return f"NOT ({inner[0]})"
        case 5:
            kind = choose.choice(("TRUE", "FALSE"))
            return f"({inner[0]}) IS {choose.choice(('', 'NOT '))}{kind}"
        case _:
            return choose.choice(re.split(r"\s*[|\n]\s*", leaves.strip()))


@pytest.mark.parametrize("seed", range(120))
def test_any_logic_of_nulls_means_the_same(seed: int, worlds: list[World]) -> None:
    choose = random.Random(seed)
    for leaves, head, tail in (
        (ROW, "SELECT user_id FROM purchase WHERE ", ""),
        (GROUP, "SELECT user_id FROM purchase GROUP BY user_id HAVING ", ""),
        (ROW, "SELECT user_id FROM purchase WHERE ", " GROUP BY user_id HAVING sum(items) < 4"),
        (USER, "SELECT user_id FROM profiles p WHERE ", ""),
    ):
        statement = f"{head}{_made_up(choose, leaves, choose.randrange(4))}{tail}"
        if tail:
            statement = statement.replace("WHERE ", "WHERE (").replace(" GROUP", ") GROUP")
        test_sqlite_finds_the_same_users(statement, worlds[:3])
        test_what_is_printed_means_the_same(statement, worlds[:3])


def test_the_worlds_tell_the_statements_apart(worlds: list[World]) -> None:
    """Statements that nobody, or everybody, fits would prove nothing."""
    for statement in STATEMENTS:
        found = {len(world.by_sqlite(statement)) for world in worlds}
        if statement != "SELECT user_id FROM profiles" and "= 0" not in statement:
            assert found - {0, len(USERS)}, statement
