"""Topics of others in the running stream: mapped once, read from where they were left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from deployment import Deployment
from headrace.errors import OperatorError
from headrace.jobs.letters import dead_letters, replay
from headrace.kafka.confluent import ConfluentProducer
from headrace.rules.fixes import parse_fix
from headrace.rules.streams import parse_stream
from headrace.runtime.streams import activate_stream, add_stream, pause_stream, retire_stream
from headrace.settings import Settings
from headrace.spark import protocol
from headrace.spark.course import Report
from headrace.spark.session import Session

CATALOG = (Path(__file__).resolve().parents[2] / "rules" / "catalog.yaml").read_text()
RULES = {
    "buyers": "{did: purchase}",
    "spenders": "{event: purchase, sum: amount, within: 30 days, gt: 100}",
}


class Orders:
    """Orders of a shop that knows nothing of Headrace, beside what each should become."""

    def __init__(self, deployment: Deployment, topic: str) -> None:
        self.deployment, self.topic = deployment, topic
        self.number = 0

    @property
    def text(self) -> str:
        return f"""
apiVersion: headrace/v1
kind: Stream
metadata: {{id: orders, owner: shop}}
spec:
  topic: {self.topic}
  partitions: 2
  map:
    type: purchase
    user_id: $.customer
    ts: $.at
    event_id: $.number
    properties:
      amount: {{product: [$.price, $.count]}}
"""

    def send(self, *customers: str, count: Any = 3, expected: Any = 3) -> None:
        deployment = self.deployment
        with ConfluentProducer(deployment.settings.kafka_bootstrap) as producer:
            for customer in customers:
                self.number += 1
                at = time.time_ns() // 1_000_000
                order = {"customer": customer, "at": at, "number": self.number}
                order |= {"price": 25.5, "count": count}
                producer.send(self.topic, value=orjson.dumps(order), key=customer.encode())
                deployment.sent += 1
                if expected is not None:
                    event = {
                        "event_id": str(self.number),
                        "user_id": customer,
                        "type": "purchase",
                        "ts": at,
                        "properties": {"amount": 25.5 * expected},
                    }
                    deployment.lines.append(orjson.dumps(event))
            producer.flush()


@pytest.fixture
def deployment(spark: Session, settings: Settings, tmp_path: Path) -> Iterator[Deployment]:
    with Deployment.opened(spark, settings, tmp_path / "rules") as opened:
        yield opened


def purchase(user: str) -> dict[str, object]:
    now = time.time_ns() // 1_000_000
    return {
        "event_id": f"{user}-{now}",
        "user_id": user,
        "type": "purchase",
        "ts": now,
        "properties": {"amount": 5},
    }


def test_a_topic_of_others_is_read_left_and_read_on(
    deployment: Deployment, spark: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, store = deployment.settings, deployment.store
    orders = Orders(deployment, f"{settings.namespace}orders")
    by = {"author": "test", "reason": ""}
    deployment.publish(RULES, CATALOG)
    deployment.send([purchase("ann")])
    first = deployment.run().header

    # Kept, it is not read; active, it is, from its beginning, by the same process.
    add_stream(store, settings, parse_stream(orders.text), **by)
    activate_stream(store, settings, "orders", version=None, **by)
    orders.send("bob", "cem")
    orders.send("dan", count="many", expected=None)
    deployment.send([purchase("eve"), b"no event"])
    read = deployment.run().header
    assert deployment.members() == deployment.expected()
    assert read.generation == first.generation + 1 and orders.topic in read.ends
    assert {user for _, user in deployment.members()} >= {"ann", "bob", "cem", "eve"}
    quarantine = deployment.lake.read(spark, "quarantine").collect()
    assert sorted((row["topic"] == orders.topic, row["reason"]) for row in quarantine) == [
        (False, "not-json"),
        (True, "wrong-type"),
    ]

    # What cannot be read is repaired and sent again to where it came from.
    fix = parse_fix("apiVersion: headrace/v1\nkind: Fix\nset: {count: 3}\n")
    letters = list(dead_letters(settings, lambda _: True))
    mine = [one for one in letters if one.dead.topic == orders.topic]
    assert replay(settings, store, mine, fix=fix).sent == 1
    assert replay(settings, store, mine, fix=fix).before == 1
    deployment.sent += 1
    deployment.run()
    assert ("buyers", "dan") in deployment.members()

    # Paused while messages lie unread: none of them is lost, none read twice.
    pause_stream(store, settings, "orders", **by)
    deployment.run(lambda report: orders.topic not in report.header.ends)
    orders.send("fay", "gus")
    deployment.sent -= 2  # not yet to be read
    deployment.send([purchase("hal")])
    paused = deployment.run().header
    assert paused.parked.keys() == {orders.topic}
    found = deployment.members()
    assert ("buyers", "hal") in found and ("buyers", "fay") not in found

    # It goes on where it was left, though the job dies with the first batch that reads it again.
    activate_stream(store, settings, "orders", version=None, **by)
    deployment.sent += 2
    whole, died = protocol._fold, False

    def dying(*arguments: Any) -> Any:
        nonlocal died
        if not died and orders.topic in arguments[1].ends:
            died = True
            raise RuntimeError("died before the states of the first batch")
        return whole(*arguments)

    monkeypatch.setattr(protocol, "_fold", dying)
    with pytest.raises(Exception, match="died before the states"):
        deployment.run()
    deployment.run()
    members = deployment.members()
    assert died and {("buyers", "fay"), ("buyers", "gus"), ("buyers", "dan")} <= members
    events = deployment.lake.read(spark, "events").where(f"topic = '{orders.topic}'")
    assert events.count() == orders.number + 1  # and the one that was sent again
    assert events.select("partition", "offset").distinct().count() == events.count()

    retire_stream(store, settings, "orders", **by)
    deployment.run(lambda report: orders.topic not in report.header.ends)
    assert deployment.members() == members
    with pytest.raises(OperatorError, match="retired"):
        activate_stream(store, settings, "orders", version=None, **by)


def test_what_was_read_before_a_pause_is_still_mapped(
    deployment: Deployment, spark: Session
) -> None:
    settings, store = deployment.settings, deployment.store
    orders = Orders(deployment, f"{settings.namespace}orders")
    by = {"author": "test", "reason": ""}
    add_stream(store, settings, parse_stream(orders.text), **by)
    activate_stream(store, settings, "orders", version=None, **by)
    # Active before there is any rule: the first batch reads it.
    deployment.publish(RULES, CATALOG)
    orders.send("ann")
    deployment.run()
    orders.send(*(f"user-{number}" for number in range(40)))
    pause_stream(store, settings, "orders", **by)

    # The batch in which the plan without it takes over may hold messages of it.
    def is_left(report: Report) -> bool:
        return orders.topic not in report.header.ends

    deployment.run(is_left)
    assert deployment.lake.read(spark, "quarantine").count() == 0
    activate_stream(store, settings, "orders", version=None, **by)
    deployment.run()
    assert deployment.members() == deployment.expected()
    assert deployment.lake.read(spark, "quarantine").count() == 0
