"""The streaming job on real Kafka, Postgres and Delta, held against the oracle.

The stories of this module follow one another on one project, as they would in its life.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
import yaml
from chispa import assert_df_equality
from jsonschema import Draft202012Validator
from pyspark.sql import functions as F

from deployment import Deployment
from headrace.cli.health import judged
from headrace.cli.preview import as_text, question
from headrace.cli.questions import ask_everybody
from headrace.clock import HOUR, MINUTE
from headrace.embedded.ports import choose_port
from headrace.jobs.preview import run as preview
from headrace.jobs.shop import Shop
from headrace.messages.memberships import Activation, UserChanges, decode_membership
from headrace.messages.topics import CONTROL, DEAD, EVENTS, MEMBERSHIPS, SEGMENTS
from headrace.rules.folder import load_rules
from headrace.rules.reference import reference_members
from headrace.runtime import publish
from headrace.spark import protocol, rewrites
from headrace.spark.corrections import ask
from headrace.spark.course import Report
from headrace.spark.evaluate import state_members
from headrace.spark.header import GENERATION
from headrace.spark.offsets import OffsetLog, PlannedBatch
from headrace.spark.recompute import Audit, recomputed
from headrace.spark.session import Session, plain_session
from headrace.spark.start import newest_batch
from headrace.spark.upkeep import COMPACTION_TASKS
from rule_folders import write_rules
from services import is_fresh, process, wait_until_stale

ROOT = Path(__file__).resolve().parents[2]
CATALOG = (ROOT / "rules" / "catalog.yaml").read_text()

FIRST = {
    "spenders": "{event: purchase, sum: amount, within: 30 days, gt: 100}",
    "silent": "{did_not: purchase, within: 7 days}",
    "germans": "{all: [{trait: country, eq: DE}, {did: page_view, within: 40 days}]}",
    "browsing": "{did: page_view, within: 10 seconds, resolution: 1s}",
    "curious": "{event: page_view, distinct: page, within: 30 days, gte: 3}",
    "went_on": "{sequence: [{event: page_view}, {event: purchase, within: 1 day}]}",
    "only_looks": "{did: page_view}\n  stay: {exit_when: {did: purchase}}",
}
SECOND = {
    **FIRST,
    "spenders": "{event: purchase, sum: amount, within: 30 days, gt: 250}",
    "pricing": "{event: page_view, count: true, where: {page: /pricing}, gte: 2}",
}
SECOND.pop("silent")
# Of a type no rule looked at before; once per user, so that a fact counted twice would show.
THIRD = {
    **SECOND,
    "searched": "{event: search, count: true, where: {query: shoes}, gte: 1}",
    "half_of_them": "{all: [{segment: searched}, {sample: {percent: 50, salt: spring}}]}",
    "searched_twice": "{event: search, count: true, where: {query: shoes}, gte: 2}",
    "last_sought": "{event: search, last: query, eq: shoes}",
    "sought_in_vain": "{sequence: [{event: search}, {not: purchase, within: 1 minute}]}",
    "this_year": "{did: search, period: this_year}\n  timezone: Asia/Kathmandu",
}


def now() -> int:
    return time.time_ns() // 1_000_000


def test_every_event_is_accepted_a_repeat_or_quarantined_and_members_are_the_oracles(
    deployment: Deployment,
):
    deployment.publish(FIRST, CATALOG)
    shop = Shop(seed=11, users=150, start=now())
    messages = list(shop.history(3_000))
    deployment.send(message.value for message in messages)
    last = deployment.run()

    kinds = Counter(message.kind for message in messages)
    counts = last.counts if len(deployment.reports) == 1 else None
    assert deployment.counted == deployment.sent == len(messages)
    if counts is not None:
        assert counts.duplicates == kinds["duplicate"]
        assert counts.quarantined == kinds["garbage"]
    assert deployment.members() == deployment.expected()
    assert len(deployment.members()) > 100
    told = deployment.metrics.text().decode()
    garbage = f'headrace_events_total{{verdict="rejected"}} {float(kinds["garbage"])}'
    assert garbage in told.splitlines()
    assert f"headrace_duplicates_total {float(kinds['duplicate'])}" in told.splitlines()


def test_rejected_events_are_kept_whole_with_their_reason_and_place(
    deployment: Deployment, spark: Session
):
    garbage = {m.value for m in Shop(seed=11, users=150, start=now()).history(3_000)}
    rows = deployment.lake.read(spark, "quarantine").collect()
    dead = deployment.read(DEAD)
    assert rows
    assert {(r["topic"], r["partition"], r["offset"]) for r in rows} == {
        (
            dict(d.headers)["topic"].decode(),
            int(dict(d.headers)["partition"]),
            int(dict(d.headers)["offset"]),
        )
        for d in dead
    }
    assert Counter(r["reason"] for r in rows) == Counter(
        dict(d.headers)["reason"].decode() for d in dead
    )
    assert {bytes(r["raw"]) for r in rows} == {d.value or b"" for d in dead}
    assert {"not-json", "missing-user-id", "invalid-utf8", "unknown-type"} <= {
        r["reason"] for r in rows
    }
    assert garbage


def test_the_batch_path_over_stored_events_gives_the_same_members(
    deployment: Deployment, spark: Session
):
    header = deployment.last.header
    batch = recomputed(spark, deployment.lake, plan=deployment.plan, header=header, at=header.now)
    stream = state_members(deployment.lake.latest_profiles(spark), plan=deployment.plan)
    assert_df_equality(batch, stream, ignore_row_order=True, ignore_nullable=True)


def test_messages_add_up_to_the_members_and_carry_deterministic_ids(deployment: Deployment):
    messages = [decode_membership(record.value) for record in deployment.read(MEMBERSHIPS)]
    changes = [m for m in messages if isinstance(m, UserChanges)]
    held: set[tuple[str, str]] = set()
    for message in sorted(changes, key=lambda m: m.n):
        for change in message.changes:
            member = (change.segment, message.user)
            assert (member in held) != change.entered, "an enter of a member, an exit of none"
            (held.add if change.entered else held.discard)(member)
    assert held == deployment.members()
    ids = [change.id for message in changes for change in message.changes]
    assert len(ids) == len(set(ids))
    gone = {m.user: m.deleted or m.merged_into for m in sorted(changes, key=lambda m: m.n)}
    assert {user for user, is_gone in gone.items() if not is_gone} == {
        row["user_id"] for row in deployment.lake.latest_profiles(deployment.spark).collect()
    }
    assert sum(isinstance(m, Activation) for m in messages) == 4  # one in each partition

    latest = {}
    for record in deployment.read(SEGMENTS):
        value = orjson.loads(record.value or b"")
        latest[value["segment"], value["user"]] = value["member"]
    assert {member for member, is_in in latest.items() if is_in} == held


def test_every_message_is_one_that_the_published_contract_knows(deployment: Deployment):
    document = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())
    dead = {record.value for record in deployment.read(DEAD)}
    for name in (EVENTS, CONTROL, MEMBERSHIPS, SEGMENTS):
        payloads = [
            document["components"]["messages"][part["$ref"].rpartition("/")[2]]["payload"]
            for part in document["channels"][name]["messages"].values()
        ]
        contract = Draft202012Validator({"anyOf": payloads, "components": document["components"]})
        values = {record.value for record in deployment.read(name)} - dead
        assert values, name
        for value in values:
            problems = [error.message for error in contract.iter_errors(orjson.loads(value))]
            assert not problems, (name, value, problems)


def test_users_leave_by_time_alone_on_a_silent_topic(deployment: Deployment, spark: Session):
    moment = now()
    deployment.send(
        {
            "event_id": f"look-{number}",
            "user_id": f"looker-{number}",
            "type": "page_view",
            "ts": moment,
            "properties": {"page": "/"},
        }
        for number in range(3)
    )
    deployment.run()
    assert {("browsing", f"looker-{n}") for n in range(3)} <= deployment.members()
    deployment.run(lambda report: report.header.now > moment + 13_000)
    assert not [member for member in deployment.members() if member[0] == "browsing"]
    left = (
        deployment.lake.read(spark, "transitions")
        .where("segment = 'browsing' AND change = 'exit' AND user_id LIKE 'looker-%'")
        .collect()
    )
    assert {row["reason"] for row in left} == {"time"}
    # In whole seconds: the tile of the event ends, then the window passes.
    assert {row["effective_at"] for row in left} == {moment // 1_000 * 1_000 + 11_000}
    assert deployment.members() == deployment.expected()


def test_changed_rules_take_over_with_their_history_in_one_batch(
    deployment: Deployment, spark: Session
):
    deployment.publish(SECOND, CATALOG)
    target = deployment.store.target_hash("stream")
    told = []

    def look(report: Report) -> bool:
        told.extend(deployment.store.progress("stream", kind="backfill", limit=1))
        return report.header.plan == target

    deployment.run(look)
    assert {row.plan_hash for row in told} == {target} and len({row.id for row in told}) == 1
    percents = [row.details["percent"] for row in told]
    assert percents == sorted(percents) and percents[-1] == 100, percents
    assert [row.state for row in told if row.details["percent"] < 100] == ["running"] * (
        len(told) - 1
    )
    assert told[-1].state == "done" and told[-1].details["segments"] == {
        "spenders": 2, "pricing": 1,
    }  # fmt: skip
    batch = deployment.last.header.n
    assert deployment.members() == deployment.expected()
    assert {segment for segment, _ in deployment.members()} >= {"pricing", "spenders"}
    moved = (
        deployment.lake.read(spark, "transitions").where("reason = 'definition'").groupBy("n")
    ).agg(F.collect_set("segment").alias("segments"))
    segments = {row["n"]: set(row["segments"]) for row in moved.collect()}
    assert segments[batch] >= {"pricing", "spenders", "silent"}
    assert set(segments) <= {0, batch}, "readers would have seen a blend"
    executed = deployment.store.running_plan("stream")
    assert executed is not None
    assert (executed.plan_hash, executed.since_batch) == (target, batch)


def test_facts_ahead_of_their_time_count_once_under_rules_that_came_while_they_waited(
    deployment: Deployment,
):
    began = now()
    deployment.run()
    # The rules come within two runs, or four on a machine that grows slow meanwhile.
    moment, apart = now(), max(1_000, (now() - began) * 4 // 30)
    deployment.send(
        {
            "event_id": f"soon-{number}",
            "user_id": f"early-{number}",
            "type": "search",
            "ts": moment + apart * number,
            "properties": {"query": "shoes"},
        }
        for number in range(30)
    )
    deployment.run()
    deployment.publish(THIRD, CATALOG)
    target = deployment.store.target_hash("stream")
    deployment.run(lambda report: report.header.plan == target)
    last = moment + 29 * apart
    assert moment < deployment.last.header.now < last, "none was waiting: say more"
    deployment.run(lambda report: report.header.now > last + 2_000)
    found = deployment.members()
    assert found == deployment.expected()
    assert {user for segment, user in found if segment == "searched"} >= {
        f"early-{number}" for number in range(30)
    }


def test_a_preview_says_who_would_enter_and_leave_and_why(deployment: Deployment, tmp_path: Path):
    before, then = deployment.members(), {**THIRD, "spenders": FIRST["spenders"]}
    del then["pricing"]
    rules = load_rules(write_rules(tmp_path / "rules", then, CATALOG))
    wanted = publish(
        deployment.store, deployment.settings, rules, author="test", prune=True, dry_run=True
    )
    asked, answer = tmp_path / "wanted.json", tmp_path / "answer.json"
    asked.write_bytes(question(wanted))
    preview(deployment.settings, wanted=str(asked), output=str(answer))

    told = orjson.loads(answer.read_bytes())
    pricing, spenders = told["segments"]
    had = {user for segment, user in before if segment == "pricing"}
    assert (pricing["segment"], pricing["leave"], pricing["then"]) == ("pricing", len(had), 0)
    now = deployment.last.header.now
    has = reference_members(deployment.lines, rules.segments, rules.catalog, now)
    more = {user for segment, user in has if segment == "spenders"} - {
        user for segment, user in before if segment == "spenders"
    }
    assert (spenders["enter"], spenders["leave"]) == (len(more), 0)
    assert spenders["entering"] == sorted(more)[:3] != []
    (leaf,) = spenders["why"][spenders["entering"][0]]
    assert leaf["holds"] and 100 < float(leaf["value"]) <= 250
    assert f"spenders  {spenders['now']} -> {spenders['then']} members" in as_text(told)
    assert deployment.store.target_hash("stream") == deployment.last.header.plan, "nothing changed"


DEATHS = [
    ("append_events", "after"),
    ("write_profiles", "before"),
    ("write_profiles", "after"),
    ("publish", "after"),
    ("compact_bucket", "after"),
]


@pytest.mark.parametrize(("step", "moment"), DEATHS)
def test_a_batch_that_dies_anywhere_is_repeated_without_a_trace(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, step: str, moment: str
):
    real = getattr(protocol, step)

    def dying(*args, **kwargs):
        if moment == "after":
            real(*args, **kwargs)
        raise RuntimeError(f"died {moment} {step}")

    shop = Shop(seed=len(step) * 10 + len(moment), users=60, start=now())
    deployment.send([m.value for m in shop.history(80) if m.kind != "garbage"])
    monkeypatch.setattr(protocol, step, dying)
    monkeypatch.setattr(protocol, "COMPACT_EVERY", 1)
    with pytest.raises(Exception, match=f"died {moment} {step}"):
        deployment.run()
    monkeypatch.setattr(protocol, step, real)
    deployment.run()
    assert deployment.members() == deployment.expected()


def test_events_stand_once_in_the_table_whatever_died(deployment: Deployment, spark: Session):
    rows = deployment.lake.read(spark, "events")
    assert rows.count() == rows.select("topic", "partition", "offset").distinct().count()
    assert rows.count() == deployment.sent
    moved = deployment.lake.read(spark, "transitions")
    assert moved.count() == moved.select("id").distinct().count()


def test_upkeep_merges_and_vacuums_every_table_and_changes_no_membership(
    deployment: Deployment, spark: Session, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(protocol, "MERGE_EVERY", 1)
    monkeypatch.setattr(protocol, "VACUUM_EVERY", 1)
    monkeypatch.setattr(protocol, "COMPACT_EVERY", 1)
    before = {
        name: row_count(deployment, spark, name) for name in ("events", "transitions", "quarantine")
    }
    deployment.send(message.value for message in Shop(seed=5, users=3, start=now()).history(20))
    deployment.run(lambda report: report.events > 0)
    for name, rows in before.items():
        assert row_count(deployment, spark, name) >= rows
        done = {row["operation"] for row in deployment.lake.delta(spark, name).history().collect()}
        assert {"OPTIMIZE", "VACUUM END"} <= done, name
    assert deployment.members() == deployment.expected()


def test_a_rewrite_that_upkeep_asks_for_leaves_two_files_a_bucket(
    deployment: Deployment, spark: Session
):
    asked = Path(deployment.settings.tables_root) / rewrites.ASKED
    for second in range(3):
        # Of a kind after which nobody is due soon: a batch amid the rewrite would add a file.
        deployment.send(
            {
                "event_id": f"of-a-rewrite-{user}-{second}",
                "user_id": f"of-a-rewrite-{user}",
                "type": "search",
                "ts": now() + second,
                "properties": {"query": "shoes"},
            }
            for user in range(20)
        )
        deployment.run()
    files = len(deployment.lake.read(spark, "profiles").inputFiles())
    rewrites.ask(spark, deployment.lake)
    deployment.run(lambda _: not asked.exists())
    left = len(deployment.lake.read(spark, "profiles").inputFiles())
    assert left <= COMPACTION_TASKS * deployment.plan.job.buckets < files
    assert deployment.members() == deployment.expected()


def row_count(deployment: Deployment, spark: Session, name: str) -> int:
    return deployment.lake.read(spark, name).count()


def test_a_lost_checkpoint_begins_a_new_generation_and_counts_nothing_twice(
    deployment: Deployment,
):
    shutil.rmtree(deployment.settings.checkpoint_root)
    shop = Shop(seed=77, users=60, start=now())
    deployment.send([m.value for m in shop.history(200) if m.kind != "garbage"])
    deployment.run(lambda report: report.events > 0)
    assert deployment.last.header.n >= GENERATION
    assert deployment.members() == deployment.expected()


def test_an_audit_of_all_that_happened_finds_nothing(deployment: Deployment, spark: Session):
    parity = Audit(spark, deployment.lake, newest_batch(spark, deployment.lake)).parity()
    assert (parity.differences, parity.states) == (0, 0)
    assert parity.compared == sum(parity.sizes.values()) == len(deployment.members())
    assert parity.sizes == Counter(segment for segment, _ in deployment.members())


def test_damaged_states_are_found_and_told_anew(deployment: Deployment, spark: Session):
    (_, out), (_, gone) = sorted(m for m in deployment.members() if m[0] == "spenders")[:2]
    profiles = deployment.lake.delta(plain_session(spark), "profiles")
    profiles.update(F.col("user_id") == out, {"members": F.lit(b"")})
    profiles.delete(F.col("user_id") == gone)
    deployment.send([page_view("somebody", now())])
    deployment.run()
    audit = Audit(spark, deployment.lake, newest_batch(spark, deployment.lake))
    parity = audit.parity()
    assert {("spenders", out), ("spenders", gone)} <= set(parity.only_batch)
    assert parity.states == 2 and not parity.only_stream

    assert ask(audit.wrong_users(), deployment.lake, audit.newest.header) == 2
    deployment.run(lambda report: report.corrected > 0)
    assert deployment.last.corrected == 2
    assert deployment.members() == deployment.expected()
    transitions = deployment.lake.read(spark, "transitions")
    corrected = transitions.where("reason = 'correction'").collect()
    assert {row["user_id"] for row in corrected} == {out, gone}
    assert {row["n"] for row in corrected} == {deployment.last.header.n}
    after = Audit(spark, deployment.lake, newest_batch(spark, deployment.lake)).parity()
    assert (after.differences, after.states) == (0, 0)
    deployment.send([page_view("somebody", now())])
    assert deployment.run().corrected == 0, "once is enough"


def page_view(user: str, ts: int) -> dict[str, object]:
    properties = {"page": "/"}
    event = {"event_id": f"{user}-{ts}", "user_id": user, "type": "page_view", "ts": ts}
    return {**event, "properties": properties}


def test_a_stream_that_stops_is_flagged_in_the_api_its_metrics_and_status(deployment: Deployment):
    port = choose_port()
    settings = deployment.settings.model_copy(update={"freshness_seconds": 5, "api_port": port})
    launch = deployment.store.begin_progress("stream", "launch")
    with process("serve_api", settings, port), process("load_memberships", settings):
        deployment.run(lambda _: is_fresh(port))
        wait_until_stale(port, settings.freshness_seconds)
        time.sleep(1.5)  # the loader tells every second how far it is
        parts = {part.name: part for part in judged(ask_everybody(settings))}
    deployment.store.end_progress(launch, "stopped")
    assert parts["loader"].state == "healthy", "it is the stream that stands still"
    for name in ("stream", "api"):
        assert (parts[name].state, parts[name].stale_since) == ("stale", deployment.last.header.now)


def test_clocks_set_back_and_forth_move_no_instant_back(
    deployment: Deployment, spark: Session, monkeypatch: pytest.MonkeyPatch
):
    read, shown = OffsetLog.planned, []

    def with_a_bad_clock(log: OffsetLog, spark: Session, batch_id: int) -> PlannedBatch | None:
        planned = read(log, spark, batch_id)
        assert planned is not None
        shown.append(planned.at + (0, -5 * MINUTE, 5 * MINUTE)[batch_id % 3])
        return replace(planned, at=shown[-1])

    monkeypatch.setattr(OffsetLog, "planned", with_a_bad_clock)
    before, moment, headers = newest_batch(spark, deployment.lake).header, now(), []

    def send_more(report: Report) -> bool:
        headers.append(report.header)
        if len(headers) > 3:
            return deployment.counted >= deployment.sent
        hours = (-48, -1, 0, 48)
        deployment.send(page_view("skewed", moment + len(headers) + h * HOUR) for h in hours)
        return False

    deployment.send([page_view("skewed", moment)])
    deployment.run(send_more)
    assert deployment.members() == deployment.expected()
    assert min(b - a for a, b in pairwise(shown)) < -4 * MINUTE, "the clock was set back"
    instants = [header.now for header in headers]
    assert instants == sorted(instants) and instants[0] >= before.now
    refused = deployment.lake.read(spark, "quarantine").where(F.col("n") > before.n)
    assert [row["reason"] for row in refused.collect()] == ["future"] * 3


def test_tables_say_what_they_hold_and_how_long_they_keep_it(
    deployment: Deployment, spark: Session
):
    for name in ("events", "quarantine", "profiles", "transitions"):
        table = deployment.lake.delta(spark, name)
        detail = table.detail().collect()[0]
        assert detail["description"]
        assert "user_id" not in detail["properties"]["delta.dataSkippingStatsColumns"]
        assert "delta.logRetentionDuration" in detail["properties"]
        assert all(field.metadata.get("comment") for field in table.toDF().schema.fields)
    changes = (
        spark.read.format("delta")
        .option("readChangeFeed", "true")
        .option("startingVersion", 1)
        .load(deployment.lake.path("transitions"))
    )
    assert changes.count() == deployment.lake.read(spark, "transitions").count()
