"""Two doors, the engine's and the oracle's, on lines that no producer ever meant."""

from __future__ import annotations

import random
import re
from typing import Any

import pyarrow as pa
import pytest

from headrace.engine.door import admit
from headrace.rules.reference_facts import Refused, canonical, judge, parse
from strategies import CATALOG

LINES = (
    b'{"event_id":"e","user_id":"u","type":"purchase","ts":1700000000000,"properties":'
    b'{"amount":10.00005,"items":3,"sku":"x","gift":true,"ships":"2026-01-01","labels":["a"]}}',
    b'{"type":"traits","user_id":"u","ts":"2026-01-01T00:00:00.123Z","event_id":"e",'
    b'"traits":{"age":5,"score":1e3,"consent":null,"signed_up":5,"tags":[]}}',
    b'{"type":"alias","from":"a","to":"b","ts":5}',
    b'{"type":"delete","user_id":"u","ts":5}',
)
VALUES = (
    b"1e400 1e309 1e308 -0 -0.0 0.00005 1E5 9007199254740992 9007199254740993 1.0 1e11 -1e11 01 1. "
    b"18446744073709551616 99999999999.99995 99999999999.99994999999999999999 5e-5 1.5e-4 1e-400 "
    b"12345678901.23455 12345678901.23445 0.1e-10000000 1e99999999999999999999 .5 NaN -Infinity "
    b'1e-99999999999999999999 253402300800000 253402300799999 null true "" "x" [] {} [["a"]] '
    b'"\\u0000" "\\ud800" "\\ud83d\\ude00" "2026-01-01" "2026-01-01t00:00:00z" "a\tb" "\x7f" '
    b'"9999-12-31T23:59:59.9999Z" "0001-01-01" \xef\xbb\xbf1 \xff'
).split(b" ") + [b"1" * 400, b"1" * 40]
VALUE = re.compile(rb'(?<=:)("[^"]*"|[0-9.eE+-]+|true|null|\[[^]]*\])')


def broken(line: bytes, dice: random.Random) -> bytes:
    """``line`` with values exchanged, bytes put in and parts cut out."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        kind = dice.random()
        spots = [found.span() for found in VALUE.finditer(line)]
        at = dice.randrange(len(line) + 1)
        if kind < 0.6 and spots:
            start, end = dice.choice(spots)
            line = line[:start] + dice.choice(VALUES) + line[end:]
        elif kind < 0.8:
            line = line[:at] + bytes([dice.randrange(256)]) + line[at + dice.randrange(2) :]
        else:
            line = line[:at] + line[at + dice.randrange(12) :]
    return line


def by_oracle(line: bytes) -> Any:
    try:
        fact = judge(parse(line), CATALOG)
    except Refused as refused:
        return str(refused)
    return fact.event_id, fact.user, fact.type, fact.ts, canonical(fact.sent).decode()


def by_engine(lines: list[bytes]) -> list[Any]:
    """What the door says, of all at once: broken rows stand among good ones, as on a topic."""
    size = len(lines)
    received = pa.table(
        {
            "value": pa.array(lines, pa.binary()),
            "topic": pa.array(["t"] * size),
            "partition": pa.array([0] * size, pa.int32()),
            "offset": pa.array(range(size), pa.int64()),
        }
    )
    rows = admit(received, catalog=CATALOG, now=None, retention_ms=None).to_pylist()
    fields = ("event_id", "user_id", "type", "ts", "properties")
    return [row["reason"] or tuple(row[field] for field in fields) for row in rows]


@pytest.mark.parametrize("seed", range(4))
def test_two_doors_say_the_same_of_any_line(seed: int) -> None:
    dice = random.Random(seed)
    lines = [broken(dice.choice(LINES), dice) for _ in range(2_000)]
    for line, said in zip(lines, by_engine(lines), strict=True):
        assert said == by_oracle(line), line


def test_a_number_without_bounds_does_not_stop_the_door() -> None:
    line = LINES[0].replace(b'"x"', b'"x","other":1e-99999999999999999999')
    assert by_engine([line]) == [by_oracle(line)]
    assert by_engine([line])[0][0] == "e"
