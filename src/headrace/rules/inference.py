"""A catalog proposed from a sample of events, for its owner to read and correct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from headrace.clock import parse_instant
from headrace.rules.catalog import Catalog, EventType, Field, FieldType
from headrace.rules.reference_facts import OnBadLine, Refused, judge, parse

# Whole numbers that all lie in here are read as instants in ms: the years 2001 to 2100.
EARLIEST, LATEST = 978_307_200_000, 4_102_444_799_999
PERSONAL: Final = ("email", "mail", "phone", "first_name", "last_name", "full_name", "address")


@dataclass(frozen=True, slots=True)
class Inferred:
    """A catalog, and where it is a guess."""

    catalog: Catalog
    doubts: tuple[str, ...]


@dataclass(slots=True)
class _Seen:
    """How often each kind of value was met."""

    kinds: Counter[FieldType | None] = field(default_factory=Counter)

    def note(self, value: object) -> None:
        self.kinds[_kind(value)] += 1


def infer(lines: Iterable[bytes], on_bad_line: OnBadLine | None = None) -> Inferred:
    """What ``lines`` (one JSON event each) have in common; others are told to ``on_bad_line``.

    Where values of a name disagree, most of them decide, and the doubt is told.
    """
    events: dict[str, dict[str, _Seen]] = {}
    traits: dict[str, _Seen] = {}
    for number, line in enumerate(lines, 1):
        try:
            fact = judge(parse(line), Catalog())
        except Refused as reason:
            if on_bad_line is not None:
                on_bad_line(number, str(reason))
            continue
        if fact.type in ("alias", "delete"):
            continue
        fields = traits if fact.type == "traits" else events.setdefault(fact.type, {})
        for name, value in fact.sent.items():
            fields.setdefault(name, _Seen()).note(value)
    doubts: list[str] = []
    return Inferred(
        Catalog(
            events={
                name: EventType(_fields(events[name], f"{name}.", doubts))
                for name in sorted(events)
            },
            traits=_fields(traits, "trait ", doubts),
        ),
        tuple(doubts),
    )


def _fields(seen: Mapping[str, _Seen], prefix: str, doubts: list[str]) -> dict[str, Field]:
    return {
        name: Field(_type(seen[name].kinds, prefix + name, doubts), pii=name in PERSONAL)
        for name in sorted(seen)
    }


def _type(kinds: Counter[FieldType | None], name: str, doubts: list[str]) -> FieldType:
    found: dict[FieldType, int] = {k: count for k, count in kinds.items() if k is not None}
    if not found:
        doubts.append(f"{name} is null or of no type we know wherever it stands: taken as string")
        return "string"
    # One number with a point makes decimals of whole ones; one that is too small for an instant
    # makes integers of the others; one text that is no instant makes texts of all.
    for wide, narrow in (
        ("decimal", "integer"),
        ("decimal", "timestamp"),
        ("integer", "timestamp"),
        ("string", "timestamp"),
    ):
        if wide in found and narrow in found:
            found[wide] += found.pop(narrow)
    best = max(found, key=lambda kind: (found[kind], kind))
    others = ", ".join(f"{n} {kind}" for kind, n in sorted(found.items()) if kind != best)
    if others:
        doubts.append(f"{name} is {found[best]} times {best}, but {others}: taken as {best}")
    return best


def _kind(value: object) -> FieldType | None:
    match value:
        case bool():
            return "boolean"
        case int():
            return "timestamp" if EARLIEST <= value <= LATEST else "integer"
        case Decimal():
            return "decimal"
        case str():
            return "timestamp" if _is_instant(value) else "string"
        case list() if all(isinstance(item, str) for item in value):
            return "array<string>"
        case _:
            return None


def _is_instant(text: str) -> bool:
    try:
        parse_instant(text)
    except ValueError:
        return False
    return True
