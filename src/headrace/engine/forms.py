"""Bytes of a message -> what it says: a value of JSON, its numbers exact.

Numbers are int or Decimal, never a float of ours: they keep the digits they were written with.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, DecimalException
from typing import Any, TypeAlias
from uuid import UUID

import fastavro

from headrace.engine.fields import Refusal, stray_reason
from headrace.engine.judge import MAX_BYTES
from headrace.rules.streams.schemas import avro_schema, json_validator

Value: TypeAlias = Any  # a JSON value whose numbers are int or Decimal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LONGEST_DECIMAL = 64  # bytes: 154 digits
_EXACT = Context(prec=200)

# What Debezium writes for a long value that did not change, and that the log therefore lacks.
UNAVAILABLE = "__debezium_unavailable_value"
SNAPSHOT_MARGIN = 10_000  # ms
MAGIC = b"\0"  # of the frame that schema registries put around a datum, before the schema's id
FRAME = 5


def read_json(value: bytes | None, schema: str = "") -> Value:
    """The JSON in ``value``, held against a ``schema`` if there is one; raises Refusal."""
    text = _within_limits(value, absent="not-json")
    try:
        message = json.loads(
            text.decode(), parse_float=_decimal, parse_int=_integer, parse_constant=_no_number
        )
    except RecursionError:
        raise Refusal("too-deep") from None
    except ValueError:
        raise Refusal(stray_reason(text)) from None
    if schema and not json_validator(schema).is_valid(message):
        raise Refusal("wrong-schema")
    return message


def read_change(value: bytes | None, key: Sequence[str], schema: str = "") -> Value:
    """The row in a message by which Debezium tells of a change, as a connector to Postgres does.

    The columns stand beside ``__op`` (``c``, ``r``, ``u`` or ``d``), ``__ts`` (when it was
    committed, in ms) and ``__id``, of the values of ``key`` and the place in the database's log.
    Of a row that is gone only ``key`` is known: for the rest the log holds what is no value of it.
    """
    message = read_json(value, schema)
    if type(message) is dict and message.keys() == {"schema", "payload"}:
        message = message["payload"]
    match message:
        case {"op": "c" | "r" | "u" as op, "after": dict() as row, "source": dict() as source}:
            pass
        case {"op": "d" as op, "before": dict() as before, "source": dict() as source}:
            row = {column: before.get(column) for column in key}
        case _:
            raise Refusal("wrong-type")
    lsn, at = source.get("lsn"), source.get("ts_ms")
    if type(lsn) is not int or type(at) is not int:
        raise Refusal("wrong-type")
    table = f"{source.get('schema')}.{source.get('table')}"
    # Rows that no log tells apart are told apart by what they hold.
    place = f"{lsn}.{source['row']}" if type(source.get("row")) is int else str(lsn)
    known = {column: part for column, part in row.items() if part != UNAVAILABLE}
    if op == "d":
        # One that is deleted and written anew in one transaction is there.
        at -= 1
    elif source.get("snapshot") not in (None, False, "false"):
        # What was changed just before a snapshot was stamped may come after it, from the log.
        at -= SNAPSHOT_MARGIN
    return {**known, "__op": op, "__ts": at, "__id": f"{table}:{_named(row, key)}@{place}"}


def _named(row: Mapping[str, Value], key: Sequence[str]) -> str:
    """The values of ``key``, as one text; raises Refusal where one is no single value."""
    parts = [row.get(column) for column in key]
    if not all(type(part) in (str, int, bool, Decimal) for part in parts):
        raise Refusal("wrong-type")
    texts = [str(part) for part in parts]
    return texts[0] if len(texts) == 1 else json.dumps(texts, ensure_ascii=False)


def read_avro(value: bytes | None, schema: str, schema_id: int | None) -> Value:
    """The datum in ``value``, written by ``schema``; raises Refusal.

    With ``schema_id`` it stands in the frame of a schema registry and names that id. Instants
    become milliseconds since 1970, days and times of day their ISO text, bytes Base64.
    """
    datum = _within_limits(value, absent="not-avro")
    if schema_id is not None:
        if len(datum) < FRAME or datum[:1] != MAGIC:
            raise Refusal("not-avro")
        if int.from_bytes(datum[1:FRAME], "big") != schema_id:
            raise Refusal("wrong-schema")
        datum = datum[FRAME:]
    source = io.BytesIO(datum)
    try:
        message = fastavro.schemaless_reader(source, avro_schema(schema), None)
    except Exception:  # of a dozen kinds, as the bytes will have it
        raise Refusal("not-avro") from None
    if source.tell() != len(datum):
        raise Refusal("not-avro")
    return _plain(message)


def _exact_decimal(data: Any, schema: Mapping[str, Any] | None, _: object) -> Decimal:
    """All digits: fastavro itself rounds to those declared, and takes seconds for long ones."""
    if len(data) > LONGEST_DECIMAL:
        raise ValueError("a decimal of more digits than anybody's")
    unscaled = int.from_bytes(data, "big", signed=True)
    return Decimal(unscaled).scaleb(-(schema or {}).get("scale", 0), _EXACT)


# How fastavro is told of other readings of its logical types; it has no other way.
for _kind in ("bytes-decimal", "fixed-decimal"):
    fastavro.read.LOGICAL_READERS[_kind] = _exact_decimal


def _within_limits(value: bytes | None, *, absent: str) -> bytes:
    if value is None:
        raise Refusal(absent)
    if len(value) > MAX_BYTES:
        raise Refusal("too-large")
    return value


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except DecimalException:
        raise ValueError(text) from None


def _integer(text: str) -> int | Decimal:
    # The writer knows integers of 64 bits.
    return int(text) if len(text) < 19 else _decimal(text)


def _no_number(_: str) -> Value:
    raise ValueError("JSON has no such number")


def _plain(value: Any) -> Value:
    match value:
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list():
            return [_plain(part) for part in value]
        case float():
            number = Decimal(repr(value))
            if not number.is_finite():
                raise Refusal("out-of-range")
            return number
        case datetime() if value.tzinfo is not None:
            return (value - EPOCH) // MILLISECOND
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case UUID():
            return str(value)
        case _:
            return value
