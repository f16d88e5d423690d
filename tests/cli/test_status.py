"""``headrace status``: a verdict on each part, whatever is down."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headrace.cache.model import LoaderStatus
from headrace.cli import main
from headrace.cli.health import judged
from headrace.cli.parts import Part
from headrace.cli.questions import Cached, Heard, Records, Silence
from headrace.clock import SECOND
from headrace.embedded import Servers, ServerStatus
from headrace.embedded.logs import last_error
from headrace.embedded.services import ServiceStatus
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.settings import Settings
from headrace.store import Progress, Store, StoredStream, StoredVersion

NOW = 1_768_212_000_000
TOPIC = "events.v1"


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1_000, UTC)


def launch(number: int = 1, state: Any = "running", begun: int = 900, **more: Any) -> Progress:
    """Begun so many seconds ago."""
    row = Progress(
        id=number, job="stream", kind="launch", state=state, pid=42, exit_code=None, log_path=None,
        plan_hash="p", started_at=moment(NOW - begun * SECOND), updated_at=moment(NOW),
        ended_at=None if state == "running" else moment(NOW - 60 * SECOND), details={},
    )  # fmt: skip
    return replace(row, **more)


def batch(ago: int, read: int = 100) -> dict[str, Any]:
    """What the stream told of a batch so many seconds ago."""
    now = NOW - ago * SECOND
    return {"now": now, "as_of": now, "ends": {TOPIC: {"0": read, "1": read}}}


def service(name: str, begun: int | None = 900, *, died: bool = False) -> ServiceStatus:
    started = None if begun is None or died else NOW / SECOND - begun
    return ServiceStatus(
        name=name, about="", is_running=started is not None, has_died=died, pid=None,
        started=started, log="/nowhere",
    )  # fmt: skip


BIG = StoredVersion(
    segment_id="big",
    version=1,
    state="active",
    retired_at=None,
    text="apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: big}\n"
    "spec: {match: {did: purchase}}",
    content_hash="",
    author="ann",
    reason="",
    created_at=moment(0),
    activated_at=None,
)


def services(**more: ServiceStatus) -> dict[str, ServiceStatus]:
    return {name: service(name) for name in ("watch", "load", "serve", "ingest")} | more


WELL = Heard(
    now=NOW,
    target=60 * SECOND,
    topic=TOPIC,
    servers=tuple(
        ServerStatus(name=name, kind="embedded", is_running=True, address="", log="/log")
        for name in ("postgres", "kafka", "redis")
    ),
    services=services(),
    records=Records(launches=(launch(details=batch(2)),), target="p", holder="host/7/x"),
    ends={0: 105, 1: 100},
    cached=Cached(
        loader=LoaderStatus(state="loading", at=NOW, as_of=NOW - 3 * SECOND, lag=4),
        as_of=NOW - 3 * SECOND,
    ),
    taking={"status": "ready", "sources": 1, "spool_bytes": 0, "detail": ""},
    ready={
        "status": "ready", "as_of": "2026-01-12T09:59:57Z", "stale_since": None,
        "checks": {"cache": {"detail": ""}},
    },
)  # fmt: skip
RECORDS = WELL.records
assert isinstance(RECORDS, Records) and isinstance(WELL.cached, Cached)
AWAY = Silence("it is away")


def part(heard: Heard, name: str) -> Part:
    return next(part for part in judged(heard) if part.name == name)


def test_all_is_well() -> None:
    parts = {part.name: part for part in judged(WELL)}
    assert {part.state for part in parts.values()} == {"healthy"}
    stream, loader, api = parts["stream"], parts["loader"], parts["api"]
    assert (stream.behind_events, stream.behind_ms) == (5, 2_000)
    assert (loader.behind_events, loader.behind_ms) == (4, 1_000)
    assert api.behind_ms == 3_000


def records(*launches: Progress, **more: Any) -> Heard:
    old = Cached(loader=None, as_of=None)
    return replace(WELL, records=replace(RECORDS, launches=launches, **more), cached=old)


def cached(**status: Any) -> Heard:
    loader = LoaderStatus(**{"state": "loading", "at": NOW, "as_of": NOW, **status})
    return replace(WELL, cached=Cached(loader=loader, as_of=loader.as_of))


CRASHED = launch(1, "failed", exit_code=-9, details=batch(70))


@pytest.mark.parametrize(
    ("heard", "name", "state", "is_well", "since"),
    [
        pytest.param(
            records(launch(details=batch(61))), "stream", "stale", False, 61, id="a hung batch"
        ),
        pytest.param(
            records(launch(details={**batch(61), "now": NOW})), "stream", "stale", False, 61,
            id="full batches, one behind the other",
        ),
        pytest.param(
            records(launch(2, begun=20), CRASHED), "stream", "stale", False, 70,
            id="launched again, and stale until it has caught up",
        ),
        pytest.param(
            records(launch(2, begun=20), replace(CRASHED, details=batch(30))), "stream",
            "starting", True, None, id="launched again, soon enough",
        ),
        pytest.param(
            records(launch(begun=20)), "stream", "starting", True, None, id="a first start"
        ),
        pytest.param(
            records(launch(begun=500)), "stream", "failing", False, None, id="a start without end"
        ),
        pytest.param(records(CRASHED), "stream", "failing", False, 70, id="crashed"),
        pytest.param(
            records(launch(1, "failing", exit_code=1)), "stream", "failing", False, None,
            id="crashed again and again",
        ),
        pytest.param(
            records(launch(1, "stopped", details=batch(9))), "stream", "down", False, None,
            id="stopped",
        ),
        pytest.param(
            records(target=None, holder=None), "stream", "idle", True, None, id="without a plan"
        ),
        pytest.param(records(holder=None), "stream", "down", False, None, id="nobody launches it"),
        pytest.param(records(), "stream", "starting", True, None, id="about to be launched"),
        pytest.param(
            replace(WELL, records=AWAY), "stream", "healthy", True, None,
            id="known by what Redis hears of it, without Postgres",
        ),
        pytest.param(
            replace(WELL, records=AWAY, cached=AWAY), "stream", "unknown", False, None,
            id="nobody knows of it",
        ),
        pytest.param(replace(WELL, records=AWAY), "postgres", "failing", False, None),
        pytest.param(replace(WELL, ends=AWAY), "kafka", "failing", False, None),
        pytest.param(cached(at=NOW - 16_000), "loader", "stale", False, 16, id="a silent loader"),
        pytest.param(
            replace(cached(at=NOW - 16_000), services=services(load=service("load", 5))),
            "loader", "starting", True, 16, id="a loader that comes back",
        ),
        pytest.param(
            cached(as_of=NOW - 63_000), "loader", "stale", False, 63,
            id="a loader that the stream runs away from",
        ),
        pytest.param(
            cached(state="needs reload"), "loader", "failing", False, None, id="it cannot go on"
        ),
        pytest.param(
            cached(state="rebuilding"), "loader", "building", True, None, id="filling Redis"
        ),
        pytest.param(
            replace(WELL, services=services(load=service("load", died=True))), "loader", "down",
            False, None, id="a loader that died a moment ago",
        ),
        pytest.param(
            replace(WELL, cached=AWAY), "loader", "unknown", False, None, id="without Redis"
        ),
        pytest.param(
            replace(WELL, ready={**WELL.ready, "stale_since": "2026-01-12T09:58:00Z"}),  # type: ignore[dict-item]
            "api", "stale", False, 120, id="an API with old answers",
        ),
        pytest.param(
            replace(WELL, ready={**WELL.ready, "as_of": None}), "api", "failing", False, None,  # type: ignore[dict-item]
            id="an API without answers",
        ),
        pytest.param(replace(WELL, ready=AWAY), "api", "down", False, None, id="a hung API"),
        pytest.param(
            replace(WELL, ready=AWAY, services=services(serve=service("serve", None))), "api",
            "off", True, None, id="an API that was never started",
        ),
        pytest.param(WELL, "ingest", "healthy", True, None, id="events come in"),
        pytest.param(
            replace(WELL, taking={**WELL.taking, "spool_bytes": 9}),  # type: ignore[dict-item]
            "ingest", "failing", False, None, id="events that wait on disk",
        ),
        pytest.param(
            replace(WELL, taking={**WELL.taking, "status": "not ready"}),  # type: ignore[dict-item]
            "ingest", "failing", False, None, id="keys that cannot be checked",
        ),
        pytest.param(
            replace(WELL, taking=AWAY, services=services(ingest=service("ingest", None))),
            "ingest", "off", True, None, id="an event API that was never started",
        ),
        pytest.param(
            replace(WELL, services=services(watch=service("watch", died=True))), "runtime", "down",
            False, None, id="a watcher that died",
        ),
        pytest.param(records(holder=None), "runtime", "failing", False, None, id="no lease"),
    ],
)  # fmt: skip
def test_verdicts(heard: Heard, name: str, state: str, is_well: bool, since: int | None) -> None:
    found = part(heard, name)
    assert (found.state, found.is_well) == (state, is_well)
    assert found.stale_since == (None if since is None else NOW - since * SECOND)


def test_a_scheduled_run_that_broke_off_is_told_until_one_ends_well() -> None:
    row = launch(3, "failed", kind="recompute", details={"run_id": "nightly-1"})
    broken = replace(WELL, records=replace(RECORDS, broken_off=(row,)))
    found = part(broken, "recompute")
    assert (found.state, found.is_well) == ("failing", False)
    assert "nightly-1" in found.last_error
    again = launch(4, kind="recompute")
    trying = replace(WELL, records=replace(RECORDS, broken_off=(row,), under_way=(again,)))
    assert [found.state for found in judged(trying) if found.name == "recompute"] == ["running"]


def test_a_backfill_says_how_far_it_is_and_a_recompute_since_when() -> None:
    details = {"percent": 63, "segments": {"pricing": 1, "big": 2}}
    backfill = launch(3, kind="backfill", details=details)
    recompute = launch(4, kind="recompute")
    heard = replace(WELL, records=replace(RECORDS, under_way=(recompute, backfill)))
    assert part(heard, "backfill").detail == "building 63 %: big, pricing"
    assert part(heard, "recompute").detail == "since 2026-01-12 09:45:00"
    still = replace(backfill, updated_at=moment(NOW - 61 * SECOND))
    heard = replace(WELL, records=replace(RECORDS, under_way=(still,)))
    assert part(heard, "backfill").state == "stale"


ORDERS = StoredStream(
    id="orders",
    state="active",
    version=1,
    newest=1,
    text="apiVersion: headrace/v1\nkind: Stream\nmetadata: {id: orders}\n"
    "spec: {topic: shop, silent_after: 1 hour, map: {type: purchase, user_id: $.u, ts: $.t}}",
    author="ann",
    since=moment(NOW - 7_200 * SECOND),
)


@pytest.mark.parametrize(
    ("stream", "told", "state", "says"),
    [
        (ORDERS, {"accepted": 7, "last_at": NOW}, "healthy", "7 accepted and 0 rejected since"),
        (ORDERS, {"failing": "all bad"}, "failing", "started; needed by big"),
        (
            ORDERS,
            {"last_at": NOW - 3_601 * SECOND},
            "stale",
            "no message since 2026-01-12T08:59:59",
        ),
        (
            replace(ORDERS, state="paused"),
            {},
            "idle",
            "paused since 2026-01-12 08:00:00; needed by",
        ),
    ],
)
def test_a_stream_that_brings_nothing_names_the_segments_that_need_it(
    stream: StoredStream, told: dict[str, Any], state: str, says: str
) -> None:
    details = batch(2)
    details["ends"] = {**details["ends"], "shop": {"0": 40}}
    old = launch(details={**details, "streams": {"orders": told}})
    heard = replace(
        WELL,
        records=replace(
            RECORDS,
            launches=(replace(old, started_at=moment(NOW - 7_200 * SECOND)),),
            streams=(stream,),
            segments=(BIG,),
        ),
        stream_ends={"shop": {0: 45}},
    )
    found = part(heard, "stream orders")
    assert found.state == state and says in found.detail
    assert found.behind_events == (None if state == "idle" else 5)
    assert found.last_error == told.get("failing", "")


def test_the_last_failure_is_told_while_all_is_well_again(tmp_path: Path) -> None:
    log = tmp_path / "stream-1.log"
    log.write_text("{}\nKafka no longer holds the offsets [HR910]\nJVM: goodbye\n")
    crashed = replace(CRASHED, exit_code=1, log_path=str(log))
    found = part(records(launch(2, details=batch(1)), crashed), "stream")
    assert found.is_well
    assert found.last_error == (
        "2026-01-12 09:59:00 failed: exit code 1: Kafka no longer holds the offsets [HR910]"
    )
    assert "killed by SIGKILL" in part(records(CRASHED), "stream").last_error


@pytest.mark.parametrize(
    ("log", "line"),
    [
        pytest.param("a\nKafka does not answer [HR901]\n", "Kafka does not answer [HR901]"),
        pytest.param("Traceback:\n  File x\nValueError: no\n", "ValueError: no"),
        pytest.param("java.io.IOException: full\n\tat x.y\n", "java.io.IOException: full"),
        pytest.param('{"event": "step failed", "level": "error"}\n{"event": "on"}', "step failed"),
        pytest.param("one\ntwo\n\n", "two", id="no error: the last word"),
        pytest.param("", "", id="an empty log"),
        pytest.param("Error " + "x" * 400, "Error " + "x" * 294 + "…", id="a long line"),
    ],
)
def test_the_line_of_a_log_that_matters(tmp_path: Path, log: str, line: str) -> None:
    (tmp_path / "log").write_text(log)
    assert last_error(tmp_path / "log") == line
    assert last_error(tmp_path / "none") == ""


Run = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def ask(
    servers: Servers,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Run:
    """``headrace status`` on the shared servers, but for those given another address."""
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    store.migrate()
    store.close()
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        admin.create_topics(settings.namespace)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "local.toml").write_text("")
    addresses = {
        "HEADRACE_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "HEADRACE_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "HEADRACE_REDIS_URL": settings.redis_url.get_secret_value(),
        "HEADRACE_NAMESPACE": settings.namespace,
        "HEADRACE_API_PORT": "1",
        "HEADRACE_INGEST__PORT": "2",
    }

    def run(**instead: str) -> tuple[int, dict[str, Any], str]:
        for name, value in {**addresses, **instead}.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        code = main(["status", "--output", "json"])
        assert main(["status"]) == code
        out, err = capfd.readouterr()
        told, _ = json.JSONDecoder().raw_decode(out)
        return code, told, out + err

    return run


def states(told: dict[str, Any]) -> dict[str, str]:
    return {part["name"]: part["state"] for part in told["parts"]}


def test_servers_alone_are_well(ask: Run) -> None:
    code, told, _ = ask()
    assert states(told) == {
        "postgres": "healthy", "kafka": "healthy", "redis": "healthy",
        "stream": "idle", "loader": "off", "api": "off", "ingest": "off", "runtime": "off",
    }  # fmt: skip
    assert (code, told["healthy"], told["trouble"]) == (0, True, None)


@pytest.mark.parametrize(
    ("name", "variable", "address"),
    [
        ("postgres", "HEADRACE_POSTGRES_URL", "postgresql+psycopg2://ann:secret@127.0.0.1:1/x"),
        ("kafka", "HEADRACE_KAFKA_BOOTSTRAP", "127.0.0.1:1"),
        ("redis", "HEADRACE_REDIS_URL", "redis://:secret@127.0.0.1:1/0"),
    ],
)
def test_a_server_that_is_down_is_named_and_the_others_are_told_of(
    ask: Run, name: str, variable: str, address: str
) -> None:
    code, told, said = ask(**{variable: address})
    assert (code, told["healthy"]) == (1, False)
    down = {part["name"]: part["last_error"] for part in told["parts"] if part["state"] == "down"}
    assert list(down) == [name]
    assert "127.0.0.1:1" in down[name] and variable in down[name]
    assert "Traceback" not in said and "secret" not in said


def test_a_first_start_with_a_backlog_is_not_called_healthy() -> None:
    begun = {"now": NOW, "as_of": None, "ends": {TOPIC: {"0": 10, "1": 10}}}
    assert part(records(launch(details=begun)), "stream").state == "stale"
    assert part(records(launch(details=begun, begun=30)), "stream").state == "healthy"
