"""Documents as written -> a Segment or a Catalog, beside every problem found."""

from __future__ import annotations

from typing import Final, get_args

from headrace.errors import Place, Problem
from headrace.rules.catalog import LIST, Catalog, Computed, EventType, Field, FieldType, Mode
from headrace.rules.conditions import MEASURE_KEYS, read_condition, read_measure
from headrace.rules.cron import EXAMPLE
from headrace.rules.metadata import (
    read_head,
    read_metadata,
    read_refresh,
    read_tags,
    read_timezone,
)
from headrace.rules.model import AllOf, Segment
from headrace.rules.nodes import Mapping, Node, Scalar, read_node
from headrace.rules.reading import Reading, described
from headrace.rules.source import CatalogText, Places, SegmentText, did_you_mean
from headrace.rules.stays import read_stay
from headrace.rules.trial_texts import read_trials

LONGEST_NAME: Final = 256
FIELD_TYPES: Final[tuple[FieldType, ...]] = get_args(FieldType)
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
RESERVED_TYPES: Final = ("traits", "alias", "delete")  # facts with a shape of their own


def read_segment(text: str, file: str = "<text>") -> SegmentText:
    """The segment in ``text``. With problems, what could be read of it, for further checks."""
    reading = Reading(file)
    node = read_node(text, file, reading.problems)
    segment = _segment(reading, node) if node is not None else None
    return SegmentText(segment, Places(file, reading.places), in_order(reading.problems))


def read_catalog(text: str, file: str = "<text>") -> CatalogText:
    """The catalog in ``text``, without the parts that have problems."""
    reading = Reading(file)
    node = read_node(text, file, reading.problems)
    catalog = _catalog(reading, node) if node is not None else Catalog()
    return CatalogText(catalog, in_order(reading.problems), Places(file, reading.places))


def in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    """Problems as a reader meets them: by file, line and column."""
    return tuple(sorted(problems, key=lambda problem: (problem.place, problem.code)))


def _segment(reading: Reading, node: Node) -> Segment | None:
    document = read_head(reading, node, "Segment", ("metadata", "spec", "tests"), "a segment")
    if document is None:
        return None
    metadata = reading.required(document, "metadata", "a segment")
    about = reading.mapping(metadata, "'metadata'") if metadata is not None else None
    spec = reading.required(document, "spec", "a segment")
    rule = reading.mapping(spec, "'spec'") if spec is not None else None
    texts = read_metadata(reading, about) if about is not None else {}
    tags = read_tags(reading, about) if about is not None else ()
    condition, stay, refresh, sql = None, None, "continuous", ""
    if rule is not None:
        found = rule.get("sql")
        reading.known_keys(rule, ("match", "timezone", "refresh", "stay", "sql"), "'spec'")
        reading.zone, refresh = read_timezone(reading, rule), read_refresh(reading, rule)
        if found is not None:
            sql = _sql(reading, found, rule, document)
        else:
            match = reading.required(rule, "match", "'spec'")
            condition = read_condition(reading, match, ()) if match is not None else None
        hysteresis = rule.get("stay")
        stay = read_stay(reading, hysteresis) if hysteresis is not None else None
    tests = document.get("tests")
    return Segment(
        id=texts.get("id", ""),
        # A rule without a usable condition has problems; it is never used.
        condition=condition if condition is not None else AllOf(()),
        name=texts.get("name", ""),
        owner=texts.get("owner", ""),
        description=texts.get("description", ""),
        tags=tags,
        timezone=reading.zone,
        refresh=refresh,
        stay=stay,
        sql=sql,
        tests=read_trials(reading, tests) if tests is not None else (),
    )


def _sql(reading: Reading, node: Node, rule: Mapping, document: Mapping) -> str:
    """The canonical text of a statement in batch; nothing when it is refused."""
    for key, mapping in (("match", rule), ("timezone", rule), ("stay", rule), ("tests", document)):
        beside = mapping.get(key)
        if beside is not None:
            reading.problem("HR419", f"{key!r} beside 'sql'", beside.place, _WITHOUT[key])
    refresh = rule.get("refresh")
    if refresh is None or getattr(refresh, "text", "") == "continuous":
        message = "'sql' is evaluated in batch alone: it needs a cron line as 'refresh'"
        reading.problem("HR419", message, node.place, EXAMPLE)
    text = reading.text(node, "'sql'")
    if text is None or not isinstance(node, Scalar):
        return ""
    # The parser takes a quarter of a second to import: segments without SQL do without it.
    from headrace.rules.sql.batch import read_batch_sql
    from headrace.rules.sql.draft import Draft

    draft = Draft(reading.file, text)
    sql = read_batch_sql(draft)
    for problem in draft.problems:
        place = _within(problem.place, node)
        reading.problem(problem.code, problem.message, place, problem.hint)
    return sql


_WITHOUT: Final = {
    "match": "a rule is one or the other",
    "timezone": "statements go by UTC",
    "stay": "statements say who is in, and have no memory",
    "tests": "try it on a file: headrace evaluate --engine spark",
}


def _within(place: Place, node: Scalar) -> Place:
    """``place`` in the text of ``node`` as a place in the file."""
    start = node.inside
    if start is None:
        return node.place
    return Place(start.file, start.line + place.line - 1, start.column + place.column - 1)


def _catalog(reading: Reading, node: Node) -> Catalog:
    document = read_head(reading, node, "Catalog", ("events", "traits", "modes"), "a catalog")
    if document is None:
        return Catalog()
    events = {}
    for name, body in _named(reading, document.get("events"), "events", "event type"):
        if name in RESERVED_TYPES:
            reading.problem("HR111", f"the event type {name!r} is reserved", body.place)
        else:
            events[name] = _event_type(reading, name, body)
    traits, computed = {}, {}
    for name, body in _named(reading, document.get("traits"), "traits", "trait"):
        if isinstance(body, Mapping) and body.get("event") is not None:
            measure = _computed(reading, name, body)
            if measure is not None:
                computed[name] = measure
            continue
        field = _field(reading, f"trait {name!r}", body)
        if field is not None:
            traits[name] = field
    modes = document.get("modes")
    mapping = reading.mapping(modes, "'modes'") if modes is not None else None
    if mapping is not None:
        reading.known_keys(mapping, ("events", "properties"), "'modes'")
    return Catalog(
        events=events,
        traits=traits,
        computed=computed,
        properties_mode=_mode(reading, mapping, "properties"),
        events_mode=_mode(reading, mapping, "events"),
    )


def _named(reading: Reading, node: Node | None, key: str, what: str) -> list[tuple[str, Node]]:
    """Name and body of each entry under ``key``."""
    mapping = reading.mapping(node, f"{key!r}") if node is not None else None
    named = []
    for entry in mapping or ():
        if 1 <= len(entry.key) <= LONGEST_NAME and entry.key.isprintable():
            named.append((entry.key, entry.value))
        else:
            message = f"the name of a {what} is 1 to {LONGEST_NAME} printable characters"
            reading.problem("HR111", message, entry.place)
    return named


def _event_type(reading: Reading, name: str, node: Node) -> EventType:
    what = f"event type {name!r}"
    body = reading.mapping(node, what)
    if body is None:
        return EventType()
    reading.known_keys(body, ("description", "publish", "properties"), what)
    properties = {}
    for key, value in _named(reading, body.get("properties"), "properties", "property"):
        field = _field(reading, f"property {key!r}", value)
        if field is not None:
            properties[key] = field
    publish = body.get("publish")
    return EventType(
        properties,
        _optional_text(reading, body, "description"),
        publish=bool(publish is not None and reading.boolean(publish, "'publish'")),
    )


def _field(reading: Reading, what: str, node: Node) -> Field | None:
    body = reading.mapping(node, what)
    if body is None:
        return None
    reading.known_keys(body, ("type", "unit", "pii", "description"), what)
    value = reading.required(body, "type", what)
    name = reading.text(value, "'type'") if value is not None else None
    if value is None or name is None:
        return None
    found = next((known for known in FIELD_TYPES if known == name), None)
    if found is None:
        hint = did_you_mean(name, FIELD_TYPES) or f"one of {', '.join(FIELD_TYPES)}"
        reading.problem("HR113", f"unknown type {name!r} of {what}", value.place, hint)
        return None
    pii = body.get("pii")
    return Field(
        type=found,
        unit=_optional_text(reading, body, "unit"),
        pii=bool(pii is not None and reading.boolean(pii, "'pii'")),
        description=_optional_text(reading, body, "description"),
    )


def _computed(reading: Reading, name: str, body: Mapping) -> Computed | None:
    what = f"the computed trait {name!r}"
    if name.startswith(LIST):
        reading.problem("HR111", f"{name!r} is the name of a list", body.place)
    reading.known_keys(body, (*MEASURE_KEYS, "description"), what)
    measure = read_measure(reading, body, ("traits", name))
    description = _optional_text(reading, body, "description")
    return None if measure is None else Computed(measure, description)


def _optional_text(reading: Reading, mapping: Mapping, key: str) -> str:
    node = mapping.get(key)
    return (reading.text(node, f"{key!r}") or "") if node is not None else ""


def _mode(reading: Reading, mapping: Mapping | None, key: str) -> Mode:
    node = mapping.get(key) if mapping is not None else None
    if node is None:
        return "evolve"
    found = next((mode for mode in MODES if mode == getattr(node, "text", None)), None)
    if found is None:
        message = f"mode {key!r} is one of {', '.join(MODES)}, not {described(node)}"
        hint = did_you_mean(getattr(node, "text", ""), MODES)
        reading.problem("HR113", message, node.place, hint)
        return "evolve"
    return found
