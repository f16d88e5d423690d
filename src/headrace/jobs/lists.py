"""Lists of users from files. Who is on one has a trait of that name: a list is sent as facts.

As facts they follow joins, a deletion takes them along, and every engine counts them alike.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from headrace.clock import Instant
from headrace.engine.judge import MAX_ID
from headrace.errors import OperatorError
from headrace.kafka.client import Producer
from headrace.rules.catalog import LIST

# A line's number, and the user it names or the reason why it names none.
Row: TypeAlias = tuple[int, str | None, str]
LONGEST_FIELD: Final = 4_096


@dataclass(frozen=True, slots=True)
class Sent:
    """How many users were sent, and the numbers of bad lines by reason."""

    users: int
    bad: dict[str, list[int]]


def csv_rows(lines: Iterable[bytes], column: str) -> Iterator[Row]:
    """The users of a CSV file: of its ``column``, or of its only one if that has no head.

    Raises OperatorError when there are several columns, none of that name.
    """
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(line.decode(errors="surrogateescape") for line in lines)
    place: int | None = None
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield reader.line_num, None, "not-csv"
            continue
        if not any(map(str.strip, fields)):
            continue
        if place is None:
            fields[0] = fields[0].removeprefix("\ufeff")
            place = _place(fields, column)
            if fields[place] == column:
                continue
        yield _row(reader.line_num, fields[place] if place < len(fields) else "")


def json_rows(lines: Iterable[bytes], column: str) -> Iterator[Row]:
    """The users of a file of JSON lines: objects with the field ``column``, or texts."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            yield number, None, "not-json"
            continue
        found = value.get(column) if isinstance(value, dict) else value
        yield _row(number, found) if isinstance(found, str) else (number, None, "no-id")


def send(
    producer: Producer | None,
    topic: str,
    name: str,
    rows: Iterable[Row],
    *,
    on: bool,
    at: Instant,
) -> Sent:
    """Put the users of ``rows`` on the list ``name``, or take them off it, as of ``at``.

    Without a producer they are only read and counted.
    """
    trait = orjson.dumps({LIST + name: True if on else None})
    tail = b',"ts":%d,"traits":%b}' % (at, trait)
    users, bad = 0, dict[str, list[int]]()
    for number, user, reason in rows:
        if user is None:
            bad.setdefault(reason, []).append(number)
            continue
        users += 1
        if producer is not None:
            value = b'{"type":"traits","user_id":' + orjson.dumps(user) + tail
            producer.send(topic, key=user.encode(), value=value)
    if producer is not None:
        producer.flush()
    return Sent(users, bad)


def _place(fields: Sequence[str], column: str) -> int:
    if column in fields:
        return fields.index(column)
    if len(fields) == 1:
        return 0
    raise OperatorError(
        f"no column {column!r}; the first line has {', '.join(map(repr, fields))[:300]} "
        "(--column chooses one)",
        code="HR946",
    )


def _row(number: int, user: str) -> Row:
    if not user:
        return number, None, "no-id"
    try:
        user.encode()
    except UnicodeEncodeError:
        return number, None, "invalid-utf8"
    if len(user) > MAX_ID:
        return number, None, "bad-id"
    return (number, None, "nul-character") if "\0" in user else (number, user, "")
