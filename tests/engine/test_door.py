"""The door: each row judged by itself, exact to the digit, and never an exception."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.clock import DAY, HOUR
from headrace.engine.door import admit
from headrace.engine.state import EVENTS_SCHEMA
from headrace.rules.catalog import Catalog, EventType, Field
from headrace.rules.reference_facts import Refused, judge, parse
from strategies import AT, CATALOG, GARBAGE, cases
from streams import raw

NOW = AT
FROZEN = Catalog(
    events=CATALOG.events, traits=CATALOG.traits, properties_mode="freeze", events_mode="quarantine"
)


def door(*values: bytes | None, catalog: Catalog = CATALOG, **kw: Any) -> list[dict[str, Any]]:
    options = {"now": None, "retention_ms": None, **kw}
    table = admit(raw(values), catalog=catalog, **options)
    assert table.schema.equals(EVENTS_SCHEMA)
    return table.to_pylist()


def event(**changes: Any) -> bytes:
    line = {"event_id": "e", "user_id": "u", "type": "purchase", "ts": NOW, "properties": {}}
    line |= changes
    return orjson.dumps({key: value for key, value in line.items() if value is not ...})


def with_amount(text: str) -> bytes:
    return event(properties={"amount": 0}).replace(b'"amount":0', f'"amount":{text}'.encode())


DEEP = json.loads("[" * 31 + "]" * 31)
REASONS = [
    pytest.param(b"{", "not-json", id="half an object"),
    pytest.param(b"", "not-json", id="nothing"),
    pytest.param(None, "not-json", id="a tombstone"),
    pytest.param(b"NaN", "not-json", id="not a number"),
    pytest.param(b'{"ts":NaN}', "not-json", id="not a number inside"),
    pytest.param(b'"\\ud800"', "not-json", id="half a character"),
    pytest.param(b"[1]", "not-an-object", id="a list"),
    pytest.param(b"\xff{}", "invalid-utf8", id="not UTF-8"),
    pytest.param(b'{"a":"\0"}', "nul-character", id="a NUL"),
    pytest.param(event(user_id="u\0"), "nul-character", id="an escaped NUL"),
    pytest.param(event(properties={"x": ["\0"]}), "nul-character", id="a NUL deep inside"),
    pytest.param(event(properties={"x": "a" * 256 * 1024}), "too-large", id="too large"),
    pytest.param(event(properties={"x": DEEP}), "too-deep", id="33 deep"),
    pytest.param(b"[" * 100_000, "too-deep", id="hundred thousand deep"),
    pytest.param(event(event_id=...), "missing-event-id", id="no event id"),
    pytest.param(event(user_id=None), "missing-user-id", id="null user id"),
    pytest.param(event(type=...), "missing-type", id="no type"),
    pytest.param(event(type=""), "missing-type", id="an empty type"),
    pytest.param(event(ts=...), "missing-ts", id="no ts"),
    pytest.param(event(user_id=7), "wrong-type", id="a number as user id"),
    pytest.param(event(type=["purchase"]), "wrong-type", id="a list as type"),
    pytest.param(event(user_id=""), "bad-id", id="an empty user id"),
    pytest.param(event(event_id="e" * 257), "bad-id", id="an event id of 257 characters"),
    pytest.param(event(ts="2026-03-15"), "bad-ts", id="a date is no instant"),
    pytest.param(event(ts="2026-03-15T10:00:00"), "bad-ts", id="no offset"),
    pytest.param(event(ts=1.5e12), "bad-ts", id="a fraction of a millisecond"),
    pytest.param(event(ts=True), "bad-ts", id="a boolean as ts"),
    pytest.param(event(ts=1 << 60), "bad-ts", id="the year 36 million"),
    pytest.param(event(ts=-1), "too-old", id="before 1970"),
    pytest.param(event(properties=[1]), "wrong-type", id="properties are a list"),
    pytest.param(event(properties={"amount": "10"}), "wrong-type", id="a string is no number"),
    pytest.param(event(properties={"amount": True}), "wrong-type", id="a boolean is no number"),
    pytest.param(event(properties={"items": 3.0}), "wrong-type", id="3.0 is no integer"),
    pytest.param(event(properties={"items": (1 << 53) + 1}), "out-of-range", id="beyond 2^53"),
    pytest.param(event(properties={"sku": 1}), "wrong-type", id="a number is no string"),
    pytest.param(event(properties={"gift": 1}), "wrong-type", id="1 is not true"),
    pytest.param(event(properties={"labels": ["a", 1]}), "wrong-type", id="not all strings"),
    pytest.param(event(properties={"ships": "soon"}), "wrong-type", id="no timestamp"),
    pytest.param(with_amount("99999999999.99995"), "out-of-range", id="rounds up to 10^11"),
    pytest.param(with_amount("1e300"), "out-of-range", id="a huge number"),
    pytest.param(with_amount("1e999999999"), "not-json", id="no double holds it"),
    pytest.param(with_amount("9" * 5_000), "not-json", id="five thousand digits"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "reason"), REASONS)
def test_reasons(value: bytes | None, reason: str) -> None:
    (row,) = door(value)
    assert (row["verdict"], row["reason"]) == ("rejected", reason)
    assert row["raw"] == value
    assert row["user_id"] is row["type"] is row["ts"] is row["properties"] is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(event(type="unheard_of"), "unknown-type", id="type"),
        pytest.param(event(properties={"colour": "red"}), "unknown-property", id="property"),
        pytest.param(event(), None, id="all known"),
    ],
)
def test_what_the_catalog_lacks_is_refused_when_it_says_so(value: bytes, reason: str) -> None:
    assert door(value, catalog=FROZEN)[0]["reason"] == reason
    assert door(value)[0]["reason"] is None


@pytest.mark.parametrize(
    ("ts", "reason"),
    [
        (NOW + HOUR, None),
        (NOW + HOUR + 1, "future"),
        (NOW - 30 * DAY, None),
        (NOW - 30 * DAY - 1, "too-old"),
        ("2026-03-15T13:34:56.789+01:00", None),
        ("9999-01-01T00:00:00Z", "future"),
    ],
)
def test_a_live_door_looks_at_the_clock(ts: Any, reason: str | None) -> None:
    (row,) = door(event(ts=ts), now=NOW, retention_ms=30 * DAY)
    assert row["reason"] == reason


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(
            {"type": "traits", "user_id": "u", "ts": 5, "traits": {"b": 1, "a": None}},
            (None, "u", "traits", 5, '{"a":null,"b":1}'),
            id="traits",
        ),
        pytest.param(
            {"type": "alias", "from": "a", "to": "b", "ts": 5},
            (None, "b", "alias", 5, '{"from":"a","to":"b"}'),
            id="alias",
        ),
        pytest.param(
            {"type": "delete", "user_id": "u", "ts": 5},
            (None, "u", "delete", 5, "{}"),
            id="delete",
        ),
        pytest.param(
            {"event_id": "e", "type": "unheard_of", "user_id": "ü", "ts": 5, "note": {"x": [[]]}},
            ("e", "ü", "unheard_of", 5, "{}"),
            id="an event without properties",
        ),
    ],
)
def test_kinds_of_lines(line: dict[str, Any], expected: tuple[Any, ...]) -> None:
    (row,) = door(orjson.dumps(line))
    assert row["reason"] is None
    names = ("event_id", "user_id", "type", "ts", "properties")
    assert tuple(row[name] for name in names) == expected


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("10", "10"), ("10.0", "10.0"), ("1e1", "10.0"), ("0.00005", "0.0"), ("0.00015", "0.0002"),
        ("10.00005", "10.0"), ("10.00015", "10.0002"), ("1.00005000000000000000001", "1.0001"),
        ("1.00014999999999999999999999", "1.0001"), ("99999999999.9999", "99999999999.9999"),
        ("99999999999.99994999", "99999999999.9999"), ("1e-400", "0.0"), ("-0.00005", "-0.0"),
    ],
)  # fmt: skip
def test_decimals_are_read_from_their_text(text: str, kept: str) -> None:
    (row,) = door(with_amount(text))
    assert row["reason"] is None
    shown = json.loads(row["properties"], parse_float=Decimal)["amount"]
    assert shown == Decimal(kept)


@given(st.decimals("-1e11", "1e11", allow_nan=False, places=None))
@settings(deadline=None, max_examples=300)
def test_any_decimal_is_rounded_half_even(number: Decimal) -> None:
    rounded = number.quantize(Decimal("0.0001"), ROUND_HALF_EVEN)
    (row,) = door(with_amount(format(number, "f")))
    if abs(number) >= 10**11 or abs(rounded) >= 10**11:
        assert row["reason"] == "out-of-range"
    else:
        kept = json.loads(row["properties"], parse_float=Decimal)["amount"]
        assert kept == rounded


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(GARBAGE)), max_size=8))
@settings(deadline=None, max_examples=100)
def test_nothing_raises_and_no_row_touches_another(values: list[bytes]) -> None:
    good = [event(event_id=f"e{i}") for i in range(len(values))]
    mixed = [value for pair in zip(values, good, strict=True) for value in pair]
    rows = door(*mixed)
    alone = [door(value)[0] for value in mixed]
    for i, (row, by_itself) in enumerate(zip(rows, alone, strict=True)):
        assert row == {**by_itself, "offset": i}
    assert all(row["verdict"] == "accepted" for row in rows[1::2])


@given(cases(), st.sampled_from((CATALOG, FROZEN)))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_the_reference_has_the_same_reasons(case: Any, catalog: Catalog) -> None:
    rows = door(*case.lines, catalog=catalog)
    assert [row["reason"] for row in rows] == [reason(line, catalog) for line in case.lines]


@pytest.mark.parametrize(("value", "expected"), REASONS)
def test_the_reference_refuses_the_same(value: bytes | None, expected: str) -> None:
    if value is not None:
        assert reason(value, CATALOG) == expected


def reason(line: bytes, catalog: Catalog) -> str | None:
    try:
        judge(parse(line), catalog)
    except Refused as refused:
        return str(refused)
    return None


def test_columns_may_come_in_chunks_slices_and_large() -> None:
    values = [event(event_id=f"e{i}") for i in range(6)]
    table = raw([b"{", *values])
    chunked = pa.concat_tables([table.slice(0, 2), table.slice(2, 3), table.slice(5)])
    large = chunked.set_column(0, "value", chunked["value"].cast(pa.large_binary()))
    for one in (chunked, large, large.slice(1, 3)):
        rows = admit(one, catalog=CATALOG, now=None, retention_ms=None).to_pylist()
        assert [row["offset"] for row in rows] == one["offset"].to_pylist()
    empty = Catalog(events={"e": EventType({"f": Field("string")})})
    assert admit(table.slice(0, 0), catalog=empty, now=0, retention_ms=0).num_rows == 0
