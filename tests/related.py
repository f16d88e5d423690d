"""Conditions that have much to do with each other, and histories around their edges.

Few events, windows, constants and values: what follows from what happens often enough to be met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from random import Random

import orjson

from headrace.clock import DAY, HOUR
from headrace.rules.catalog import LIST, Catalog, EventType, Field
from headrace.rules.model import (
    COUNTING,
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Ever,
    InList,
    InSegment,
    Measure,
    Not,
    Period,
    Property,
    Sample,
    Segment,
    Span,
    Step,
    Trait,
    Window,
    Within,
    default_hop,
)
from headrace.rules.model import Sequence as Steps
from strategies import AT, Case, edges

CATALOG = Catalog(
    events={
        "buy": EventType(
            {
                "price": Field("decimal"),
                "items": Field("integer"),
                "sku": Field("string"),
                "gift": Field("boolean"),
                "ships": Field("timestamp"),
            }
        ),
        "look": EventType(),
    },
    traits={
        "country": Field("string"),
        "age": Field("integer"),
        "since": Field("timestamp"),
        "tags": Field("array<string>"),
    },
)
SKUS = ("a", "ab", "b")
NUMBERS = tuple(map(Decimal, ("-1", "0", "1", "1.5", "2", "3", "1.00005")))


def related_case(random: Random, size: int = 2, most_events: int = 9) -> Case:
    """``size`` rules over the same few things, the later referring to the earlier at times."""
    rules: list[Segment] = []
    for number in range(size):
        held = condition(random, 2)
        if rules and random.random() < 0.2:
            held = AllOf((held, signed(random, InSegment(random.choice(rules).id))))
        rules.append(Segment(id=f"s{number}", condition=held))
    return Case(tuple(rules), related_lines(random, rules, most_events), AT)


def related_lines(
    random: Random, rules: Sequence[Segment], most_events: int = 9
) -> tuple[bytes, ...]:
    """A history of two users around the edges of ``rules``."""
    near = [one for one in edges(rules, AT) if AT - 40 * DAY < one <= AT]
    return tuple(_line(random, number, near) for number in range(random.randint(1, most_events)))


def signed(random: Random, held: Condition) -> Condition:
    return Not(held) if random.random() < 0.4 else held


def condition(random: Random, depth: int) -> Condition:
    kind = random.random()
    if depth == 0 or kind < 0.2:
        return leaf(random)
    if kind < 0.45:
        return pair(random)
    parts = tuple(condition(random, depth - 1) for _ in range(random.randint(2, 3)))
    return AllOf(parts) if kind < 0.6 else AnyOf(parts) if kind < 0.85 else Not(parts[0])


def leaf(random: Random) -> Condition:
    kind = random.random()
    if kind < 0.6:
        return _measured(random)
    if kind < 0.8:
        return _trait(random)
    if kind < 0.88:
        return Sample(Decimal(random.choice((10, 50, 80, 100))), "s")
    if kind < 0.94:
        steps = (Step("look"), Step("buy", _filter(random), random.choice((None, DAY))))
        return Steps(steps[random.choice((0, 0, 1)) :], _window(random))
    return InList(random.choice(("vip", "staff")))


def pair(random: Random) -> Condition:
    """Two comparisons of nearly the same measure: another window, filter or function at most."""
    one = _measured(random)
    assert isinstance(one.subject, Measure)
    measure = one.subject
    if random.random() < 0.7:
        measure = replace(measure, window=_window(random))
    if measure.event == "buy" and random.random() < 0.3:
        measure = replace(measure, where=random.choice((None, _filter(random))))
    field = measure.field
    if field in ("price", "items") and random.random() < 0.5:
        function = random.choice(("sum", "avg", "min", "max", "first", "last", "distinct"))
        measure = replace(measure, function=function)  # type: ignore[arg-type]
    elif random.random() < 0.4 and (field is None or random.random() < 0.5):
        measure = replace(measure, function=random.choice(COUNTING), field=None)
    other = _compared(random, measure)
    return AllOf((one, signed(random, other)))


def _measured(random: Random) -> Compare:
    event = random.choice(("buy", "buy", "buy", "look"))
    functions = ("count", "count", "count", "days_active", "sum", "avg", "min", "max", "min", "max")
    function = random.choice((*functions, "distinct", "first", "last"))
    if event == "look":
        function = random.choice(COUNTING)
    field = None if function in COUNTING else random.choice(("price", "items"))
    if function in ("distinct", "first", "last"):
        field = random.choice(("price", "sku", "gift"))
    if function in ("min", "max") and random.random() < 0.3:
        field = "ships"
    where = _filter(random) if event == "buy" else None
    measure = Measure(function, event, field, where, _window(random))  # type: ignore[arg-type]
    return _compared(random, measure)


def _compared(random: Random, measure: Measure) -> Compare:
    function, field = measure.function, measure.field
    if field == "ships":
        return _instant(random, measure)
    if field == "sku" and function != "distinct":
        return _text(random, measure)
    if field == "gift" and function != "distinct":
        return Compare(measure, random.choice(("eq", "ne")), random.random() < 0.5)
    numbers = NUMBERS if function not in (*COUNTING, "distinct") else tuple(map(Decimal, range(5)))
    return _number(random, measure, numbers)


def _number(
    random: Random, subject: Measure | Trait | Property, numbers: tuple[Decimal, ...]
) -> Compare:
    operator = random.choice(
        ("eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "between", "exists")
    )
    if operator == "exists":
        return Compare(subject, "exists", random.random() < 0.5)
    if operator in ("in", "not_in", "between"):
        return Compare(subject, operator, tuple(random.choices(numbers, k=2)))  # type: ignore[arg-type]
    return Compare(subject, operator, random.choice(numbers))  # type: ignore[arg-type]


def _instant(random: Random, subject: Measure | Trait) -> Compare:
    if random.random() < 0.2:
        return Compare(subject, "exists", random.random() < 0.5)
    if random.random() < 0.3:
        return Compare(subject, random.choice(("gt", "lte")), "2026-03-14")
    return Compare(
        subject, random.choice(("before", "after")), Ago(random.choice((HOUR, DAY, -DAY)))
    )


def _text(random: Random, subject: Measure | Trait | Property) -> Compare:
    operator = random.choice(
        ("eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "contains", "not_contains",
         "starts_with", "ends_with", "matches", "exists", "between")
    )  # fmt: skip
    if operator == "exists":
        return Compare(subject, "exists", random.random() < 0.5)
    if operator in ("in", "not_in", "between"):
        return Compare(subject, operator, tuple(random.choices(SKUS, k=2)))  # type: ignore[arg-type]
    return Compare(subject, operator, random.choice(SKUS))  # type: ignore[arg-type]


def _trait(random: Random) -> Condition:
    name = random.choice(("country", "age", "since", "tags"))
    if name == "country":
        return _text(random, Trait(name))
    if name == "age":
        return _number(random, Trait(name), NUMBERS)
    if name == "since":
        return _instant(random, Trait(name))
    operator = random.choice(("contains", "not_contains", "contains_any", "contains_all", "exists"))
    if operator == "exists":
        return Compare(Trait(name), "exists", random.random() < 0.5)
    value = (
        random.choice(SKUS) if operator.endswith("contains") else tuple(random.choices(SKUS, k=2))
    )
    return Compare(Trait(name), operator, value)  # type: ignore[arg-type]


def _filter(random: Random) -> Condition | None:
    if random.random() < 0.5:
        return None
    parts = tuple(
        random.choice(
            (
                _text(random, Property("sku")),
                _text(random, Property("sku")),
                _number(random, Property("price"), NUMBERS),
                Compare(Property("gift"), random.choice(("eq", "ne")), random.random() < 0.5),
            )
        )
        for _ in range(random.randint(1, 2))
    )
    return random.choice((AllOf, AllOf, AnyOf))(parts) if len(parts) > 1 else parts[0]


def _window(random: Random) -> Window:
    kind = random.random()
    if kind < 0.25:
        return Ever()
    if kind < 0.4:
        start = AT - random.choice((DAY, 3 * DAY))
        return Span(start, random.choice((None, start + HOUR, AT)))
    if kind < 0.55:
        return Period(
            random.choice(("today", "this_week", "this_month")),
            random.choice(("UTC", "UTC", "Europe/Berlin")),
        )
    length = random.choice((2 * HOUR, DAY, DAY + HOUR, 2 * DAY, 7 * DAY))
    return Within(length, random.choice((default_hop(length), HOUR, 45 * 60_000, DAY)))


def _line(random: Random, number: int, near: list[int]) -> bytes:
    ts = random.choice((random.choice(near), random.choice(near), AT - random.randrange(9 * DAY)))
    user = f"u{random.randint(1, 2)}"
    if random.random() < 0.25:
        traits = {
            "country": random.choice((*SKUS, None)),
            "age": random.choice((-1, 0, 1, 2, 3, None)),
            "since": random.choice((AT - HOUR, AT - DAY, AT - DAY - 1, AT + DAY, AT, None)),
            "tags": random.choice((["a"], ["a", "b"], [], ["ab"], None)),
            LIST + "vip": random.choice((True, None)),
        }
        kept = {name: value for name, value in traits.items() if random.random() < 0.5}
        return orjson.dumps({"type": "traits", "user_id": user, "ts": ts, "traits": kept})
    line = {"event_id": f"e{number}", "user_id": user, "ts": ts}
    if random.random() < 0.25:
        return orjson.dumps({**line, "type": "look", "properties": {}})
    properties = {
        "price": random.choice((-1, 0, 1, 1.5, 1.0001, 2, 3)),
        "items": random.choice((-1, 0, 1, 2, 3)),
        "sku": random.choice(SKUS),
        "gift": random.random() < 0.5,
        "ships": random.choice((AT - HOUR, AT - DAY, AT - DAY - 1, AT + DAY, AT)),
    }
    kept = {name: value for name, value in properties.items() if random.random() < 0.8}
    return orjson.dumps({**line, "type": "buy", "properties": kept})
