"""A stream proposed from a sample of its messages, for its owner to read and correct."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from headrace.clock import parse_instant
from headrace.rules.inference import EARLIEST, LATEST
from headrace.rules.streams.model import At, Constant, Converted, Expression, Mapped, Stream
from headrace.rules.streams.paths import path_text

DEEPEST: Final = 6
MOST_TYPES: Final = 50
"""Names of event types are few; of anything else there are more."""
NEARLY_ALL: Final = 0.99
# Words that paths of each field end in, the likeliest first.
USERS: Final = (
    "user_id", "userid", "customer_id", "customerid", "user.id", "customer.id", "member_id",
    "account_id", "uid", "user", "customer", "subject", "email",
)  # fmt: skip
INSTANTS: Final = (
    "ts", "timestamp", "occurred_at", "event_time", "time", "created_at", "createdat", "date", "at",
)  # fmt: skip
IDS: Final = (
    "event_id", "eventid", "message_id", "messageid", "uuid", "order_id", "id", "number", "key",
)  # fmt: skip
TYPES: Final = ("type", "event_type", "eventtype", "event", "kind", "action", "event_name")


@dataclass(frozen=True, slots=True)
class Proposed:
    """A stream, and what in it is a guess, or missing."""

    stream: Stream
    doubts: tuple[str, ...]


@dataclass(slots=True)
class _Seen:
    """The values met at one path, none of them null."""

    count: int = 0
    values: Counter[Any] = field(default_factory=Counter)

    def note(self, value: Any) -> None:
        self.count += 1
        self.values[value] += 1


def propose(messages: Iterable[bytes], *, id: str, topic: str, type: str | None = None) -> Proposed:
    """A stream that reads messages (JSON objects) like these; all events are of ``type``, if given.

    ValueError when no message is an object.
    """
    seen: dict[tuple[str, ...], _Seen] = {}
    total = bad = 0
    for message in messages:
        try:
            value = orjson.loads(message)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            bad += 1
            continue
        total += 1
        for path, leaf in _leaves(value, ()):
            seen.setdefault(path, _Seen()).note(leaf)
    if not total:
        raise ValueError("none of the messages is a JSON object")
    finding = _Finding(seen, total, [f"{bad} messages are no JSON objects"] if bad else [])
    return Proposed(finding.stream(id, topic, type), tuple(finding.doubts))


def _leaves(value: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, part in value.items():
        if isinstance(part, dict):
            if len(path) < DEEPEST:
                yield from _leaves(part, (*path, name))
        elif isinstance(part, list):
            if part and all(isinstance(one, str) for one in part):
                yield (*path, name), tuple(part)
        elif part is not None:
            yield (*path, name), part


@dataclass(slots=True)
class _Finding:
    """Which paths are which field, one after the other; what is taken is no property."""

    seen: dict[tuple[str, ...], _Seen]
    total: int
    doubts: list[str]

    def stream(self, id: str, topic: str, type: str | None) -> Stream:
        fields: dict[str, Expression] = {}
        if type is not None:
            fields["type"] = Constant(type)
        else:
            self._choose(fields, "type", TYPES, _is_kind)
        self._choose(fields, "user_id", USERS, _names_somebody)
        self._choose(fields, "ts", INSTANTS, _is_instant)
        self._choose(fields, "event_id", IDS, _is_unique)
        if "ts" in fields:
            fields["ts"] = self._as_instant(fields["ts"])
        return Stream(
            id=id, topic=topic, map=Mapped(fields=fields, properties=self._properties(fields))
        )

    def _choose(
        self,
        fields: dict[str, Expression],
        field: str,
        words: Sequence[str],
        fits: Callable[[_Seen], bool],
    ) -> None:
        """Of the paths that are nearly always there the one that ends in the likeliest word."""
        taken = {one.path for one in fields.values() if isinstance(one, At)}
        found = sorted(
            (rank, len(path), path)
            for path, seen in self.seen.items()
            if path not in taken and seen.count >= NEARLY_ALL * self.total and fits(seen)
            for rank in [_rank(path, words)]
            if rank is not None
        )
        if not found:
            if field != "event_id":
                self.doubts.append(f"nothing looks like {field!r}: add it under 'map'")
            return
        fields[field] = At(found[0][2])
        others = ", ".join(path_text(At(path)) for _, _, path in found[1:3])
        if others:
            self.doubts.append(f"{field!r} may also be {others}")

    def _as_instant(self, at: Expression) -> Expression:
        assert isinstance(at, At)
        sample = next(iter(self.seen[tuple(map(str, at.path))].values))
        if isinstance(sample, str):
            return at
        return Converted(at, "milliseconds" if sample >= EARLIEST else "seconds")

    def _properties(self, fields: dict[str, Expression]) -> dict[str, Expression]:
        taken = {_path(one) for one in fields.values()}
        found: dict[str, Expression] = {}
        for path in sorted(self.seen):
            if path in taken:
                continue
            name = _name(path[-1:])
            # Two that end alike are told apart by all of their path.
            alike = [one for one in self.seen if one not in taken and _name(one[-1:]) == name]
            found[name if len(alike) == 1 else _name(path)] = At(path)
        return found


def _path(of: Expression) -> tuple[str | int, ...] | None:
    match of:
        case At(path) | Converted(At(path), _):
            return path
        case _:
            return None


def _name(path: tuple[str, ...]) -> str:
    words = (re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower() for word in path)
    return re.sub(r"[^a-z0-9_]+", "_", "_".join(words)).strip("_") or "value"


def _rank(path: tuple[str, ...], words: Sequence[str]) -> int | None:
    told = ".".join(path).lower()
    for rank, word in enumerate(words):
        if told == word or told.endswith(f".{word}"):
            return rank
    return None


def _is_kind(seen: _Seen) -> bool:
    return len(seen.values) <= MOST_TYPES and all(isinstance(one, str) for one in seen.values)


def _names_somebody(seen: _Seen) -> bool:
    return all(isinstance(one, str | int) and not isinstance(one, bool) for one in seen.values)


def _is_unique(seen: _Seen) -> bool:
    return _names_somebody(seen) and len(seen.values) == seen.count


def _is_instant(seen: _Seen) -> bool:
    return all(map(_tells_time, seen.values))


def _tells_time(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return EARLIEST <= value <= LATEST or EARLIEST / 1_000 <= value <= LATEST / 1_000
    if not isinstance(value, str) or len(value) <= 10:
        return False
    try:
        parse_instant(value)
    except (ValueError, OverflowError):
        return False
    return True
