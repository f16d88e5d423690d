"""The door: bytes as they came -> accepted facts and rejected rows, each with its reason.

Every row is judged by itself, so that a bad row neither stops nor slows the others. What is
usual takes a short way, whose doubts are settled for all rows at once; what is not is judged
by the `Judge`, who knows all reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.fields import DECIMAL_LIMIT, INTEGER_LIMIT, SCALE, Refusal, instant
from headrace.engine.judge import MAX_BYTES, MAX_DEPTH, MAX_ID, Fact, Judge
from headrace.engine.mapping import Mapper
from headrace.engine.state import EVENTS_SCHEMA, Bools, packed
from headrace.rules.catalog import Catalog, FieldType

_DECIMAL, _INTEGER = object(), object()
_PLAIN: dict[FieldType, object] = {
    "string": str,
    "boolean": bool,
    "decimal": _DECIMAL,
    "integer": _INTEGER,
}


@dataclass(frozen=True, slots=True)
class Doors:
    """Which topics rows may come from: ``ours``, whose rows are events, and those with a mapper.

    Rows of any other belong to no stream. Without ``ours`` (files) every row is an event.
    """

    ours: str | None = None
    mappers: Mapping[str, Mapper] = field(default_factory=dict)


def admit(
    raw: pa.Table,
    *,
    catalog: Catalog,
    now: int | None,
    retention_ms: int | None,
    doors: Doors = Doors(),
) -> pa.Table:
    """Judge each row of ``raw`` (value, topic, partition, offset) by itself; see EVENTS_SCHEMA.

    Without ``now`` (files) nothing is too far ahead or too old, but for instants before 1970.
    """
    judge = Judge(catalog, now=now, retention_ms=retention_ms)
    events, reasons = _mapped(raw, doors)
    values = events.to_pylist()
    rows = _Rows(len(values))
    doubtful = _pass(values, judge, catalog, rows)
    doubtful |= _odd(events)
    for column in (rows.event_ids, rows.user_ids):
        lengths = pc.utf8_length(pa.array(column, pa.string())).fill_null(1).to_numpy()
        doubtful |= (lengths < 1) | (lengths > MAX_ID)
    for row in np.flatnonzero(doubtful).tolist():
        if row in reasons:
            rows.clear(row)
            continue
        try:
            rows.put(row, judge.fact(values[row]))
        except Refusal as refusal:
            reasons[row] = refusal.reason
            rows.clear(row)
    return rows.table(raw, reasons)


def _mapped(raw: pa.Table, doors: Doors) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """The events of the rows, as bytes; of those that state none, why. Null stands for them."""
    values = raw["value"]
    if doors.ours is None or pc.unique(raw["topic"]).to_pylist() in ([], [doors.ours]):
        return values, {}
    events: list[bytes | None] = []
    reasons: dict[int, str] = {}
    places = (raw[name].to_pylist() for name in ("topic", "partition", "offset"))
    for row, (value, topic, partition, offset) in enumerate(
        zip(values.to_pylist(), *places, strict=True)
    ):
        if topic == doors.ours:
            events.append(value)
            continue
        try:
            if topic not in doors.mappers:
                raise Refusal("no-stream")
            mapper = doors.mappers[topic]
            events.append(mapper.mapped(value, partition=partition, offset=offset))
        except Refusal as refusal:
            events.append(None)
            reasons[row] = refusal.reason
    return pa.chunked_array([pa.array(events, pa.binary())]), reasons


class _Rows:
    """The columns of facts, filled row by row."""

    def __init__(self, size: int) -> None:
        self.event_ids: list[str | None] = [None] * size
        self.user_ids: list[str | None] = [None] * size
        self.types: list[str | None] = [None] * size
        self.ts: list[int | None] = [None] * size
        self.properties: list[bytes | None] = [None] * size

    def put(self, row: int, fact: Fact) -> None:
        self.event_ids[row], self.user_ids[row], self.types[row] = fact[:3]
        self.ts[row], self.properties[row] = fact[3:]

    def clear(self, row: int) -> None:
        self.event_ids[row] = self.user_ids[row] = self.types[row] = None
        self.ts[row] = self.properties[row] = None

    def table(self, raw: pa.Table, reasons: dict[int, str]) -> pa.Table:
        size = len(self.types)
        why: list[str | None] = [None] * size
        bad: list[bytes | None] = [None] * size
        verdict = np.full(size, "accepted", object)
        for row, reason in reasons.items():
            why[row], bad[row], verdict[row] = reason, raw["value"][row].as_py(), "rejected"
        arrays = [
            pa.array(self.event_ids, pa.string()),
            pa.array(self.user_ids, pa.string()),
            pa.array(self.types, pa.string()),
            pa.array(self.ts, pa.int64()),
            # The reader of JSON writes nothing but UTF-8.
            pa.array(self.properties, pa.binary()).view(pa.string()),
            pa.array(verdict, pa.string()),
            pa.array(why, pa.string()),
            pa.array(bad, pa.binary()),
            *(
                raw[name].cast(EVENTS_SCHEMA.field(name).type)
                for name in ("topic", "partition", "offset")
            ),
        ]
        return pa.table(arrays, schema=EVENTS_SCHEMA)


def _odd(values: pa.ChunkedArray) -> Bools:
    """Rows to be judged at length for what their bytes show: size, nesting, an escaped NUL."""
    column = values.combine_chunks()
    if len(column) == 0:
        return np.zeros(0, np.bool_)
    sizes = pc.binary_length(column).fill_null(0).to_numpy().astype(np.int64)
    ends = np.cumsum(sizes)
    data, _ = packed(column, np.dtype(np.uint8))
    # As many openers as levels are needed to nest, so few of them prove the depth.
    openers = np.flatnonzero((data == ord("{")) | (data == ord("[")))
    per_row = np.diff(np.searchsorted(openers, ends), prepend=0)
    odd: Bools = (sizes > MAX_BYTES) | (per_row > MAX_DEPTH)
    whole, place = data.tobytes(), -1
    while (place := whole.find(b"\\u0000", place + 1)) >= 0:
        odd[np.searchsorted(ends, place, side="right")] = True
    return odd


def _pass(values: list[bytes | None], judge: Judge, catalog: Catalog, rows: _Rows) -> Bools:
    """Fill ``rows`` with the usual; True marks those left to the judge.

    Usual: an event of a catalogued type with an id whose fields are what the catalog says.
    """
    doubtful = np.ones(len(values), np.bool_)
    usual = [
        (name, {key: _PLAIN.get(of.type, of.type) for key, of in event.properties.items()})
        for name, event in catalog.events.items()
    ]
    types: dict[str, dict[str, Any]] = {
        name: fields for name, fields in usual if name not in ("traits", "alias", "delete")
    }
    strict = catalog.properties_mode != "evolve"
    earliest, latest = judge.earliest, judge.latest
    decimals: list[float] = []
    decimal_rows: list[int] = []
    event_ids, user_ids, kinds = rows.event_ids, rows.user_ids, rows.types
    stamps, texts = rows.ts, rows.properties
    loads, dumps, by_key = orjson.loads, orjson.dumps, orjson.OPT_SORT_KEYS
    decimal, integer = _DECIMAL, _INTEGER
    passed: list[int] = []
    for row, value in enumerate(values):
        try:
            line = loads(value)  # type: ignore[arg-type]  # None is a TypeError like others
            kind, user, ts = line["type"], line["user_id"], line["ts"]
            event_id, facts = line["event_id"], line["properties"]
            fields = types[kind]
            if type(ts) is not int:
                ts = instant(ts)
            if not (
                type(user) is str
                and type(event_id) is str
                and type(facts) is dict
                and earliest <= ts <= latest
            ):
                continue
        except (KeyError, TypeError, ValueError, Refusal):
            continue
        for name, fact in facts.items():
            want = fields.get(name)
            of = type(fact)
            if want is of:
                continue
            if want is None:
                if strict:
                    break
                continue
            if fact is None:
                continue
            if want is decimal:
                if of is float:
                    decimals.append(fact)
                    decimal_rows.append(row)
                    continue
                if of is int and -DECIMAL_LIMIT < fact < DECIMAL_LIMIT:
                    continue
            elif want is integer and of is int and -INTEGER_LIMIT <= fact <= INTEGER_LIMIT:
                continue
            break
        else:
            event_ids[row], user_ids[row], kinds[row] = event_id, user, kind
            stamps[row], texts[row] = ts, dumps(facts, option=by_key)
            passed.append(row)
    doubtful[passed] = False
    inexact = ~_has_four_places(np.array(decimals, np.float64))
    doubtful[np.array(decimal_rows, np.int64)[inexact]] = True
    return doubtful


def _has_four_places(numbers: npt.NDArray[np.float64]) -> Bools:
    """Is each the double of a number of at most four places? Its text rounds to that number.

    (A text of more digits that reads as the same double is nearer to it than to any tie.)
    """
    scaled = numbers * SCALE
    whole = np.rint(scaled)
    sure: Bools = (np.abs(scaled) < 1e14) & (whole / SCALE == numbers)
    return sure
