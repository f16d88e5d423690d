"""How the stream is: by its launches in Postgres, Kafka's ends and what Redis hears of it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import suppress

from headrace.cli.parts import Part, State
from headrace.cli.questions import Cached, Heard, Records, Silence
from headrace.clock import SECOND, Instant, round_down
from headrace.embedded.logs import last_error

# A cold Spark has done its first batch within this.
STARTS_WITHIN = 120 * SECOND


def stream_part(heard: Heard) -> Part:
    """The streaming job: fresh, coming, behind or down."""
    as_of = published_up_to(heard)
    age = None if as_of is None else max(0, heard.now - as_of)
    is_late = age is not None and age > heard.target
    state, detail = _state(heard, as_of, is_late)
    return Part(
        name="stream",
        state=state,
        behind_events=_unread(heard),
        behind_ms=age,
        stale_since=as_of if is_late and state != "idle" else None,
        last_error=_last_failure(heard.records),
        detail=detail,
    )


def _state(heard: Heard, as_of: Instant | None, is_late: bool) -> tuple[State, str]:
    records = heard.records
    if isinstance(records, Silence):
        if as_of is None:
            return "unknown", "Postgres is away, and Redis has not heard of it"
        return "stale" if is_late else "healthy", "by what Redis hears of it: Postgres is away"
    if records.target is None:
        return "idle", "no plan is active: `headrace apply RULES`"
    if not records.launches:
        if records.holder is not None:
            return "starting", "about to be launched"
        return "down", "there is a plan and nobody to launch it: `headrace up`"
    launch = records.launches[0]
    if not launch.is_alive:
        return "down" if launch.state == "stopped" else "failing", f"launch {launch.id} has ended"
    about = f"launch {launch.id}, pid {launch.pid}"
    is_young = heard.now - round_down(launch.started_at) <= STARTS_WITHIN
    if "now" in launch.details:
        if as_of is None and not is_young:
            return "stale", f"{about}, reads what came before its first start"
        return "stale" if is_late else "healthy", about
    waits = f"{about}, before its first batch"
    return "stale" if is_late else "starting" if is_young else "failing", waits


def published_up_to(heard: Heard) -> Instant | None:
    """The instant up to which the stream has published everything, as far as anybody knows.

    Redis hears of it through Kafka and the loader, Postgres at once.
    """
    if isinstance(heard.records, Records):
        told = [row.details.get("as_of") for row in heard.records.launches]
    else:
        told = [heard.cached.as_of] if isinstance(heard.cached, Cached) else []
    return max((instant for instant in told if instant), default=None)


def _unread(heard: Heard) -> int | None:
    """Events in Kafka behind the end of the newest batch."""
    if isinstance(heard.records, Silence) or isinstance(heard.ends, Silence):
        return None
    told = (row.details["ends"] for row in heard.records.launches if "ends" in row.details)
    read: Mapping[str, int] | None = next((ends.get(heard.topic) for ends in told), None)
    if read is None:
        return None
    return sum(max(0, end - read.get(str(part), 0)) for part, end in heard.ends.items())


def _last_failure(records: Records | Silence) -> str:
    """When and how the stream last ended by itself, as far as its last launches go back."""
    if isinstance(records, Silence):
        return ""
    failed = ("failed", "failing", "lost")
    row = next((row for row in records.launches if row.state in failed), None)
    if row is None:
        return ""
    ended = row.ended_at or row.updated_at
    words = [f"{ended:%Y-%m-%d %H:%M:%S} {row.state}", _how(row.exit_code)]
    if row.log_path:
        words.append(last_error(row.log_path))
    return ": ".join(filter(None, words))


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "nobody saw how"
    with suppress(ValueError):
        if exit_code < 0:
            return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
