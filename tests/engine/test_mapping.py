"""Messages of others become events of ours: the same events, to the digit, or a reason."""

from __future__ import annotations

import contextlib
import io
import random
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import orjson
import pyarrow as pa
import pytest

from headrace.engine.door import Doors, admit
from headrace.engine.fields import Refusal
from headrace.engine.mapping import Mapper
from headrace.rules.streams import parse_stream
from rules.test_doors_agree import LINES, broken
from strategies import CATALOG

HEAD = "apiVersion: headrace/v1\nkind: Stream\nmetadata: {id: shop}\n"
SAME = HEAD + (
    "spec:\n  topic: shop\n  map: {type: $.type, user_id: $.user_id, ts: $.ts,"
    " event_id: $.event_id, all_properties: $.properties}\n"
)
OURS = "events.v1"


def mapper(spec: str) -> Mapper:
    return Mapper(parse_stream(HEAD + "spec:\n  topic: shop\n" + spec))


def event(spec: str, message: Any) -> Any:
    raw = message if isinstance(message, bytes) else orjson.dumps(message)
    return orjson.loads(mapper(spec).mapped(raw, partition=2, offset=9))


def refused(spec: str, message: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        event(spec, message)
    return refusal.value.reason


def admitted(values: list[bytes | None], topics: list[str], doors: Doors) -> list[dict[str, Any]]:
    size = len(values)
    received = pa.table(
        {
            "value": pa.array(values, pa.binary()),
            "topic": pa.array(topics),
            "partition": pa.array([0] * size, pa.int32()),
            "offset": pa.array(range(size), pa.int64()),
        }
    )
    rows = admit(received, catalog=CATALOG, now=None, retention_ms=None, doors=doors)
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_message_mapped_to_itself_states_the_same_fact(seed: int) -> None:
    dice = random.Random(seed)
    lines: list[bytes | None] = [broken(LINES[0], dice) for _ in range(2_000)]
    doors = Doors(OURS, {"shop": Mapper(parse_stream(SAME))})
    direct = admitted(lines, [OURS] * len(lines), doors)
    mapped = admitted(lines, ["shop"] * len(lines), doors)
    fields = ("event_id", "user_id", "type", "ts", "properties")
    accepted = 0
    for line, one, other in zip(lines, direct, mapped, strict=True):
        if one["verdict"] == "accepted":
            accepted += 1
            assert [one[name] for name in fields] == [other[name] for name in fields], line
        if other["verdict"] == "rejected":
            assert one["verdict"] == "rejected" and other["raw"] == line
    assert accepted > 100


def test_everything_an_order_holds_is_found_where_the_map_says() -> None:
    spec = """
  map:
    type: purchase
    user_id: $.customer.id
    ts: {convert: $.at, to: seconds}
    event_id: "$['order no']"
    properties:
      amount: {product: ["$.lines[0].price", "$.lines[0].count"]}
      last: $.lines[-1].sku
      country: {lower: $.country}
      region: {lookup: $.country, in: {DE: dach, AT: dach}, default: other}
      label: {join: [$.country, "-", $.customer.id]}
      channel: web
      gift: {convert: $.gift, to: boolean}
      phone: {first: [$.mobile, $.phone]}
      absent: $.nowhere
"""
    message = (
        b'{"customer":{"id":17},"at":"1700000000.25","order no":"A-1","country":"DE","gift":"yes",'
        b'"mobile":null,"phone":"5","lines":[{"price":12345678901.2345,"count":3,"sku":"x"},'
        b'{"sku":"y"}]}'
    )
    assert mapper(spec).mapped(message, partition=2, offset=9).startswith(b"{")
    found = event(spec, message)
    assert found == {
        "type": "purchase",
        "user_id": "17",
        "ts": 1_700_000_000_250,
        "event_id": "A-1",
        "properties": {
            "amount": 37037036703.7035,
            "last": "y",
            "country": "de",
            "region": "dach",
            "label": "DE-17",
            "channel": "web",
            "gift": True,
            "phone": "5",
        },
    }
    assert b'"amount":37037036703.7035' in mapper(spec).mapped(message, partition=2, offset=9)


def test_a_message_without_an_id_has_one_made_of_its_place() -> None:
    spec = "  map: {type: seen, user_id: $.u, ts: $.t}\n"
    assert event(spec, {"u": "ann", "t": 5})["event_id"] == "shop:2:9"


def test_a_cloud_event_needs_no_map() -> None:
    spec = "  format: cloudevents\n"
    message = {
        "specversion": "1.0", "id": "1", "source": "/shop", "type": "purchase", "subject": "ann",
        "time": "2026-01-01T00:00:00Z", "data": {"amount": 5},
    }  # fmt: skip
    assert event(spec, message) == {
        "type": "purchase", "user_id": "ann", "ts": "2026-01-01T00:00:00Z",
        "event_id": "/shop#1", "properties": {"amount": 5},
    }  # fmt: skip


ROWS = """  format: debezium
  key: [shop, id]
  map:
    user_id: $.email
    properties:
      plan: $.plan
      spent: {convert: $.spent, to: number}
      born: {convert: $.born, to: instant}
"""
COMMITTED = 1_795_371_934_244


def change(op: str, before: Any, after: Any, **source: Any) -> dict[str, Any]:
    place = {"schema": "public", "table": "people", "lsn": 77, "ts_ms": COMMITTED, **source}
    return {"op": op, "before": before, "after": after, "source": place, "ts_ms": COMMITTED + 1}


ANN = {"shop": "a", "id": 7, "email": "ann", "plan": "pro", "spent": "12.50", "born": "2000-01-02Z"}


@pytest.mark.parametrize("op", ["c", "r", "u"])
def test_a_row_is_what_it_became(op: str) -> None:
    found = event(ROWS, change(op, None, ANN))
    assert found == {
        "type": "traits",
        "user_id": "ann",
        "ts": COMMITTED,
        "event_id": 'public.people:["a", "7"]@77',
        "traits": {"plan": "pro", "spent": 12.5, "born": 946_771_200_000},
    }
    # As converters write it that tell the types, too.
    assert event(ROWS, {"schema": {}, "payload": change(op, None, ANN)}) == found


def test_of_a_row_that_is_gone_nothing_is_true_any_more() -> None:
    by_key = ROWS.replace("$.email", "$.id")
    found = event(by_key, change("d", ANN, None))
    assert (found["user_id"], found["traits"]) == ("7", dict.fromkeys(("plan", "spent", "born")))
    # One that is written anew in the same transaction is there.
    assert found["ts"] == event(by_key, change("c", None, ANN))["ts"] - 1
    # The log has its key alone; Debezium writes zeros and empty texts for columns that are never
    # null, and those are nobody's.
    assert "user_id" not in event(ROWS, change("d", {**ANN, "email": "", "plan": ""}, None))


def test_keys_of_any_kind_tell_rows_apart() -> None:
    def id_of(**key: Any) -> str:
        found: str = event(ROWS, change("c", None, {**ANN, **key}))["event_id"]
        return found

    big = 1_234_567_890_123_456_789
    assert id_of(id=big) == f'public.people:["a", "{big}"]@77'
    keys = [{"id": True}, {"id": 1}, {"shop": "a,1", "id": "b"}, {"shop": "a", "id": "1,b"}]
    assert len({id_of(**key) for key in keys}) == len(keys)


def test_rows_of_a_snapshot_are_a_little_older_than_it_says() -> None:
    """What the log tells next may have been committed before the snapshot was stamped."""
    for said, behind in (("first", 10_000), ("true", 10_000), ("false", 0)):
        assert event(ROWS, change("r", None, ANN, snapshot=said))["ts"] == COMMITTED - behind


def test_states_of_a_row_without_a_log_are_told_apart() -> None:
    one, other = (event(ROWS, change("r", None, ANN, row=row))["event_id"] for row in (1, -2))
    assert one != other


def test_a_long_value_that_the_log_lacks_stays_what_it_was() -> None:
    row = {**ANN, "plan": "__debezium_unavailable_value"}
    assert event(ROWS, change("u", None, row))["traits"].keys() == {"spent", "born"}


@pytest.mark.parametrize(
    "message",
    [
        {},
        [1],
        change("t", None, None),
        change("u", None, None),
        change("d", None, None),
        change("c", None, [1]),
        change("c", None, {**ANN, "id": None}),
        change("c", None, {**ANN, "id": [1]}),
        change("c", None, ANN, ts_ms=None),
        change("c", None, ANN, lsn=None),
        change("c", None, {**ANN, "spent": "much"}),
        {**change("c", None, ANN), "source": None},
        {"schema": {}, "payload": None},
    ],
)
def test_what_is_no_change_of_a_row_is_refused(message: Any) -> None:
    assert refused(ROWS, message) == "wrong-type"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2000-01-02", 946_771_200_000),
        ("2000-01-02Z", 946_771_200_000),
        ("2026-01-02T03:04:05Z", 1_767_323_045_000),
        ("2026-01-02 03:04:05.678901", 1_767_323_045_678),
        ("2026-01-02 03:04:05+02", 1_767_315_845_000),
        ("2026-01-02T03:04:05.5-0530", 1_767_342_845_500),
        (1_767_323_045_000, 1_767_323_045_000),
    ],
)
def test_instants_as_databases_write_them(text: Any, at: int) -> None:
    spec = "  map: {type: a, user_id: u, ts: {convert: $.at, to: instant}}\n"
    assert event(spec, {"at": text})["ts"] == at


@pytest.mark.parametrize(
    "text", ["", "infinity", "2026-02-30", "10:00", "2026-01-02 25:00:00", True]
)
def test_what_is_no_instant_is_refused(text: Any) -> None:
    spec = "  map: {type: a, user_id: u, ts: {convert: $.at, to: instant}}\n"
    assert refused(spec, {"at": text}) == "wrong-type"


def test_what_is_added_is_found_in_the_event_not_in_the_message() -> None:
    spec = """
  format: headrace
  enrich:
    region: {lookup: $.properties.country, in: {DE: dach}}
    shop: north
"""
    message = {"type": "seen", "user_id": "ann", "properties": {"country": "DE"}}
    assert event(spec, message)["properties"] == {
        "country": "DE",
        "region": "dach",
        "shop": "north",
    }
    assert event(spec, {"type": "traits", "traits": {}})["traits"] == {"shop": "north"}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"{", "not-json"),
        (b"\xff", "invalid-utf8"),
        (b"[" * 2_000, "too-deep"),
        (b'{"u":"a","t":5,"x":NaN}', "not-json"),
        (b'{"u":"\\ud800","t":5}', "not-json"),
        (b'{"u":"a","t":{"deep":' + b"[" * 300 + b"]" * 300 + b"}}", "too-deep"),
        (b" " * 300_000, "too-large"),
    ],
)
def test_what_is_no_message_has_its_reason(message: bytes, reason: str) -> None:
    assert refused("  map: {type: seen, user_id: $.u, ts: $.t}\n", message) == reason


@pytest.mark.parametrize(
    ("expression", "value", "reason"),
    [
        ("{convert: $.v, to: number}", "12,5", "wrong-type"),
        ("{convert: $.v, to: number}", [1], "wrong-type"),
        ("{convert: $.v, to: boolean}", "perhaps", "wrong-type"),
        ("{convert: $.v, to: seconds}", 10**17, "out-of-range"),
        ("{sum: [$.v, 1]}", "5", "wrong-type"),
        ("{convert: $.v, to: text}", {"a": 1}, "wrong-type"),
    ],
)
def test_a_value_that_cannot_be_made_is_a_reason(expression: str, value: Any, reason: str) -> None:
    spec = f"  map: {{type: seen, user_id: u, ts: 5, properties: {{v: {expression}}}}}\n"
    assert refused(spec, {"v": value}) == reason


def test_numbers_of_hostile_size_are_refused_at_once() -> None:
    spec = "  map: {type: seen, user_id: u, ts: 5, properties: {v: {product: [$.v, $.v]}}}\n"
    assert refused(spec, b'{"v":1e999999}') == "out-of-range"
    assert refused(spec, b'{"v":' + b"9" * 100_000 + b"}") == "out-of-range"


SCHEMA = """  schema:
    type: object
    required: [u]
    properties: {u: {type: string, pattern: '^(a+)+$'}, v: {type: number, multipleOf: 0.01}}
"""


def test_a_message_is_held_against_the_schema_of_its_stream() -> None:
    spec = SCHEMA + "  map: {type: seen, user_id: $.u, ts: 5, properties: {v: $.v}}\n"
    exact = b'{"u":"a","v":12345678901234567890.12}'
    assert b"12345678901234567890.12" in mapper(spec).mapped(exact, partition=0, offset=0)
    for wrong in ({"v": 1}, {"u": 5}, {"u": "a", "v": 0.001}, [1]):
        assert refused(spec, wrong) == "wrong-schema"
    own = "  format: headrace\n" + SCHEMA
    assert refused(own, {"type": "seen"}) == "wrong-schema"
    began = time.perf_counter()
    assert refused(spec, {"u": "a" * 100_000 + "b"}) == "wrong-schema"
    assert time.perf_counter() - began < 1.0, "patterns run in linear time"


RECORD = {
    "type": "record", "name": "Order",
    "fields": [
        {"name": "customer", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 30,
                                   "scale": 4}},
        {"name": "weight", "type": "double"},
        {"name": "coupon", "type": ["null", "string"]},
        {"name": "lines", "type": {"type": "array", "items": {
            "type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}}},
        {"name": "key", "type": "bytes"},
    ],
}  # fmt: skip
ORDER = {
    "customer": "ann", "at": datetime(2026, 5, 1, 9, tzinfo=UTC), "day": date(2026, 5, 1),
    "total": Decimal("99999999999999999999.1234"), "weight": 0.1, "coupon": None,
    "lines": [{"sku": "x"}, {"sku": "y"}], "key": b"\x00\xff",
}  # fmt: skip
AVRO = (
    "  format: avro\n  schema: " + orjson.dumps(RECORD).decode() + "\n"
    "  map: {type: purchase, user_id: $.customer, ts: $.at, event_id: '$.lines[1].sku',"
    " all_properties: $}\n"
)


def datum(order: dict[str, Any] = ORDER) -> bytes:
    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, RECORD, order)
    return sink.getvalue()


def test_avro_says_what_its_record_holds_to_the_digit() -> None:
    found = event(AVRO, datum())
    assert found["ts"] == 1_777_626_000_000 and found["user_id"] == "ann"
    assert found["event_id"] == "y"
    facts = found["properties"]
    assert (facts["day"], facts["weight"], facts["key"]) == ("2026-05-01", 0.1, "AP8=")
    assert facts["lines"] == [{"sku": "x"}, {"sku": "y"}] and facts["coupon"] is None
    raw = mapper(AVRO).mapped(datum(), partition=0, offset=0)
    assert b'"total":99999999999999999999.1234' in raw


@pytest.mark.parametrize("at", [2163800734378, 284_012_345_677, -1, -1_500, 253402300799999])
def test_an_instant_of_avro_is_exact(at: int) -> None:
    sink = io.BytesIO()
    kind = {"type": "long", "logicalType": "timestamp-millis"}
    record = {"type": "record", "name": "R", "fields": [{"name": "at", "type": kind}]}
    bare = {"type": "record", "name": "R", "fields": [{"name": "at", "type": "long"}]}
    fastavro.schemaless_writer(sink, bare, {"at": at})
    spec = "  format: avro\n  schema: " + orjson.dumps(record).decode() + "\n"
    assert event(spec + "  map: {type: seen, user_id: u, ts: $.at}\n", sink.getvalue())["ts"] == at


def test_a_decimal_of_avro_keeps_more_digits_than_it_declares_and_no_thousands() -> None:
    def message(unscaled: bytes) -> bytes:
        kind = {"type": "bytes"}
        record = {"type": "record", "name": "R", "fields": [{"name": "d", "type": kind}]}
        sink = io.BytesIO()
        fastavro.schemaless_writer(sink, record, {"d": unscaled})
        return sink.getvalue()

    kind = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}
    record = {"type": "record", "name": "R", "fields": [{"name": "d", "type": kind}]}
    spec = "  format: avro\n  schema: " + orjson.dumps(record).decode() + "\n"
    spec += "  map: {type: seen, user_id: u, ts: 5, properties: {d: $.d}}\n"
    number = 123456789012345678901234567890
    raw = mapper(spec).mapped(message(number.to_bytes(16, "big")), partition=0, offset=0)
    assert b'"d":1234567890123456789012345678.90' in raw
    began = time.perf_counter()
    assert refused(spec, message(b"\x7f" * 250_000)) == "not-avro"
    assert time.perf_counter() - began < 0.5


def test_avro_in_the_frame_of_a_registry_names_its_schema() -> None:
    spec = "  schema_id: 258\n" + AVRO
    assert event(spec, b"\0\0\0\1\2" + datum())["user_id"] == "ann"
    assert refused(spec, b"\0\0\0\1\3" + datum()) == "wrong-schema"
    assert refused(spec, b"\1\0\0\1\2" + datum()) == "not-avro"
    assert refused(spec, b"\0\0") == "not-avro"


@pytest.mark.parametrize("seed", range(3))
def test_bytes_that_are_no_record_are_refused_and_nothing_else(seed: int) -> None:
    dice, whole, one = random.Random(seed), datum(), mapper(AVRO)
    assert refused(AVRO, whole + b"\0") == refused(AVRO, whole[:-1]) == "not-avro"
    assert refused(AVRO, datum(ORDER | {"weight": float("nan")})) == "out-of-range"
    with pytest.raises(Refusal, match="not-avro"):
        one.mapped(None, partition=0, offset=0)
    for _ in range(5_000):
        broken = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        with contextlib.suppress(Refusal):
            orjson.loads(one.mapped(bytes(broken), partition=0, offset=0))


def test_only_the_types_of_a_stream_come_through_it() -> None:
    spec = "  types: [purchase]\n  map: {type: $.t, user_id: u, ts: 5}\n"
    assert event(spec, {"t": "purchase"})["type"] == "purchase"
    assert refused(spec, {"t": "login"}) == "no-stream"
    for odd in ({}, {"t": []}, {"t": {}}, {"t": 5}):
        assert refused(spec, odd) == "no-stream"
    own = "  types: [purchase]\n  format: headrace\n"
    assert refused(own, {"type": "login"}) == "no-stream"
    assert refused(own, [1]) == "no-stream"


def test_rows_of_a_topic_that_no_stream_has_are_set_aside() -> None:
    line = b'{"event_id":"e","user_id":"u","type":"purchase","ts":5,"properties":{}}'
    rows = admitted([line, line, None], [OURS, "stranger", "stranger"], Doors(OURS))
    assert [row["reason"] for row in rows] == [None, "no-stream", "no-stream"]
    assert [row["raw"] for row in rows] == [None, line, None]
