"""The ``tests:`` block of a rule, or of a file of tests, as written -> trials."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from headrace.clock import parse_instant
from headrace.rules.nodes import Mapping, Node, Scalar, Sequence
from headrace.rules.reading import Reading, described
from headrace.rules.trials import Expectation, Trial, TrialEvent, TrialValue

LAST_INSTANT: Final = 253_402_300_799_999  # the end of the year 9999
_OF_EVENT: Final = ("user", "ts", "type", "id")


def read_trials(
    reading: Reading, node: Node, about: tuple[str, ...] | None = None
) -> tuple[Trial, ...]:
    """Every well-shaped test of the list; problems for the others.

    Tests beside a rule are about it. In a file of their own, they name the segments that they
    are ``about`` once, or in each expectation.
    """
    items = reading.sequence(node, "'tests'")
    trials = [
        _trial(reading, item, index, about)
        for index, item in enumerate(items.items if items else ())
    ]
    return tuple(trial for trial in trials if trial is not None)


def _trial(reading: Reading, node: Node, index: int, about: tuple[str, ...] | None) -> Trial | None:
    reading.places[("tests", index)] = node.place
    body = reading.mapping(node, "a test")
    if body is None:
        return None
    lists = body.get("lists") if about is not None else None
    keys = ("name", "events", "expect", *(() if about is None else ("lists",)))
    reading.known_keys(body, keys, "a test")
    name = reading.required(body, "name", "a test")
    text = reading.text(name, "'name'") if name is not None else None
    events: list[TrialEvent] = []
    given = body.get("events") is not None or lists is None  # a list alone is a history too
    for item in _items(reading, body, "events") if given else ():
        reading.places["tests", index, "event", len(events)] = item.place
        event = _event(reading, item)
        if event is not None:
            events.append(event)
    expect: list[Expectation] = []
    items = _items(reading, body, "expect")
    for item in items:
        for expected in _expectations(reading, item, about):
            reading.places[("tests", index, len(expect))] = item.place
            expect.append(expected)
    if not items and body.get("expect") is not None:
        reading.problem("HR118", "a test needs at least one expectation", body.place)
    return Trial(
        name=text or "",
        events=tuple(events),
        expect=tuple(expect),
        lists=_lists(reading, lists) if lists is not None else (),
    )


def _lists(reading: Reading, node: Node) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """``{vip: [ann, bob]}``: who is on which list."""
    lists = []
    for entry in reading.mapping(node, "'lists'") or ():
        users = reading.sequence(entry.value, f"the list {entry.key!r}")
        texts = [reading.text(user, "a user") for user in (users.items if users else ())]
        lists.append((entry.key, tuple(text for text in texts if text is not None)))
    return tuple(lists)


def _items(reading: Reading, body: Mapping, key: str) -> tuple[Node, ...]:
    node = reading.required(body, key, "a test")
    items = reading.sequence(node, f"{key!r}") if node is not None else None
    return items.items if items is not None else ()


def _event(reading: Reading, node: Node) -> TrialEvent | None:
    body = reading.mapping(node, "an event of a test")
    if body is None:
        return None
    user = _required_text(reading, body, "user", "an event")
    kind = _required_text(reading, body, "type", "an event")
    ts = _instant(reading, body, "ts", "an event")
    event_id = body.get("id")
    identity = reading.text(event_id, "'id'") if event_id is not None else ""
    fields = []
    for entry in body:
        if entry.key not in _OF_EVENT:
            fields.append((entry.key, _value(reading, entry.key, entry.value)))
    if kind == "alias" and [key for key, _ in fields] != ["from"]:
        message = "an alias of a test has user, ts, type and from"
        reading.problem("HR118", message, body.place)
    if user is None or kind is None or ts is None:
        return None
    return TrialEvent(user=user, ts=ts, type=kind, id=identity or "", fields=tuple(fields))


def _expectations(reading: Reading, node: Node, about: tuple[str, ...] | None) -> list[Expectation]:
    """One for each segment that it is about."""
    body = reading.mapping(node, "an expectation")
    if body is None:
        return []
    keys = ("user", "at", "member", *(() if about is None else ("segment",)))
    reading.known_keys(body, keys, "an expectation")
    names: tuple[str, ...] = ("",)
    if about is not None:
        segment = body.get("segment")
        names = about if segment is None else (reading.text(segment, "'segment'") or "",)
        if not names:
            hint = "or name it once for all: segments: [..]"
            reading.problem("HR109", "an expectation needs the key 'segment'", body.place, hint)
    user = _required_text(reading, body, "user", "an expectation")
    at = _instant(reading, body, "at", "an expectation")
    value = reading.required(body, "member", "an expectation")
    member = reading.boolean(value, "'member'") if value is not None else None
    if user is None or at is None or member is None:
        return []
    return [Expectation(user=user, at=at, member=member, segment=name) for name in names]


def _required_text(reading: Reading, body: Mapping, key: str, what: str) -> str | None:
    node = reading.required(body, key, what)
    return reading.text(node, f"{key!r}") if node is not None else None


def _instant(reading: Reading, body: Mapping, key: str, what: str) -> int | None:
    node = reading.required(body, key, what)
    if node is None:
        return None
    if isinstance(node, Scalar):
        value = node.value
        if isinstance(value, str):
            try:
                return parse_instant(value)
            except ValueError:
                pass
        elif isinstance(value, Decimal) and 0 <= value <= LAST_INSTANT and value % 1 == 0:
            return int(value)
    message = f"{key!r} must be an instant such as 2026-01-31T09:00:00Z, not {described(node)}"
    reading.problem("HR118", message, node.place)
    return None


def _value(reading: Reading, key: str, node: Node) -> TrialValue:
    if isinstance(node, Sequence):
        texts = [reading.text(item, f"an element of {key!r}") for item in node.items]
        return tuple(text for text in texts if text is not None)
    if isinstance(node, Scalar) and node.value is None:
        return None
    return reading.literal(node, f"{key!r}")
