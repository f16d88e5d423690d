"""How each stream is: whether its topic is read, how far, and what comes of its messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headrace.cli.parts import Part, State
from headrace.cli.questions import Heard, Records
from headrace.serving import streams
from headrace.serving.streams import StreamHealth, health_of, troubled

STATES: Mapping[streams.State, State] = {
    "starting": "starting",
    "active": "healthy",
    "failing": "failing",
    "silent": "stale",
    "paused": "idle",
}


def topic_parts(heard: Heard) -> Iterator[Part]:
    """A part for each stream that is active or paused."""
    if not isinstance(heard.records, Records):
        return
    ends = heard.stream_ends if isinstance(heard.stream_ends, Mapping) else None
    found = [
        health_of(one, heard.records.launches, ends, now=heard.now, target=heard.target)
        for one in heard.records.streams
    ]
    waiting = _waiting(heard.records, found)
    for one in found:
        if one.state in STATES:
            yield Part(
                name=f"stream {one.stored.id}",
                state=STATES[one.state],
                behind_events=one.unread,
                stale_since=one.last_at if one.state == "silent" else None,
                last_error=one.why if one.state == "failing" else "",
                detail=_detail(one, waiting.get(one.stored.id, ())),
            )


def _waiting(records: Records, found: list[StreamHealth]) -> dict[str, list[str]]:
    """Segments that need what a stream does not bring at present, by stream."""
    by_stream: dict[str, list[str]] = {}
    for segment, those in troubled(records.segments, found, lambda: records.catalog).items():
        for one in those:
            by_stream.setdefault(one.stored.id, []).append(segment)
    return by_stream


def _detail(one: StreamHealth, segments: list[str] | tuple[()]) -> str:
    match one.state:
        case "paused":
            how = f"paused since {one.stored.since:%Y-%m-%d %H:%M:%S}"
        case "starting":
            how = one.why
        case _:
            counted = f"{one.accepted:,} accepted and {one.rejected:,} rejected"
            how = f"{counted} since the job was started"
            how = f"{one.why}; {how}" if one.state == "silent" else how
    return f"{how}; needed by {', '.join(segments)}" if segments else how
