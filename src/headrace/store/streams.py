"""Streams: immutable versions of their documents, and the state of each."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal

from sqlalchemy import Connection, func, insert, select, update

from headrace.errors import OperatorError, RuleError
from headrace.rules.source import did_you_mean
from headrace.rules.streams import Stream, canonical, parse_stream
from headrace.rules.streams.carriers import both_take
from headrace.store.audit import Entry
from headrace.store.tables import stream_versions, streams

StreamState = Literal["draft", "active", "paused", "retired"]
NOT_ENDED: Final = "its connector is not ended yet"
"""The trouble of a stream that was retired, until nothing is left of it in its database."""
# From which states one can come.
BEFORE: Final[Mapping[StreamState, tuple[StreamState, ...]]] = {
    "active": ("draft", "active", "paused"),
    "paused": ("active",),
    "retired": ("draft", "active", "paused"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStream:
    """A stream, and the version of it that is in force, or was, or would be."""

    id: str
    state: StreamState
    version: int
    text: str
    newest: int
    author: str
    since: datetime
    trouble: str = ""
    pulled_to: datetime | None = None

    @property
    def stream(self) -> Stream:
        """What the text means. RuleError for one of a release that says more than this one reads"""
        return _parsed(self.text, f"postgres:{self.id}@{self.version}")

    @property
    def readable(self) -> Stream | None:
        """What the text means, if this release can read it."""
        with suppress(RuleError):
            return self.stream
        return None


@lru_cache(maxsize=1_000)
def _parsed(text: str, place: str) -> Stream:
    # Those who watch streams ask for each of them every second or so.
    return parse_stream(text, place)


def every(connection: Connection) -> list[StoredStream]:
    """All streams by id, each with the version in force."""
    newest = (
        select(stream_versions.c.stream_id, func.max(stream_versions.c.version).label("newest"))
        .group_by(stream_versions.c.stream_id)
        .subquery()
    )
    rows = connection.execute(
        select(
            streams.c.id,
            streams.c.state,
            streams.c.version,
            stream_versions.c.text,
            newest.c.newest,
            stream_versions.c.author,
            streams.c.since,
            streams.c.trouble,
            streams.c.pulled_to,
        )
        .join(
            stream_versions,
            (stream_versions.c.stream_id == streams.c.id)
            & (stream_versions.c.version == streams.c.version),
        )
        .join(newest, newest.c.stream_id == streams.c.id)
        .order_by(streams.c.id)
    )
    return [StoredStream(**row) for row in rows.mappings()]


def add(connection: Connection, stream: Stream, *, author: str, reason: str) -> tuple[int, Entry]:
    """Keep a new version of ``stream``; its number. Needs the schema's lock.

    Of a stream that is not active it is the one to be activated next.
    """
    text = canonical(stream)
    last = connection.execute(
        select(stream_versions.c.version, stream_versions.c.text)
        .where(stream_versions.c.stream_id == stream.id)
        .order_by(stream_versions.c.version.desc())
        .limit(1)
    ).one_or_none()
    entry = Entry(action="stream.add", subject=stream.id, after={"text": text})
    _require_ended(connection, stream.id)
    if last is not None and last.text == text:
        _redraft(connection, stream.id, last.version, ("retired",))
        return last.version, entry
    number = 1 if last is None else last.version + 1
    row = {"stream_id": stream.id, "version": number, "text": text}
    connection.execute(insert(stream_versions).values(**row, author=author, reason=reason))
    if last is None:
        connection.execute(insert(streams).values(id=stream.id, state="draft", version=number))
    else:
        _redraft(connection, stream.id, number, ("draft", "retired"))
    return number, entry


def _require_ended(connection: Connection, id: str) -> None:
    trouble = connection.execute(select(streams.c.trouble).where(streams.c.id == id)).scalar()
    if trouble == NOT_ENDED:
        raise OperatorError(
            f"{id!r} was retired, and {trouble}: what runs `jobs/watch_rules.py` ends it within"
            " seconds",
            code="HR948",
        )


def _redraft(
    connection: Connection, id: str, version: int, states: tuple[StreamState, ...]
) -> None:
    """What is retired comes back as a draft; what runs is changed by activating it anew."""
    connection.execute(
        update(streams)
        .where(streams.c.id == id, streams.c.state.in_(states))
        .values(state="draft", version=version, since=func.now())
    )


def note_trouble(connection: Connection, seen: StoredStream, trouble: str) -> None:
    """Note what keeps a stream from reading its database; empty for nothing.

    Unless it has been moved since it was seen: what was found out then says nothing any more.
    """
    is_seen = (streams.c.state == seen.state) & (streams.c.since == seen.since)
    connection.execute(
        update(streams).where((streams.c.id == seen.id) & is_seen).values(trouble=trouble)
    )


def note_pulled(connection: Connection, id: str, to: datetime) -> None:
    """Note the greatest watermark that has been read of a stream's table."""
    connection.execute(update(streams).where(streams.c.id == id).values(pulled_to=to, trouble=""))


def move(
    connection: Connection, id: str, state: StreamState, *, version: int | None = None
) -> Entry:
    """Bring a stream into ``state``, active in its newest version if none is named.

    OperatorError where it cannot be, and for one that is not there. Needs the schema's lock.
    """
    known = {stream.id: stream for stream in every(connection)}
    found = known.get(id)
    if found is None:
        hint = did_you_mean(id, known) or f"there are: {', '.join(known) or 'none'}"
        raise OperatorError(f"no stream {id!r} ({hint})", code="HR947")
    if found.state not in BEFORE[state]:
        raise OperatorError(f"the stream {id!r} is {found.state}: not {state} next", code="HR948")
    if state == "retired" and found.state != "draft" and found.stream.sources:
        raise OperatorError(
            f"events of {', '.join(found.stream.sources)} still go to the stream {id!r}: activate a"
            " version without 'sources', wait until nothing of its topic lies unread, and retire it"
            " then",
            code="HR948",
        )
    number = found.version
    if state == "active":
        number = version or found.newest
        if not 1 <= number <= found.newest:
            raise OperatorError(
                f"{id!r} has the versions 1 to {found.newest}, not {number}", code="HR947"
            )
        _require_own(connection, id, number, known)
    connection.execute(
        update(streams)
        .where(streams.c.id == id)
        .values(
            state=state,
            version=number,
            since=func.now(),
            **(_left(found) if state == "retired" else {}),
        )
    )
    return Entry(
        action=f"stream.{state}",
        subject=id,
        before={"state": found.state, "version": found.version},
        after={"state": state, "version": number},
    )


def _left(retired: StoredStream) -> dict[str, str | None]:
    """What is to be kept of how a stream that ends read its database: nothing, once all is over."""
    stream = retired.readable
    was_begun = retired.state != "draft" or bool(retired.trouble)
    is_connected = was_begun and stream is not None and stream.is_connected
    return {"trouble": NOT_ENDED if is_connected else "", "pulled_to": None}


def _require_own(
    connection: Connection, id: str, number: int, known: Mapping[str, StoredStream]
) -> None:
    text = connection.execute(
        select(stream_versions.c.text).where(
            stream_versions.c.stream_id == id, stream_versions.c.version == number
        )
    ).scalar_one()
    stream = parse_stream(text)
    for other in known.values():
        if other.id == id or other.state != "active":
            continue
        if other.stream.topic == stream.topic:
            raise OperatorError(
                f"the topic {stream.topic!r} is read as the stream {other.id!r} already",
                code="HR949",
            )
        twice = both_take(stream, other.stream)
        if twice is not None:
            raise OperatorError(f"{twice} goes to the stream {other.id!r} already", code="HR949")
