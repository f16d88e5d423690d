"""From what the servers said to a verdict on each part: well or not, and how far behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headrace.cli.parts import Part, State, died, is_young
from headrace.cli.questions import Heard, Records, Silence
from headrace.cli.stream_health import published_up_to, stream_part
from headrace.cli.topic_parts import topic_parts
from headrace.clock import Instant, parse_instant, round_down
from headrace.embedded import ServerStatus
from headrace.embedded.services import ServiceStatus
from headrace.store import Progress


def judged(heard: Heard) -> list[Part]:
    """Every part: servers, the stream, what carries and serves its results, what runs beside."""
    answers = {
        "postgres": heard.records,
        "kafka": heard.ends,
        "redis": heard.cached,
        "connect": heard.connectors,
    }
    return [
        *(_server(row, answers[row.name]) for row in heard.servers),
        stream_part(heard),
        *topic_parts(heard),
        _loader(heard),
        _api(heard),
        _ingest(heard),
        _runtime(heard),
        *_under_way(heard),
        *_broken_off(heard),
    ]


def _server(row: ServerStatus, answer: object) -> Part:
    if not isinstance(answer, Silence):
        return Part(name=row.name, state="healthy")
    # One that runs may answer with trouble of its own, such as missing tables.
    return Part(
        name=row.name,
        state="failing" if row.is_running else "down",
        last_error=answer.why,
        detail=f"log: {row.log}" if row.log else "",
    )


def _loader(heard: Heard) -> Part:
    service = heard.services["load"]
    if service.has_died:
        return died("loader", service)
    if isinstance(heard.cached, Silence):
        return Part(name="loader", state="unknown", detail="it speaks through Redis, which is away")
    status = heard.cached.loader
    if status is None or status.is_silent(heard.now):
        silent: State = "stale" if status or service.is_running else "off"
        return Part(
            name="loader",
            state="starting" if is_young(service, heard.now) else silent,
            stale_since=status.at if status else None,
            detail="has never spoken" if status is None else "silent",
        )
    published, as_of = published_up_to(heard), status.as_of
    behind = max(0, published - as_of) if published and as_of else None
    working: Mapping[str, State] = {"loading": "healthy", "rebuilding": "building"}
    state = working.get(status.state, "failing")
    is_late = state == "healthy" and behind is not None and behind > heard.target
    return Part(
        name="loader",
        state="stale" if is_late else state,
        behind_events=status.lag,
        behind_ms=behind,
        stale_since=as_of if is_late else None,
        last_error=status.detail,
        detail=status.state,
    )


def _unheard(name: str, service: ServiceStatus, why: str, now: Instant) -> Part:
    """An API that does not answer."""
    if service.has_died:
        return died(name, service)
    if not service.is_running:
        return Part(name=name, state="off", detail=why)
    return Part(name=name, state="starting" if is_young(service, now) else "down", last_error=why)


def _ingest(heard: Heard) -> Part:
    service, taking = heard.services["ingest"], heard.taking
    if isinstance(taking, Silence):
        return _unheard("ingest", service, taking.why, heard.now)
    waiting, is_ready = taking["spool_bytes"], taking["status"] == "ready"
    state: State = "starting" if is_young(service, heard.now) else "failing"
    if waiting:
        error = f"{waiting:,} bytes of events wait on disk for Kafka"
        return Part(name="ingest", state="failing", last_error=error, detail=taking["status"])
    return Part(
        name="ingest",
        state="healthy" if is_ready else state,
        last_error=taking["detail"],
        detail=f"{taking['sources']} sources" if is_ready else taking["status"],
    )


def _api(heard: Heard) -> Part:
    service, ready = heard.services["serve"], heard.ready
    if isinstance(ready, Silence):
        return _unheard("api", service, ready.why, heard.now)
    as_of = parse_instant(ready["as_of"]) if ready.get("as_of") else None
    since = ready.get("stale_since")
    state: State = "stale" if since else "healthy"
    if as_of is None:
        state = "starting" if is_young(service, heard.now) else "failing"
    return Part(
        name="api",
        state=state,
        behind_ms=None if as_of is None else max(0, heard.now - as_of),
        stale_since=parse_instant(since) if since else None,
        last_error="" if as_of is not None else ready["checks"]["cache"]["detail"],
        detail=ready["status"],
    )


def _runtime(heard: Heard) -> Part:
    service, records = heard.services["watch"], heard.records
    if service.has_died:
        return died("runtime", service)
    if isinstance(records, Silence):
        if not service.is_running:
            return Part(name="runtime", state="off")
        return Part(name="runtime", state="unknown", detail="it waits for Postgres")
    if records.holder is not None:
        return Part(name="runtime", state="healthy", detail=f"lease of {records.holder}")
    if service.is_running:
        state: State = "starting" if is_young(service, heard.now) else "failing"
        return Part(name="runtime", state=state, detail="it holds no lease")
    return Part(name="runtime", state="off" if records.target is None else "down")


def _under_way(heard: Heard) -> Iterator[Part]:
    for row in heard.records.under_way if isinstance(heard.records, Records) else ():
        updated = round_down(row.updated_at)
        is_backfill = row.kind == "backfill"
        # A backfill is told of after every batch; of other runs silence says nothing.
        is_late = is_backfill and heard.now - updated > heard.target
        state: State = "building" if is_backfill else "running"
        yield Part(
            name=row.kind,
            state="stale" if is_late else state,
            stale_since=updated if is_late else None,
            detail=_progress(row),
        )


def _broken_off(heard: Heard) -> Iterator[Part]:
    if not isinstance(heard.records, Records):
        return
    running = {row.kind for row in heard.records.under_way}
    for row in heard.records.broken_off:
        if row.kind in running:  # it is being done again
            continue
        ended = row.ended_at or row.updated_at
        run = row.details.get("run_id", row.id)
        error = f"run {run} ended at {ended:%Y-%m-%d %H:%M:%S %Z} without its result"
        yield Part(name=row.kind, state="failing", last_error=error, detail=row.state)


def _progress(row: Progress) -> str:
    if row.kind == "list":
        return f"the list {row.details.get('list')}, since {row.started_at:%Y-%m-%d %H:%M:%S}"
    if row.kind != "backfill":
        return f"since {row.started_at:%Y-%m-%d %H:%M:%S}"
    segments = ", ".join(sorted(row.details.get("segments", {})))
    return f"building {row.details.get('percent', 0)} %: {segments}"
