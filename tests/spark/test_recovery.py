"""Deaths and losses at odd moments: nothing is lost or counted twice, and it goes on by itself."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deployment import Deployment, Member
from headrace.errors import OperatorError
from headrace.messages.memberships import UserChanges, decode_membership
from headrace.messages.topics import CONTROL, MEMBERSHIPS, in_namespace
from headrace.spark import corrections, protocol
from headrace.spark.course import Report
from headrace.spark.files import names
from headrace.spark.offsets import OffsetLog
from headrace.spark.reload import cached_rows, joined_rows
from headrace.spark.session import Session, plain_session
from headrace.spark.start import checkpoint, find_start, newest_batch, newest_header
from headrace.spark.tables import TABLES, Lake
from headrace.spark.upkeep import compact_bucket

CATALOG = (Path(__file__).resolve().parents[2] / "rules" / "catalog.yaml").read_text()
RULES = {"buyers": "{event: purchase, count: true, gte: 2}"}


def now() -> int:
    return time.time_ns() // 1_000_000


def purchase(user: str, number: int) -> dict[str, object]:
    return {
        "event_id": f"{user}-{number}",
        "user_id": user,
        "type": "purchase",
        "ts": now() - 60_000,
        "properties": {"amount": 5},
    }


def bought(*users: str, times: int = 2) -> list[dict[str, object]]:
    return [purchase(user, number) for user in users for number in range(times)]


def joins(source: str, target: str, ts: int | None = None) -> dict[str, object]:
    return {"type": "alias", "from": source, "to": target, "ts": ts or now()}


def told(deployment: Deployment) -> set[Member]:
    """The memberships that all messages so far add up to, whatever was said twice."""
    held: dict[str, tuple[int, set[str]]] = {}
    messages = (decode_membership(record.value) for record in deployment.read(MEMBERSHIPS))
    changes = sorted((m for m in messages if isinstance(m, UserChanges)), key=lambda m: m.n)
    for message in changes:
        n, of = held.get(message.user, (-1, set()))
        if message.n <= n:
            continue
        for change in message.changes:
            (of.add if change.entered else of.discard)(change.segment)
        gone = message.deleted or message.merged_into
        held[message.user] = (message.n, set() if gone else of)
    return {(segment, user) for user, (_, of) in held.items() for segment in of}


def dies(
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *,
    if_: Callable[[object], bool] = lambda result: True,
) -> None:
    """Run until ``protocol.name`` has done its work and come to such a result, and die there."""
    real = getattr(protocol, name)

    def dying(*args: object, **more: object) -> object:
        result = real(*args, **more)
        if if_(result):
            raise RuntimeError("died")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(protocol, name, dying)
        with pytest.raises(Exception, match="died"):
            deployment.run(lambda _: False)


def is_right(deployment: Deployment) -> bool:
    return deployment.members() == deployment.expected() == told(deployment)


def test_at_first(deployment: Deployment) -> None:
    deployment.publish(RULES, CATALOG)
    deployment.send(bought(*(f"u{number}" for number in range(20)), "anon", "ann", "bob"))
    deployment.run()
    assert is_right(deployment)


def test_joins_and_deletions_of_a_silent_batch_survive_its_death(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = now() + 4_000
    deployment.send([joins("anon", "ann", soon), {"type": "delete", "user_id": "bob", "ts": soon}])
    deployment.run()
    dies(deployment, monkeypatch, "carry_out", if_=lambda change: change is not None)
    deployment.run(lambda report: report.header.now > soon + 500)
    assert is_right(deployment)
    assert not {"anon", "bob"} & {user for _, user in deployment.members()}
    tombstones = deployment.lake.read(deployment.spark, "tombstones")
    assert tombstones.count() == 1


def test_who_was_joined_since_he_was_found_wrong_is_corrected_as_the_other(
    deployment: Deployment, spark: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.send(bought("dee", "dan"))
    deployment.run()
    wrong = newest_batch(spark, deployment.lake).header
    deployment.send([joins("dan", "dee")])
    deployment.run()
    monkeypatch.setattr(protocol, "LOOK_EVERY", 1)
    corrections.ask(spark.createDataFrame([("dan",)], "user_id string"), deployment.lake, wrong)
    deployment.run(lambda report: report.header.correcting is not None)
    deployment.send([purchase("u1", 7)])
    deployment.run()
    assert is_right(deployment)
    assert ("buyers", "dee") in deployment.members()


def test_many_parts_of_a_correction_come_to_an_end(
    deployment: Deployment, spark: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "USERS_AT_ONCE", 1)
    monkeypatch.setattr(protocol, "LOOK_EVERY", 2)
    users = spark.createDataFrame([(f"u{number}",) for number in range(6)], "user_id string")
    header = newest_batch(spark, deployment.lake).header
    assert corrections.ask(users, deployment.lake, header) == 6
    # Cut off in its first commit: no table yet, and nothing to wait for.
    cut_off = Path(deployment.lake.path(f"{corrections.PREFIX}1_x")) / "_delta_log"
    cut_off.mkdir(parents=True)
    (cut_off / ".00000000000000000000.json.u.tmp").touch()

    def is_done(_: Report) -> bool:
        left = names(spark, deployment.lake.root)
        return not [one for one in left if one.startswith(f"{corrections.PREFIX}{header.n}")]

    deployment.run(is_done)
    assert is_right(deployment)
    shutil.rmtree(cut_off.parent)


def test_what_compaction_took_from_a_batch_that_did_not_return_stops_nothing(
    deployment: Deployment, spark: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "COMPACT_EVERY", 1)
    for number in range(2):  # one of the two buckets each time
        deployment.send([*bought(f"late{number}"), b"no event"])
        dies(deployment, monkeypatch, "compact_bucket")
        session = plain_session(spark)
        session.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
        deployment.lake.delta(session, "profiles").vacuum(0)
        deployment.run()
        assert is_right(deployment)
    assert deployment.lake.read(spark, "quarantine").count() == 2


@pytest.mark.parametrize("new_rule", [False, True], ids=["events", "a hand-over"])
def test_what_a_lost_checkpoint_left_unpublished_is_published(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, new_rule: bool
) -> None:
    deployment.send([*bought(f"lost{new_rule}"), b"no event"])
    if new_rule:
        deployment.publish({**RULES, "keen": "{event: purchase, count: true, gte: 3}"}, CATALOG)
        dies(deployment, monkeypatch, "write_profiles", if_=lambda _: is_handing_over(deployment))
    else:
        dies(deployment, monkeypatch, "write_profiles")
    shutil.rmtree(deployment.settings.checkpoint_root)
    deployment.sent = deployment.counted  # that batch is never reported
    deployment.send([purchase("u2", 9)])
    generation = deployment.last.header.generation
    deployment.run()
    assert deployment.last.header.generation == generation + 1
    assert is_right(deployment)
    if new_rule:
        markers = [m for m in map(decode_membership, values(deployment)) if hasattr(m, "segments")]
        assert "keen" in {part.segment for m in markers for part in m.segments}


def values(deployment: Deployment) -> list[bytes | None]:
    return [record.value for record in deployment.read(MEMBERSHIPS)]


def is_handing_over(deployment: Deployment) -> bool:
    header = newest_batch(deployment.spark, deployment.lake).header
    return header.handover is not None


def test_backfills_that_were_given_up_leave_nothing(deployment: Deployment, spark: Session) -> None:
    left = Path(deployment.lake.path(f"staging_{'a' * 16}_3"))
    left.mkdir()
    deployment.publish({**RULES, "rare": "{event: purchase, count: true, gte: 4}"}, CATALOG)
    deployment.run(lambda report: report.header.handover is not None)
    assert not left.exists()


def test_a_clock_set_back_while_it_was_down_does_not_keep_it_down(
    deployment: Deployment, spark: Session
) -> None:
    deployment.run(lambda _: True)
    where = checkpoint(deployment.settings.checkpoint_root, deployment.last.header.generation)
    log = OffsetLog(where)
    committed = log.last_committed(spark)
    assert committed is not None
    for file in Path(where, "offsets").iterdir():  # killed between two batches
        number = file.name.lstrip(".").removesuffix(".crc")
        if number.isdigit() and int(number) > committed:
            file.unlink()
    entry = Path(where, "offsets", str(committed))
    *lines, beats = entry.read_text().splitlines()
    assert beats.isdigit()
    entry.write_text("\n".join((*lines, str(int(beats) + 600))))
    entry.with_name(f".{entry.name}.crc").unlink(missing_ok=True)
    generation = deployment.last.header.generation
    deployment.send(bought("after"))
    deployment.run()
    assert deployment.last.header.generation == generation + 1
    assert is_right(deployment)


def test_a_notice_in_a_quiet_batch_is_no_reason_for_a_new_generation(
    deployment: Deployment,
) -> None:
    generation = deployment.last.header.generation
    topic = in_namespace(deployment.settings.namespace, CONTROL)
    before = deployment.last.header.ends.get(topic)
    deployment.producer.send(topic, key=b"other", value=b'{"kind":"reserved"}')
    deployment.producer.flush()
    deployment.run(lambda report: report.header.ends.get(topic) != before)
    deployment.run(lambda _: True)
    assert deployment.last.header.generation == generation


def test_quiet_times_are_told_to_the_tables_too(
    deployment: Deployment, spark: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = deployment.run(lambda _: True).header.n
    assert newest_batch(spark, deployment.lake).header.n < quiet
    monkeypatch.setattr(protocol, "TELL_MS", 0)
    last = deployment.run(lambda _: True).header
    assert newest_batch(spark, deployment.lake).header == last
    assert is_right(deployment)


def test_a_log_that_forgot_the_last_batch_deletes_nothing(
    deployment: Deployment, spark: Session, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "tables"))
    for name in TABLES:
        shutil.copytree(deployment.lake.path(name), lake.path(name))
    events = lake.read(spark, "events").count()
    horizon = deployment.plan.job.horizon_ms
    compact_bucket(spark, lake, bucket=0, now=now(), horizon_ms=horizon)
    log = spark._jvm.org.apache.spark.sql.delta.DeltaLog
    log.forTable(spark._jsparkSession, lake.path("profiles")).checkpoint()
    for entry in sorted(Path(lake.path("profiles"), "_delta_log").glob("*.json"))[:-1]:
        entry.unlink()
    with pytest.raises(OperatorError, match="no longer says which batch was its last"):
        find_start(spark, lake, str(tmp_path / "no checkpoint"))
    assert lake.read(spark, "events").count() == events
    # Whoever has read the runbook goes on with what there is.
    start = find_start(
        spark, lake, str(tmp_path / "no checkpoint"), anew="loss accepted", accepts_loss=True
    )
    known = newest_header(spark, deployment.lake, "events")
    assert known is not None and start.newest is not None and start.newest.n >= known.n
    assert lake.read(spark, "events").count() == events


def test_a_reload_reads_all_tables_as_of_one_batch(deployment: Deployment, spark: Session) -> None:
    deployment.run(lambda _: True)
    newest = newest_batch(spark, deployment.lake)

    def read() -> tuple[list[object], list[object]]:
        rows = cached_rows(spark, deployment.lake, newest)
        joined = joined_rows(spark, deployment.lake, until=newest.header.n)
        held = [(user, n, sorted(memberships), traits) for user, n, _, memberships, traits in rows]
        return sorted(held), sorted(joined)

    before = read()
    assert any(memberships for _, _, memberships, _ in before[0])
    # Meanwhile ids are joined, members enter, and a version takes over.
    deployment.send([*bought("meanwhile"), joins("u3", "u4")])
    deployment.publish({**RULES, "buyers": "{event: purchase, count: true, gte: 3}"}, CATALOG)
    deployment.run(lambda report: report.header.handover is not None)
    deployment.run()
    assert read() == before
