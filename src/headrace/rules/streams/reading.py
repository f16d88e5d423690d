"""A stream as written -> a Stream, beside every problem found.

    apiVersion: headrace/v1
    kind: Stream
    metadata: {id: shop_orders, owner: shop}
    spec:
      topic: shop.orders
      format: json
      map:
        type: purchase
        user_id: $.customer.id
        ts: $.created_at
        event_id: $.number
        properties:
          amount: $.total.value
          region: {lookup: $.country, in: {DE: dach, AT: dach}, default: other}

A text that begins with ``$`` is a path into the message; any other scalar is a constant.
A schema stands in the text, or in a file beside it of which ``schema`` is the name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, get_args

from headrace.errors import Problem, RuleError
from headrace.rules.documents import in_order
from headrace.rules.durations import parse_duration
from headrace.rules.metadata import read_head, read_metadata
from headrace.rules.nodes import Mapping as MappingNode
from headrace.rules.nodes import Node, Scalar, plain, read_node
from headrace.rules.reading import Reading, described
from headrace.rules.streams.databases import read_database
from headrace.rules.streams.expressions import read_expression, read_expressions
from headrace.rules.streams.model import (
    PARTITIONS,
    RETENTION,
    At,
    Begin,
    Constant,
    Expression,
    Format,
    Joined,
    Mapped,
    Stream,
)
from headrace.rules.streams.schemas import schema_problem

FORMATS: Final[tuple[Format, ...]] = get_args(Format)
BEGINNINGS: Final[tuple[Begin, ...]] = get_args(Begin)
FIELDS: Final = ("type", "user_id", "ts", "event_id", "from", "to")
SPEC: Final = (
    "topic", "format", "types", "sources", "begin", "partitions", "retention", "silent_after",
    "schema", "schema_id", "key", "database", "map", "enrich",
)  # fmt: skip
MOST_PARTITIONS: Final = 1_000
_TOPIC = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,249}")  # Kafka's own rule
_CLOUD_EVENT: Final[Mapping[str, Expression]] = {
    "type": At(("type",)),
    "user_id": At(("subject",)),
    "ts": At(("time",)),
    # Both together name an event: every source may count from one.
    "event_id": Joined((At(("source",)), Constant("#"), At(("id",)))),
}
# A changed row as ``engine.forms.read_change`` tells of it.
_CHANGE: Final[Mapping[str, Expression]] = {
    "type": Constant("traits"),
    "ts": At(("__ts",)),
    "event_id": At(("__id",)),
}
KNOWN: Final[Mapping[Format, Mapping[str, Expression]]] = {
    "cloudevents": _CLOUD_EVENT,
    "debezium": _CHANGE,
}
"""Where fields of events are found in messages whose form says so."""


@dataclass(frozen=True, slots=True)
class StreamText:
    """What one text says. ``stream`` may lack broken parts when there are problems."""

    stream: Stream | None
    problems: tuple[Problem, ...] = ()


Beside = Callable[[str], str]
"""The text of a file beside a document, by the name that the document gives; OSError for none."""


def parse_stream(text: str, file: str = "<text>", beside: Beside | None = None) -> Stream:
    """The stream that ``text`` (YAML or JSON) spells; RuleError holds every problem."""
    found = read_stream(text, file, beside)
    if found.problems or found.stream is None:
        raise RuleError(found.problems)
    return found.stream


def read_stream(text: str, file: str = "<text>", beside: Beside | None = None) -> StreamText:
    """The stream in ``text``, beside every problem found."""
    reading = Reading(file)
    node = read_node(text, file, reading.problems)
    stream = _stream(reading, node, beside) if node is not None else None
    return StreamText(stream, in_order(reading.problems))


def _stream(reading: Reading, node: Node, beside: Beside | None) -> Stream | None:
    document = read_head(reading, node, "Stream", ("metadata", "spec"), "a stream")
    if document is None:
        return None
    metadata = reading.required(document, "metadata", "a stream")
    about = reading.mapping(metadata, "'metadata'") if metadata is not None else None
    texts = read_metadata(reading, about) if about is not None else {}
    if about is not None:
        reading.known_keys(about, ("id", "owner", "description"), "'metadata' of a stream")
    found = reading.required(document, "spec", "a stream")
    spec = reading.mapping(found, "'spec'") if found is not None else None
    if spec is None:
        return None
    reading.known_keys(spec, SPEC, "'spec'")
    form = reading.choice(spec, "format", FORMATS, "json")
    return Stream(
        id=texts.get("id", ""),
        owner=texts.get("owner", ""),
        description=texts.get("description", ""),
        topic=_topic(reading, spec),
        format=form,
        types=_names(reading, spec.get("types"), "'types'", "an event type"),
        sources=_sources(reading, spec, form),
        begin=reading.choice(spec, "begin", BEGINNINGS, "earliest"),
        partitions=_partitions(reading, spec.get("partitions")),
        retention=_duration(reading, spec.get("retention"), "'retention'") or RETENTION,
        silent_after=_duration(reading, spec.get("silent_after"), "'silent_after'"),
        schema=_schema(reading, spec, form, beside),
        schema_id=_schema_id(reading, spec.get("schema_id"), form),
        key=_key(reading, spec, form),
        database=read_database(reading, spec, form),
        map=_map(reading, spec, form),
        enrich=read_expressions(reading, spec.get("enrich"), "'enrich'"),
    )


def _topic(reading: Reading, spec: MappingNode) -> str:
    node = reading.required(spec, "topic", "'spec'")
    text = reading.text(node, "'topic'") if node is not None else None
    if node is None or text is None:
        return ""
    if _TOPIC.fullmatch(text) is None:
        message = f"Kafka has no topics named {text!r}: A to Z, 0 to 9, '.', '_' and '-' only"
        reading.problem("HR111", message, node.place)
    return text


def _key(reading: Reading, spec: MappingNode, form: Format) -> tuple[str, ...]:
    """The columns in the order they are named in."""
    if form != "debezium":
        node = spec.get("key")
        if node is not None:
            message = "'key' names the columns of a row, of 'format: debezium'"
            reading.problem("HR114", message, node.place)
        return ()
    node = reading.required(spec, "key", "a stream of rows")
    items = reading.sequence(node, "'key'") if node is not None else None
    columns = [reading.text(item, "a column") for item in (items.items if items else ())]
    if items is not None and not columns:
        reading.problem("HR113", "'key' has at least one column", items.place)
    return tuple(column for column in columns if column is not None)


def _names(reading: Reading, node: Node | None, what: str, each: str) -> tuple[str, ...]:
    items = reading.sequence(node, what) if node is not None else None
    texts = [reading.text(item, each) for item in (items.items if items else ())]
    return tuple(sorted({text for text in texts if text is not None}))


def _sources(reading: Reading, spec: MappingNode, form: Format) -> tuple[str, ...]:
    node = spec.get("sources")
    if node is not None and form != "headrace":
        message = "events from 'sources' come in Headrace's own form, 'format: headrace'"
        reading.problem("HR114", f"{message}, not {form!r}", node.place)
    begin = spec.get("begin")
    if node is not None and isinstance(begin, Scalar) and begin.text == "latest":
        message = "'sources' send from before the stream is read on: 'begin' is 'earliest' then"
        reading.problem("HR114", message, begin.place)
    return _names(reading, node, "'sources'", "a source")


def _partitions(reading: Reading, node: Node | None) -> int:
    if node is None:
        return PARTITIONS
    value = node.value if isinstance(node, Scalar) else None
    # Compared before it is converted: an integer of a million digits takes minutes to make.
    if isinstance(value, Decimal) and 1 <= value <= MOST_PARTITIONS and value == int(value):
        return int(value)
    message = f"'partitions' is a whole number from 1 to {MOST_PARTITIONS}, not {described(node)}"
    reading.problem("HR113", message, node.place)
    return 1


def _duration(reading: Reading, node: Node | None, what: str) -> int | None:
    text = reading.text(node, what) if node is not None else None
    if node is None or text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        reading.problem("HR112", str(error), node.place)
        return None


def _schema(reading: Reading, spec: MappingNode, form: Format, beside: Beside | None) -> str:
    """The schema as the one JSON text of it."""
    node = spec.get("schema") if form != "avro" else reading.required(spec, "schema", "Avro")
    if node is None:
        return ""
    try:
        value = _object(node, beside)
    except (OSError, ValueError, RecursionError) as error:
        reading.problem("HR113", f"'schema' cannot be read: {error}", node.place)
        return ""
    if not isinstance(value, dict):
        message = f"'schema' is an object, or the name of a file with one, not {described(node)}"
        reading.problem("HR113", message, node.place)
        return ""
    # In ASCII: the text is kept as a scalar of YAML, which would change some signs of it.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    problem = schema_problem(form == "avro", text)
    if problem is not None:
        reading.problem("HR113", problem, node.place)
    return text


def _object(node: Node, beside: Beside | None) -> Any:
    """What a schema's node stands for: itself, the JSON in it, or in the file that it names."""
    value = plain(node)
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return json.loads(value)
    return value if beside is None else json.loads(beside(value))


def _schema_id(reading: Reading, node: Node | None, form: Format) -> int | None:
    if node is None:
        return None
    value = node.value if isinstance(node, Scalar) else None
    is_avro = form == "avro"
    if is_avro and isinstance(value, Decimal) and 0 <= value < 1 << 32 and value == int(value):
        return int(value)
    message = "'schema_id' is the number that a registry gave to the schema of Avro"
    reading.problem("HR113", f"{message}, not {described(node)}", node.place)
    return None


def _map(reading: Reading, spec: MappingNode, form: Format) -> Mapped:
    """How messages of ``form`` become events, as the map says beside what the form knows."""
    node = spec.get("map")
    body = reading.mapping(node, "'map'") if node is not None else None
    if form == "headrace":
        if node is not None:
            message = "messages in Headrace's own form need no 'map'"
            reading.problem("HR114", message, node.place, "'enrich' adds properties")
        return Mapped()
    is_cloud_event = form == "cloudevents"
    if body is None:
        if node is None and not is_cloud_event:
            reading.required(spec, "map", "'spec'")
        return Mapped(fields=_CLOUD_EVENT, all_properties=At(("data",)))
    reading.known_keys(body, (*FIELDS, "properties", "all_properties"), "'map'")
    written = {
        entry.key: found
        for entry in body
        if entry.key in FIELDS
        and (found := read_expression(reading, entry.value, f"{entry.key!r}")) is not None
    }
    fields = {**KNOWN.get(form, {}), **written}
    missing = [name for name in ("type", "user_id", "ts") if name not in fields]
    ends = {"from", "to"} & fields.keys()
    if missing and not (ends and missing == ["user_id"]) and not reading.problems:
        names = ", ".join(map(repr, missing))
        reading.problem("HR109", f"'map' does not say where {names} is found", body.place)
    whole = body.get("all_properties")
    found = read_expression(reading, whole, "'all_properties'") if whole is not None else None
    if whole is not None and found is not None and not isinstance(found, At):
        reading.problem("HR113", "'all_properties' is a path to an object", whole.place)
    usual = At(("data",)) if is_cloud_event and whole is None else None
    return Mapped(
        fields=fields,
        properties=read_expressions(reading, body.get("properties"), "'properties'"),
        all_properties=found if isinstance(found, At) else usual,
    )
