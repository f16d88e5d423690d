"""Builds that are broken on purpose: each protection, taken away, must be missed.

`pytest tests/chaos/mutations.py`, part of `make chaos`. One story of deaths and restarts is told to
the job as it is, where nothing may be wrong, and then with one protection gone, where something
must be.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databases import fresh_database
from deployment import Deployment
from headrace.embedded import Servers, running
from headrace.embedded.jars import spark_jars
from headrace.jobs import stream as job
from headrace.jobs.shop import Shop
from headrace.settings import Settings
from headrace.spark import protocol, start
from headrace.spark.session import Session, open_session

CATALOG = (Path(__file__).resolve().parents[2] / "rules" / "catalog.yaml").read_text()
RULES = {
    "spenders": "{event: purchase, sum: amount, within: 30 days, gt: 100}",
    "curious": "{event: page_view, count: true, within: 30 days, gte: 5}",
}
Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running(tmp_path_factory.mktemp("mutations") / "home") as found:
        yield found


@pytest.fixture(scope="module")
def spark() -> Iterator[Session]:
    session = open_session(
        "headrace-mutations",
        master="local[2]",
        jars=[str(jar) for jar in spark_jars()],
        settings={"spark.driver.memory": "2g", "spark.sql.shuffle.partitions": "2"},
    )
    yield session
    session.stop()


@pytest.fixture
def deployment(servers: Servers, spark: Session, tmp_path: Path) -> Iterator[Deployment]:
    settings = Settings(
        home=tmp_path / "home",
        namespace=f"m{uuid.uuid4().hex[:8]}",
        postgres_url=fresh_database(servers),
        kafka_bootstrap=servers.kafka_bootstrap,
        redis_url=servers.redis_url,
        stream={"trigger_ms": 300, "buckets": 2},
    )
    with Deployment.opened(spark, settings, tmp_path / "rules") as opened:
        yield opened


def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The build as it is."""


def no_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes carry no batch number: a replay appends again."""
    monkeypatch.setattr(protocol, "bind_transaction", lambda spark, n: None)


def forgetful_compaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compaction forgets which events have been counted."""
    real = protocol.compact_bucket
    monkeypatch.setattr(
        protocol, "compact_bucket", lambda *args, **kw: real(*args, **{**kw, "horizon_ms": 0})
    )


def any_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is believed, whatever the tables say."""
    monkeypatch.setattr(start, "decide_start", lambda **_: (True, "believed"))


def no_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that died is decided anew instead of read from its header."""
    real = job.Course.after

    def after(found: start.Start) -> object:
        course = real(found)
        course.replay = None
        return course

    monkeypatch.setattr(job.Course, "after", staticmethod(after))


def wrongs(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A life with repeats, deaths and a checkpoint restored from before; what is wrong after it."""
    monkeypatch.setattr(protocol, "COMPACT_EVERY", 1)
    deployment.publish(RULES, CATALOG)
    shop = Shop(seed=3, users=40, start=time.time_ns() // 1_000_000)
    history = [m.value for m in shop.history(400) if m.kind == "event"]
    deployment.send(history[:300])
    deployment.run()
    saved = Path(deployment.settings.checkpoint_root).with_name("saved")
    shutil.copytree(deployment.settings.checkpoint_root, saved)
    deployment.send(history[300:])
    _die_after_publishing(deployment, monkeypatch)
    deployment.run()
    deployment.send(history[:200])  # again, after compactions
    deployment.run()
    shutil.rmtree(deployment.settings.checkpoint_root)
    shutil.copytree(saved, deployment.settings.checkpoint_root)
    now = time.time_ns() // 1_000_000
    deployment.send([m.value for m in shop.live(40, now) if m.kind == "event"])
    until = time.monotonic() + 30
    deployment.run(lambda report: time.monotonic() > until)
    return _told(deployment)


def _die_after_publishing(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    real = protocol.publish

    def dying(*args: object) -> None:
        real(*args)
        raise RuntimeError("died")

    with monkeypatch.context() as patch:
        patch.setattr(protocol, "publish", dying)
        with pytest.raises(Exception, match="died"):
            deployment.run()


def _told(deployment: Deployment) -> list[str]:
    found = []
    if deployment.members() != deployment.expected():
        found.append("members are not the oracle's")
    if deployment.lake.read(deployment.spark, "events").count() < deployment.sent:
        found.append("events are missing")
    for table, key in (("transitions", ["id"]), ("events", ["topic", "partition", "offset"])):
        rows = deployment.lake.read(deployment.spark, table)
        if rows.count() != rows.select(*key).distinct().count():
            found.append(f"{table} holds rows twice")
    return found


def test_nothing_is_wrong_with_the_build_as_it_is(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wrongs(deployment, monkeypatch) == []


@pytest.mark.parametrize(
    "mutation", [no_transactions, forgetful_compaction, any_checkpoint, no_replay]
)
def test_a_missing_protection_is_missed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, mutation: Patch
) -> None:
    mutation(monkeypatch)
    try:
        found = wrongs(deployment, monkeypatch)
    except Exception as broken:  # a job that cannot go on is no silent wrong either
        found = [f"the job ends: {broken}"]
    print(mutation.__name__, found)
    assert found
