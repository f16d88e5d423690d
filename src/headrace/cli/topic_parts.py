"""How each stream is: whether its topic is read, how far, and what comes of its messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from headrace.cli.parts import Part
from headrace.cli.questions import Heard, Records
from headrace.clock import round_down
from headrace.store import StoredStream


def topic_parts(heard: Heard) -> Iterator[Part]:
    """A part for each stream that is active or paused."""
    if not isinstance(heard.records, Records):
        return
    launch = next((row for row in heard.records.launches if "ends" in row.details), None)
    told: Mapping[str, Any] = launch.details if launch is not None else {}
    for stream in heard.records.streams:
        if stream.state == "paused":
            since = f"paused since {stream.since:%Y-%m-%d %H:%M:%S}"
            yield Part(name=f"stream {stream.id}", state="idle", detail=since)
        elif stream.state == "active":
            yield _active(stream, told, heard)


def _active(stream: StoredStream, told: Mapping[str, Any], heard: Heard) -> Part:
    name, topic = f"stream {stream.id}", stream.stream.topic
    read = told.get("ends", {}).get(topic)
    if read is None:
        is_young = heard.now - round_down(stream.since) < heard.target
        detail = "its topic is not read yet"
        return Part(name=name, state="starting" if is_young else "stale", detail=detail)
    ends = heard.stream_ends.get(topic) if isinstance(heard.stream_ends, Mapping) else None
    unread = None
    if ends is not None:
        unread = sum(max(0, end - read.get(str(part), 0)) for part, end in ends.items())
    counts = told.get("streams", {}).get(stream.id, {})
    failing = counts.get("failing", "")
    accepted, rejected = counts.get("accepted", 0), counts.get("rejected", 0)
    return Part(
        name=name,
        state="failing" if failing else "healthy",
        behind_events=unread,
        last_error=failing,
        detail=f"{accepted:,} accepted and {rejected:,} rejected since the job was started",
    )
