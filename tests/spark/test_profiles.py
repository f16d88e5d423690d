"""Profiles that the API reads without Spark are those that the stream has written with it."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from deployment import Deployment
from headrace.lake.tables import Tables
from headrace.lake.timeline import Entry
from headrace.lake.users import bucket_of
from headrace.rules.folder import load_rules
from headrace.rules.model import Measure
from headrace.rules.reference import explain_user
from headrace.runtime import JOB
from headrace.serving.ports import Profile
from headrace.serving.profiles import StoredProfiles
from headrace.serving.reading import Readers
from headrace.settings.keys import known_tombstone_key
from headrace.spark.fold import user_hash
from headrace.spark.session import Session

CATALOG = (Path(__file__).resolve().parents[2] / "rules" / "catalog.yaml").read_text()
RULES = {
    "buyers": "{event: purchase, count: true, within: 7 days, gte: 2}",
    "spenders": "{event: purchase, sum: amount, within: 30 days, gt: 100}",
    "dear": "{event: purchase, max: amount, gt: 50}",
    "germans": "{trait: country, eq: DE}",
    "very": "{list: vip}",
}
USERS = ["ann", "o'hara", "Ünïcödé", *(f"user-{number}" for number in range(40))]


def test_a_user_lies_in_the_bucket_that_spark_says(spark: Session) -> None:
    users = [*USERS, "", " ", "\U0001f600", "x" * 256]
    rows = spark.createDataFrame([(user,) for user in users], "user_id string")
    for buckets in (1, 2, 8, 64):
        placed = rows.withColumn("bucket", F.pmod(user_hash(), F.lit(buckets))).collect()
        assert {row["user_id"]: row["bucket"] for row in placed} == {
            user: bucket_of(user, buckets) for user in users
        }


@pytest.mark.timeout(300)
def test_profiles_are_what_the_facts_say(deployment: Deployment) -> None:
    now = time.time_ns() // 1_000_000
    deployment.publish(RULES, CATALOG)
    facts: list[dict[str, Any]] = []
    for number, user in enumerate(USERS):
        for one in range(number % 4):
            amount = 10.25 * (one + number)
            facts.append(
                {"event_id": f"{user}-{one}", "user_id": user, "type": "purchase", "ts": now - one,
                 "properties": {"amount": amount}}
            )  # fmt: skip
        traits = {"country": "DE" if number % 2 else "FR", "list:vip": number % 3 == 0}
        facts.append({"type": "traits", "user_id": user, "ts": now - 5, "traits": traits})
    facts.append({"type": "alias", "from": "user-7", "to": "ann", "ts": now})
    facts.append({"type": "alias", "from": "phone-1", "to": "ann", "ts": now})
    facts.append({"type": "delete", "user_id": "user-8", "ts": now})
    deployment.send(facts)
    report = deployment.run()

    store, at = deployment.store, report.header.now
    tables = Tables(deployment.settings.tables_root)
    profiles = StoredProfiles(
        tables,
        Readers(),
        partial(store.running_plan, JOB),
        store.plan,
        partial(known_tombstone_key, deployment.settings),
    )

    def profile(user: str) -> Profile | None:
        return asyncio.run(profiles.profile(user, at))

    found = load_rules(deployment.rules)
    names = {measure.name for measure in deployment.plan.measures}
    for user in sorted({*USERS} - {"user-7", "user-8"}):
        known = profile(user)
        assert known is not None, user
        told = explain_user(deployment.lines, found.segments, found.catalog, at, user)
        assert told is not None
        values = {
            segment.segment: leaf.value
            for segment in told
            for leaf in segment.leaves
            if isinstance(getattr(leaf.condition, "subject", None), Measure)
        }
        assert known.measures.keys() == names
        amounts = [None if text is None else Decimal(text) for text in known.measures.values()]
        assert sorted(amounts, key=str) == sorted(
            (None if value is None else Decimal(value) for value in values.values()), key=str
        )
        number = USERS.index(user)
        assert known.traits["country"] == ("DE" if number % 2 else "FR", now - 5)
        assert known.lists == ({"vip": now - 5} if number % 3 == 0 else {})
        assert known.first_seen <= known.updated_at <= at
    ann = profile("ann")
    assert ann is not None and ann.identities == ("ann", "phone-1", "user-7")
    for gone in ("user-7", "user-8", "nobody"):
        assert profile(gone) is None, gone

    def told(user: str) -> list[Entry]:
        part = asyncio.run(
            profiles.timeline(user, before=None, limit=500, kinds=("event", "transition"), types=())
        )
        assert part.next is None
        return list(part.entries)

    sent = {(fact["user_id"], fact.get("event_id"), fact["type"]) for fact in facts
            if fact.get("user_id") in ("ann", "user-7")}  # fmt: skip
    entries = told("ann")
    events = [one.row for one in entries if one.kind == "event"]
    assert {(row["user_id"], row["event_id"], row["type"]) for row in events} - {
        ("user-7", None, "alias"), ("phone-1", None, "alias"), ("ann", None, "alias"),
    } == sent  # fmt: skip
    entered = {one.row["segment"] for one in entries if one.kind == "transition"}
    assert {segment for segment, user in deployment.members() if user == "ann"} <= entered
    assert [one.row["reason"] for one in told("user-8") if one.kind == "event"] == []

    # A computed trait is kept from now on with all its history, though no rule asks for it.
    assert ann.computed == {}
    before = store.active_versions()
    more = CATALOG.rstrip() + "\n  lifetime_value: {event: purchase, sum: amount}\n"
    deployment.publish(RULES, more)
    assert store.active_versions() == before, "no rule means anything else"
    target = store.target_hash(JOB)
    deployment.run(lambda done: done.header.plan == target)
    for user in ("ann", "o'hara", "user-11"):
        spent = sum(
            Decimal(str(fact["properties"]["amount"]))
            for fact in facts
            if fact.get("type") == "purchase" and fact["user_id"] in {user, *_joined(user)}
        )
        known = profile(user)
        assert known is not None and Decimal(known.computed["lifetime_value"] or 0) == spent


def _joined(user: str) -> set[str]:
    return {"user-7", "phone-1"} if user == "ann" else set()
