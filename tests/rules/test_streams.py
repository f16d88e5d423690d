"""Streams as people write them: every mistake has its place, and nothing is lost in the keeping."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import DAY
from headrace.rules.streams import canonical, parse_stream, read_stream
from headrace.rules.streams.carriers import both_take
from headrace.rules.streams.compatibility import losses
from headrace.rules.streams.inference import propose
from headrace.rules.streams.model import (
    At,
    Computed,
    Constant,
    Conversion,
    Converted,
    Database,
    Expression,
    First,
    Format,
    Joined,
    Lookup,
    Lower,
    Mapped,
    Stream,
)
from headrace.rules.streams.reading import KNOWN
from headrace.rules.streams.spelling import yaml_text

HEAD = "apiVersion: headrace/v1\nkind: Stream\nmetadata: {id: shop, owner: ann}\nspec:\n"
MAP = "  map: {type: seen, user_id: $.u, ts: $.t}\n"
ROWS = HEAD + "  topic: t\n  format: debezium\n  map: {user_id: $.id}\n"
SHOP = "  key: [id]\n  database: {url: '%s', table: %s}\n"

texts = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=8)
names = texts.filter(str.isprintable)
scalars = st.one_of(
    names, st.booleans(), st.decimals(-(10**9), 10**9, places=4).map(lambda d: d + Decimal(0))
).map(lambda value: Decimal(repr(float(value))) if isinstance(value, Decimal) else value)
paths = st.lists(st.one_of(names, st.integers(-99, 99)), max_size=3).map(lambda p: At(tuple(p)))


def _around(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    how: Any = st.sampled_from(["sum", "product"])
    to: Any = st.sampled_from(get_args(Conversion))
    return st.one_of(
        st.builds(Converted, inner, to),
        st.builds(Lookup, inner, st.dictionaries(names, scalars, max_size=3), st.none() | scalars),
        st.builds(First, several),
        st.builds(Joined, several),
        st.builds(Lower, inner),
        st.builds(Computed, how, several),
    )


expressions = st.recursive(st.one_of(paths, st.builds(Constant, scalars)), _around, max_leaves=5)
maps = st.builds(
    Mapped,
    fields=st.fixed_dictionaries(
        {"type": expressions, "user_id": expressions, "ts": expressions},
        optional={"event_id": expressions},
    ),
    properties=st.dictionaries(names, expressions, max_size=3),
    all_properties=st.none() | paths,
)
whose = st.fixed_dictionaries({"format": st.just("json")}) | st.fixed_dictionaries(
    {
        "format": st.just("debezium"),
        "key": st.lists(names, min_size=1, max_size=2, unique=True).map(tuple),
        "database": st.none()
        | st.builds(
            Database,
            st.just("postgresql://crm@db.example:5432/shop"),
            st.from_regex(r"[a-z_]{1,9}\.[A-Z]{1,9}", fullmatch=True),
            st.booleans(),
        ),
    }
)
plain_streams = st.builds(
    Stream,
    id=st.just("shop"),
    topic=st.from_regex(r"[a-z]{1,9}", fullmatch=True),
    owner=names,
    types=st.lists(names, unique=True, max_size=3).map(lambda found: tuple(sorted(found))),
    begin=st.sampled_from(["earliest", "latest"]),
    partitions=st.integers(1, 9),
    retention=st.integers(1, 40).map(lambda days: days * DAY),
    silent_after=st.none() | st.integers(1, 40).map(lambda days: days * DAY),
    map=maps,
    enrich=st.dictionaries(names, expressions, max_size=3),
)
streams = st.builds(
    lambda stream, of: replace(stream, **of, map=_as_known(stream.map, of["format"])),
    plain_streams,
    whose,
)


def _as_known(map_: Mapped, form: Format) -> Mapped:
    return replace(map_, fields={**KNOWN.get(form, {}), **map_.fields})


@given(streams)
def test_the_text_that_is_kept_reads_as_the_same_stream(stream: Stream) -> None:
    assert parse_stream(canonical(stream)) == stream


@pytest.mark.parametrize(
    ("text", "place", "code", "said"),
    [
        (HEAD + "  topic: a b\n" + MAP, "5:10", "HR111", "no topics named 'a b'"),
        (HEAD + MAP, "5:3", "HR109", "'topic'"),
        (HEAD + "  topic: t\n", "5:3", "HR109", "'map'"),
        (HEAD + "  topic: t\n  map: {type: seen, ts: 5}\n", "6:8", "HR109", "'user_id'"),
        (HEAD + "  topic: t\n  format: csv\n" + MAP, "6:11", "HR113", "json"),
        (
            HEAD + "  topic: t\n  map: {type: '$.a.[0]', user_id: u, ts: 5}\n",
            "6:15", "HR113", "'.[",
        ),
        (
            HEAD + "  topic: t\n  map: {type: a, user_id: {lokup: $.a}, ts: 5}\n",
            "6:27", "HR114", "lookup",
        ),
        (
            HEAD + "  topic: t\n  map: {type: a, user_id: {convert: $.a, to: nmber}, ts: 5}\n",
            "6:46", "HR113", "number",
        ),
        (HEAD + "  topic: t\n  format: headrace\n" + MAP, "7:8", "HR114", "no 'map'"),
        (HEAD + "  topic: t\n  partitions: 0\n" + MAP, "6:15", "HR113", "from 1 to 1000"),
        (HEAD + "  topic: t\n  retention: long\n" + MAP, "6:14", "HR112", "length of time"),
        (HEAD + "  tpic: t\n  topic: t\n" + MAP, "5:3", "HR108", "topic"),
        (HEAD + "  topic: t\n  schema: {type: objekt}\n" + MAP, "6:11", "HR113", "objekt"),
        (HEAD + "  topic: t\n  schema: {pattern: '(?=a)'}\n" + MAP, "6:11", "HR113", "regex"),
        (HEAD + "  topic: t\n  schema: {$ref: 'http://x.y'}\n" + MAP, "6:11", "HR113", "cannot"),
        (HEAD + "  topic: t\n  schema: [1]\n" + MAP, "6:11", "HR113", "an object"),
        (HEAD + "  topic: t\n  sources: [web]\n" + MAP, "6:12", "HR114", "own form"),
        (HEAD + "  topic: t\n  format: headrace\n  begin: latest\n  sources: [web]\n",
            "7:10", "HR114", "'earliest'"),
        (HEAD + "  topic: t\n  partitions: 1e999999\n" + MAP, "6:15", "HR113", "1000"),
        (HEAD + "  topic: t\n  schema: {maximum: 1e9999}\n" + MAP, "6:11", "HR113", "too large"),
        (HEAD + "  topic: t\n  schema_id: 7\n" + MAP, "6:14", "HR113", "of Avro"),
        (HEAD + "  topic: t\n  key: [id]\n" + MAP, "6:8", "HR114", "debezium"),
        (ROWS, "5:3", "HR109", "'key'"),
        (ROWS + "  key: []\n", "8:8", "HR113", "at least one column"),
        (ROWS + SHOP % ("http://a@b/c", "a.b"), "9:19", "HR113", "only databases of Postgres"),
        (ROWS + SHOP % ("postgresql://a:x@b/c", "a.b"), "9:19", "HR113", "a password does not"),
        (ROWS + SHOP % ("postgresql://a@b:x/c", "a.b"), "9:19", "HR113", "USER@HOST:PORT/NAME"),
        (ROWS + SHOP % ("postgresql://b/c", "a.b"), "9:19", "HR113", "USER@HOST:PORT/NAME"),
        (ROWS + SHOP % ("postgresql://a@b/c", "orders"), "9:48", "HR111", "public.customers"),
        (HEAD + "  topic: t\n" + SHOP.removeprefix("  key: [id]\n") % ("postgresql://a@b/c", "a.b")
            + MAP, "6:13", "HR114", "debezium"),
        (HEAD + "  topic: t\n  format: avro\n" + MAP, "5:3", "HR109", "'schema'"),
        (HEAD + "  topic: t\n  format: avro\n  schema: {type: string}\n" + MAP,
            "7:11", "HR113", "a message is a record"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(text: str, place: str, code: str, said: str) -> None:
    problems = read_stream(text, "shop.yaml").problems
    assert [str(problem.place) for problem in problems] == [f"shop.yaml:{place}"]
    assert problems[0].code == code
    assert said in str(problems[0])


BASE = (
    HEAD
    + """  topic: t
  types: [seen, bought]
  enrich: {big: $.properties.amount}
  map:
    type: $.kind
    user_id: $.u
    ts: $.t
    event_id: $.id
    properties: {amount: $.a, sku: $.s}
"""
)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("sku: $.s", "sku: $.sku", ["the property 'sku' would be found elsewhere"]),
        ("ts: $.t", "ts: $.at", ["when an event happened would be found elsewhere"]),
        ("type: $.kind", "type: $.name", ["of what type an event is would be found elsewhere"]),
        ("  topic: t\n", "  topic: t\n  format: cloudevents\n", ["'json' would be read as"]),
        ("sku: $.s}", "sku: $.s, more: $.m}", []),
        ("types: [seen, bought]", "types: [seen, bought, left]", []),
        ("  types: [seen, bought]\n", "", []),
        (", sku: $.s}", "}", ["the property 'sku' would come no more"]),
        ("properties: {amount: $.a, sku: $.s}", "all_properties: $", ["'amount'", "'sku'"]),
        ("    properties: {", "    all_properties: $\n    properties: {", []),
        ("  enrich: {big: $.properties.amount}\n", "", ["'big'"]),
        ("types: [seen, bought]", "types: [seen]", ["the event types bought would"]),
        ("topic: t", "topic: t2", ["the topic 't' would be read no more"]),
        ("user_id: $.u", "user_id: $.user", ["whose events they are"]),
        ("    event_id: $.id\n", "", ["the event's id would be found elsewhere"]),
    ],
)
def test_a_version_says_what_it_would_not_bring(old: str, new: str, says: list[str]) -> None:
    assert old in BASE
    found = losses(parse_stream(BASE), parse_stream(BASE.replace(old, new)))
    assert len(found) == len(says)
    for sentence, part in zip(found, says, strict=True):
        assert part in sentence


def test_a_schema_that_allows_what_came_is_compatible() -> None:
    def version(schema: str) -> Stream:
        return parse_stream(f"{BASE}  schema: {schema}\n" if schema else BASE)

    narrow = "{required: [u, t], properties: {u: {type: integer}, s: {maxLength: 9}}}"
    wide = "{required: [u], properties: {u: {type: number}}}"
    assert losses(version(narrow), version(wide)) == ()
    assert losses(version(narrow), version("")) == ()
    assert losses(version(narrow), version(narrow)) == ()
    for old, new in ((wide, narrow), ("", wide)):
        (said,) = losses(version(old), version(new))
        assert "may be rejected" in said


AVRO = """  topic: t
  format: avro
  schema_id: 7
  schema: {type: record, name: Order, fields: [{name: u, type: %s}]}
"""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ('["null", Order]', "within itself"),
        ('{type: array, items: "null"}', "of any length"),
        ("{type: array, items: {type: record, name: Nothing, fields: []}}", "of any length"),
        ("{type: fixed, name: F, size: big}", "schema of Avro"),
        ("Unknown", "Unknown"),
        ("{type: error}", "schema of Avro"),
        ("{type: bytes, logicalType: decimal}", "digits"),
        ("{type: bytes, logicalType: decimal, precision: 5, scale: 6}", "precision of 5"),
        (
            "{type: array, items: {type: record, name: N, fields: [{name: b, type: boolean}, "
            + ", ".join(f'{{name: n{one}, type: "null"}}' for one in range(60))
            + "]}}",
            "of any length",
        ),
    ],
)
def test_a_schema_by_which_few_bytes_claim_much_is_refused(kind: str, said: str) -> None:
    (problem,) = read_stream(HEAD + AVRO % kind + MAP).problems
    assert problem.code == "HR113" and said in problem.message


def test_a_schema_whose_records_double_is_refused() -> None:
    kind: Any = {"type": "record", "name": "R0", "fields": [{"name": "a", "type": "null"}]}
    for number in range(1, 30):
        both = [{"name": "a", "type": kind}, {"name": "b", "type": kind["name"]}]
        kind = {"type": "record", "name": f"R{number}", "fields": both}
    (problem,) = read_stream(HEAD + AVRO % orjson.dumps(kind).decode() + MAP).problems
    assert "more than 5,000 fields" in problem.message


def test_an_avro_schema_is_kept_whole_and_its_changes_are_told() -> None:
    stream = parse_stream(HEAD + AVRO % "long" + MAP)
    assert stream.schema_id == 7 and orjson.loads(stream.schema)["name"] == "Order"
    assert parse_stream(canonical(stream)) == parse_stream(yaml_text(stream)) == stream
    for other in (AVRO % "string", (AVRO % "long").replace("schema_id: 7", "schema_id: 8")):
        (said,) = losses(stream, parse_stream(HEAD + other + MAP))
        assert "may be rejected" in said


def test_schemas_that_cannot_be_compared_are_the_same_or_in_doubt() -> None:
    def version(schema: str) -> Stream:
        return parse_stream(BASE + f"  schema: '{schema}'\n" if schema else BASE)

    old_draft = '{"$schema": "http://json-schema.org/draft-07/schema#", "required": ["u"]}'
    parts = [
        {"if": {"required": [f"a{one}"]}, "then": {"required": [f"b{one}"]}} for one in range(16)
    ]
    many = orjson.dumps({"allOf": parts}).decode()
    for schema in (old_draft, many):
        assert losses(version(schema), version(schema)) == ()
        (said,) = losses(version(""), version(schema))
        assert "may be rejected" in said
    (said,) = losses(version('{"required": ["u"]}'), version(old_draft))
    assert "may be rejected" in said


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=9))
def test_a_schema_is_kept_to_the_last_sign(pattern: str) -> None:
    text = orjson.dumps({"const": pattern, "maximum": 1.0, "properties": {"x" * 2_000: {}}})
    stream = parse_stream(BASE + "  schema: s.json\n", beside=lambda name: text.decode())
    assert orjson.loads(stream.schema)["const"] == pattern
    assert parse_stream(canonical(stream)) == parse_stream(yaml_text(stream)) == stream


def test_a_schema_may_lie_beside_the_document() -> None:
    text = HEAD + "  topic: t\n  schema: order.json\n" + MAP
    files = {"order.json": '{"required": ["u"]}', "broken.json": "{"}
    found = parse_stream(text, beside=lambda name: files[name])
    assert orjson.loads(found.schema) == {"required": ["u"]}

    def missing(name: str) -> str:
        raise FileNotFoundError(f"no {name}")

    for beside, said in ((missing, "no order.json"), (lambda name: "{", "cannot be read")):
        (problem,) = read_stream(text, beside=beside).problems
        assert said in problem.message
    (problem,) = read_stream(text).problems
    assert "an object" in problem.message


def test_two_streams_do_not_take_the_same_events_of_a_source() -> None:
    def stream(types: str, sources: str) -> Stream:
        spec = f"  topic: t\n  format: headrace\n  types: [{types}]\n  sources: [{sources}]\n"
        return parse_stream(HEAD + spec)

    both = stream("seen, left", "web, app")
    assert both_take(both, stream("seen", "app")) == "'seen' of 'app'"
    assert both_take(stream("", "web"), stream("", "web")) == "the events of 'web'"
    for other in (stream("bought", "web"), stream("seen", "tv"), stream("", "web")):
        assert both_take(both, other) is None
    assert parse_stream(canonical(both)) == both and both.sources == ("app", "web")
    assert losses(both, stream("seen, left", "web")) == (), "those of app go to events.v1 again"


def test_what_any_type_may_be_is_narrowed() -> None:
    wide = BASE.replace("  types: [seen, bought]\n", "")
    (found,) = losses(parse_stream(wide), parse_stream(BASE))
    assert "other than bought, seen" in found
    whole = BASE.replace("    properties: {", "    all_properties: $\n    properties: {")
    assert "no expression names" in losses(parse_stream(whole), parse_stream(BASE))[0]


ORDERS = [
    {
        "number": 1000 + one,
        "kind": "purchase" if one % 3 else "refund",
        "createdAt": f"2026-05-01T09:00:{one:02}Z",
        "customer": {"id": one % 7, "email": f"u{one % 7}@example.org"},
        "total": {"value": one + 0.5, "currency": "EUR"},
        "shipping": {"value": 4, "city": "Köln"},
        "tags": ["new"],
        "lines": [{"sku": "a"}],
        "note": None,
    }
    for one in range(40)
]


def test_a_stream_is_proposed_from_a_sample() -> None:
    lines = [orjson.dumps(order) for order in ORDERS]
    found = propose([*lines, b"nonsense", b"[]"], id="orders", topic="shop.orders")
    stream = parse_stream(yaml_text(found.stream))
    assert stream == found.stream
    assert stream.map.fields == {
        "type": At(("kind",)),
        "user_id": At(("customer", "id")),
        "ts": At(("createdAt",)),
        "event_id": At(("number",)),
    }
    assert stream.map.properties == {
        "email": At(("customer", "email")),
        "shipping_value": At(("shipping", "value")),
        "total_value": At(("total", "value")),
        "currency": At(("total", "currency")),
        "city": At(("shipping", "city")),
        "tags": At(("tags",)),
    }
    assert found.doubts == (
        "2 messages are no JSON objects", "'user_id' may also be $.customer.email",
    )  # fmt: skip


def test_epochs_are_converted_and_what_is_missing_is_said() -> None:
    lines = [orjson.dumps({"uid": f"u{one}", "time": 1_780_000_000 + one}) for one in range(5)]
    found = propose(lines, id="pings", topic="p")
    assert found.stream.map.fields["ts"] == Converted(At(("time",)), "seconds")
    assert found.doubts == ("nothing looks like 'type': add it under 'map'",)
    assert propose(lines, id="pings", topic="p", type="ping").doubts == ()
    with pytest.raises(ValueError, match="JSON object"):
        propose([b"1", b"x"], id="pings", topic="p")
