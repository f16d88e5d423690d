"""Joins and deletions in the running stream: on real Kafka and Delta, held against the oracle."""

from __future__ import annotations

import asyncio
import hashlib
import hmac as reference_hmac
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from deployment import Deployment
from headrace.cache.model import UserState
from headrace.cache.reads import CachedMemberships
from headrace.clock import DAY
from headrace.engine.tombstone import tombstone
from headrace.jobs.shop import Shop
from headrace.messages.memberships import UserChanges, decode_membership
from headrace.messages.topics import MEMBERSHIPS, SEGMENTS
from headrace.runtime.forgetting import forget
from headrace.settings import Settings
from headrace.settings.keys import tombstone_key
from headrace.spark import protocol
from headrace.spark.as_of import members_as_of
from headrace.spark.evaluate import state_members
from headrace.spark.identities import Known
from headrace.spark.offsets import OffsetLog, PlannedBatch
from headrace.spark.recompute import Audit, recomputed
from headrace.spark.reload import joined_rows
from headrace.spark.session import Session, plain_session
from headrace.spark.start import newest_batch
from headrace.spark.tables import TABLES, Lake, newest_rows
from headrace.spark.tombstones import Tombstones, hmac
from headrace.spark.upkeep import merge_small_files
from services import process

CATALOG = (Path(__file__).resolve().parents[2] / "rules" / "catalog.yaml").read_text()
RULES = {
    "buyers": "{event: purchase, count: true, gte: 2}",
    "spenders": "{event: purchase, sum: amount, within: 30 days, gt: 100}",
    "silent": "{did_not: purchase, within: 7 days}",
    "germans": "{trait: country, eq: DE}",
}
MORE = {**RULES, "carts": "{event: add_to_cart, count: true, gte: 1}"}
USERS = 60


def now() -> int:
    return time.time_ns() // 1_000_000


def links(random: Random, count: int) -> list[dict[str, object]]:
    """Joins and deletions of the shop's users at any time of the last 40 days."""
    names = [f"user-{number:05d}" for number in range(USERS)]
    made: list[dict[str, object]] = []
    for number in range(count):
        ts = now() - random.randrange(40 * 86_400_000)
        if number % 3:
            made.append(
                {
                    "type": "alias",
                    "from": random.choice(names),
                    "to": random.choice(names),
                    "ts": ts,
                }
            )
        else:
            made.append({"type": "delete", "user_id": random.choice(names), "ts": ts})
    return made


def shop(seed: int, events: int) -> list[bytes]:
    messages = Shop(seed=seed, users=USERS, start=now()).history(events)
    return [message.value for message in messages if message.kind != "garbage"]


@pytest.fixture(scope="module", autouse=True)
def first(deployment: Deployment) -> None:
    deployment.publish(RULES, CATALOG)
    deployment.send(shop(1, 1_000))
    deployment.send(links(Random(1), 10))
    deployment.run()


def test_links_among_the_first_events_are_carried_out(deployment: Deployment, spark: Session):
    assert deployment.members() == deployment.expected()
    assert deployment.lake.read(spark, "identities").where("canonical != user_id").count()
    assert deployment.lake.read(spark, "tombstones").count()


def test_a_further_batch_of_links_ends_where_the_oracle_ends(deployment: Deployment):
    deployment.send(shop(2, 150))
    deployment.send(links(Random(2), 20))
    deployment.run()
    assert deployment.members() == deployment.expected()


def test_the_batch_path_and_the_messages_say_the_same(deployment: Deployment, spark: Session):
    header = deployment.last.header
    batch = recomputed(spark, deployment.lake, plan=deployment.plan, header=header, at=header.now)
    stream = state_members(deployment.lake.latest_profiles(spark), plan=deployment.plan)
    assert_df_equality(batch, stream, ignore_row_order=True, ignore_nullable=True)
    parity = Audit(spark, deployment.lake, newest_batch(spark, deployment.lake)).parity()
    assert (parity.differences, parity.states) == (0, 0)

    told = [decode_membership(record.value) for record in deployment.read(MEMBERSHIPS)]
    held: dict[str, set[str]] = {}
    known: set[str] = set()
    joined: dict[str, str] = {}
    for message in sorted((m for m in told if isinstance(m, UserChanges)), key=lambda m: m.n):
        for change in message.changes:
            of = held.setdefault(message.user, set())
            assert (change.segment in of) != change.entered
            (of.add if change.entered else of.remove)(change.segment)
        if message.deleted or message.merged_into:
            assert not held.get(message.user)
            known.discard(message.user)
        else:
            known.add(message.user)
        if message.merged_into:
            joined[message.user] = message.merged_into
        else:
            joined.pop(message.user, None)
    assert {(s, user) for user, of in held.items() for s in of} == deployment.members()
    assert {row[0]: row[3] for row in joined_rows(spark, deployment.lake, until=header.n)} == joined
    rows = deployment.lake.latest_profiles(spark).collect()
    assert known == {row["user_id"] for row in rows}
    reasons = {row["reason"] for row in deployment.lake.read(spark, "transitions").collect()}
    assert {"merge", "delete"} <= reasons


STEPS = [("carry_out", "after"), ("write_profiles", "after")]


@pytest.mark.parametrize(("step", "moment"), STEPS)
def test_a_batch_of_links_that_dies_anywhere_is_repeated_without_a_trace(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, step: str, moment: str
):
    real = getattr(protocol, step)

    def dying(*args, **kwargs):
        result = real(*args, **kwargs) if moment == "after" else None
        if step == "carry_out" and result is None:
            return
        raise RuntimeError(f"died {moment} {step}")

    deployment.send(shop(len(step + moment), 60))
    deployment.send(links(Random(step + moment), 8))
    monkeypatch.setattr(protocol, step, dying)
    with pytest.raises(Exception, match=f"died {moment} {step}"):
        deployment.run()
    monkeypatch.setattr(protocol, step, real)
    deployment.run()
    assert deployment.members() == deployment.expected()
    identities = deployment.lake.read(deployment.spark, "identities")
    assert identities.count() == identities.select("user_id", "n").distinct().count()


def test_links_that_come_while_history_is_prepared_are_carried_out_after_it(
    deployment: Deployment,
):
    deployment.publish(MORE, CATALOG)
    target = deployment.store.target_hash("stream")
    deployment.send(shop(20, 60))
    deployment.send(links(Random(20), 12))
    deployment.run(lambda report: report.header.plan == target)
    deployment.run()
    waited = [r for r in deployment.reports if r.header.linked < r.header.n]
    assert waited, "nothing was prepared: the story is another"
    assert deployment.members() == deployment.expected()
    assert any(segment == "carts" for segment, _ in deployment.members())


def test_nothing_sent_again_brings_the_forgotten_back(deployment: Deployment, spark: Session):
    deployment.send(
        [{"type": "delete", "user_id": f"user-{number:05d}", "ts": now()} for number in range(9)]
    )
    deployment.run()
    assert deployment.members() == deployment.expected()
    gone = {f"user-{number:05d}" for number in range(9)}
    old = [line for line in deployment.lines if orjson.loads(line).get("user_id") in gone]
    users = {row["user_id"] for row in deployment.lake.latest_profiles(spark).collect()}
    assert old and not users & gone
    deployment.send(old)
    deployment.run()
    again = {row["user_id"] for row in deployment.lake.latest_profiles(spark).collect()}
    assert again == users
    assert deployment.members() == deployment.expected()


def test_members_as_of_a_past_batch_are_those_of_then_but_for_the_forgotten(
    deployment: Deployment, spark: Session
):
    told = newest_rows(deployment.lake.read(spark, "identities")).where("forgotten IS NOT NULL")
    forgotten = {row["user_id"] for row in told.collect()}
    instants = sorted(deployment.held)
    for at in (instants[0], instants[len(instants) // 2], instants[-1]):
        rows = members_as_of(spark, deployment.lake, at).collect()
        found, then = {(row[0], row[1]) for row in rows}, deployment.held[at]
        assert {member for member in then if member[1] not in forgotten} <= found <= then
        if at == instants[-1]:
            assert found == then
        else:
            gone = {f"user-{number:05d}" for number in range(9)}
            assert any(user in gone for _, user in then)
            assert not any(user in gone for _, user in found)


def test_identities_are_known_however_old_the_tables_log_is(
    deployment: Deployment, spark: Session, tmp_path: Path
):
    # Upkeep's commit is the newest, and a week of retention has taken those of batches.
    lake = Lake(str(tmp_path))
    for name in ("identities", "tombstones"):
        copy = tmp_path / name
        shutil.copytree(deployment.lake.path(name), copy)
        merge_small_files(spark, lake, name)
        spark._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(
            spark._jsparkSession, str(copy)
        ).checkpoint()
        for entry in sorted((copy / "_delta_log").glob("*.json"))[:-1]:
            entry.unlink()
    known = Known.of(spark, lake)
    assert known == Known.of(spark, deployment.lake)
    assert known.any_joined and known.forgotten_until is not None


def test_tombstones_do_not_name_whom_they_forget(deployment: Deployment, spark: Session):
    key = tombstone_key(deployment.settings)
    names = ["user-00001", "äöü-" * 40, ""]
    frame = spark.createDataFrame([(name,) for name in names], "name string")
    made = [row[0] for row in frame.select(hmac("name", key)).collect()]
    right = [
        reference_hmac.new(key.encode(), name.encode(), hashlib.sha256).hexdigest()
        for name in names
    ]
    assert made == right
    rows = deployment.lake.read(spark, "tombstones").collect()
    assert right[0] in {row["key"] for row in rows}
    assert not any("user" in str(value) for row in rows for value in row)


ERIN, LAPTOP = "erin-7c1@example.org", "laptop-7c1"


def facts_of_erin() -> list[dict[str, object]]:
    """What she did under two ids, joined on the way; and what was refused of it."""
    hour = now() - 3_600_000
    rows: list[dict[str, object]] = [
        {
            "event_id": f"{user}-{number}",
            "user_id": user,
            "type": "purchase",
            "ts": hour + number,
            "properties": {"amount": 60},
        }
        for user in (ERIN, LAPTOP)
        for number in range(3)
    ]
    return [
        *rows,
        {"type": "traits", "user_id": ERIN, "ts": hour, "traits": {"country": "DE"}},
        {"type": "alias", "from": LAPTOP, "to": ERIN, "ts": hour + 10},
        {**rows[0], "event_id": "refused", "properties": {"amount": "60"}},
    ]


def test_a_user_is_forgotten_on_request_and_the_receipt_says_so(deployment: Deployment):
    store, settings = deployment.store, deployment.settings
    deployment.send(facts_of_erin())
    deployment.run()
    assert ("buyers", ERIN) in deployment.members()
    launch = store.begin_progress("stream", "launch")
    store.started(launch, pid=os.getpid(), details={})
    with process("load_memberships", settings), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(forget, store, settings, LAPTOP, patience=60)
        deployment.run(lambda _: asked.done())
        receipt = asked.result()
        assert asyncio.run(known_online(settings, ERIN, LAPTOP)) == (None, None)
    deletion = {"type": "delete", "user_id": LAPTOP, "ts": receipt.forgotten_until}
    deployment.lines.append(orjson.dumps(deletion))
    deployment.sent += 1
    assert deployment.members() == deployment.expected()

    key = tombstone_key(settings)
    assert receipt.is_genuine(key) and store.receipt(receipt.id) == receipt
    assert not replace(receipt, forgotten_until=receipt.forgotten_until - 1).is_genuine(key)
    assert receipt.remove_by - receipt.requested_at == 8 * DAY
    assert receipt.key == tombstone(LAPTOP, key) and receipt.removed_at is None
    latest = {record.key: record.value for record in deployment.read(SEGMENTS)}
    hers = {value for name, value in latest.items() if name and ERIN.encode() in name}
    assert hers == {None}, "compaction would keep them for ever"


async def known_online(settings: Settings, *users: str) -> tuple[UserState | None, ...]:
    cache = CachedMemberships(settings.redis_url.get_secret_value(), settings.namespace)
    try:
        return (await cache.users(users)).users
    finally:
        await cache.close()


def test_once_removed_no_file_names_the_forgotten_and_nothing_brings_them_back(
    deployment: Deployment, spark: Session, monkeypatch: pytest.MonkeyPatch
):
    users = known_users(deployment)
    end_a_round(deployment, monkeypatch, after=DAY)
    vacuum(deployment, spark)
    assert files_that_name(deployment, ERIN, LAPTOP) == []

    deployment.send(sent_by_erin(deployment))
    deployment.run()
    assert known_users(deployment) == users
    assert deployment.members() == deployment.expected()
    newest, key = newest_batch(spark, deployment.lake), tombstone_key(deployment.settings)
    tombstones = Tombstones.needed(spark, deployment.lake, key, n=newest.header.n)
    assert tombstones is not None
    parity = Audit(spark, deployment.lake, newest, tombstones).parity()
    assert (parity.differences, parity.states) == (0, 0)
    again = F.col("user_id").isin(ERIN, LAPTOP)
    assert deployment.lake.read(spark, "events").where(again).count()

    assert [receipt.removed_at for receipt in deployment.store.unfinished_receipts()] == [None]
    end_a_round(deployment, monkeypatch, after=9 * DAY)
    assert not deployment.lake.read(spark, "events").where(again).count()
    assert deployment.store.unfinished_receipts() == []


def end_a_round(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Run so much later until a round of removal has ended."""
    before = deployment.last.erased
    pass_time(monkeypatch, after)
    deployment.run(lambda report: report.erased != before)


def sent_by_erin(deployment: Deployment) -> list[bytes]:
    hers = (line for line in deployment.lines if ERIN.encode() in line or LAPTOP.encode() in line)
    return list(dict.fromkeys(hers))


def known_users(deployment: Deployment) -> set[str]:
    rows = deployment.lake.latest_profiles(deployment.spark).select("user_id").collect()
    return {row["user_id"] for row in rows}


def pass_time(monkeypatch: pytest.MonkeyPatch, by: int) -> None:
    """Let batches be so much later."""

    def planned(log: OffsetLog, spark: Session, batch_id: int) -> PlannedBatch | None:
        found = read(log, spark, batch_id)
        return found and replace(found, at=found.at + by)

    monkeypatch.undo()
    read = OffsetLog.planned
    monkeypatch.setattr(OffsetLog, "planned", planned)


def vacuum(deployment: Deployment, spark: Session) -> None:
    """As if a week had passed on disk too."""
    session = plain_session(spark)
    session.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    with ThreadPoolExecutor(len(TABLES)) as pool:
        list(pool.map(lambda name: deployment.lake.delta(session, name).vacuum(0), TABLES))


def files_that_name(deployment: Deployment, *users: str) -> list[str]:
    """Every file below the tables with such bytes in it, as written or in a column."""
    found = []
    for file in Path(deployment.settings.tables_root).rglob("*"):
        if file.is_file():
            contents = [file.read_bytes()]
            if file.suffix == ".parquet":
                columns = pq.ParquetFile(file).read().flatten().columns
                texts = (one for one in columns if not pa.types.is_nested(one.type))
                contents += [str(one.to_pylist()).encode() for one in texts]
            if any(user.encode() in content for user in users for content in contents):
                found.append(str(file))
    return found
