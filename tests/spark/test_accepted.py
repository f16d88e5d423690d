"""events.accepted.v1: what counts leaves again, once, as it was understood."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml

from deployment import Deployment
from headrace.messages.topics import ACCEPTED
from headrace.rules.streams import parse_stream
from headrace.runtime.streams import activate_stream, add_stream
from headrace.spark import protocol
from headrace.spark.session import Session

CATALOG = """
apiVersion: headrace/v1
kind: Catalog
events:
  purchase: {publish: true, properties: {amount: {type: decimal}, country: {type: string}}}
  login: {}
"""
RULES = {"buyers": "{did: purchase}"}
ASYNCAPI = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
SCHEMA = yaml.safe_load(ASYNCAPI.read_text())["components"]["schemas"]
ORDERS = """
apiVersion: headrace/v1
kind: Stream
metadata: {{id: orders}}
spec:
  topic: {topic}
  map:
    type: purchase
    user_id: $.who
    ts: $.at
    event_id: $.number
    properties: {{amount: {{product: [$.price, $.count]}}}}
  enrich: {{country: DE}}
"""


def now() -> int:
    return time.time_ns() // 1_000_000


def event(user: str, number: int, type: str = "purchase", **more: Any) -> dict[str, object]:
    return {
        "event_id": f"e{number}", "user_id": user, "type": type, "ts": now(),
        "properties": {"amount": number}, **more,
    }  # fmt: skip


def published(deployment: Deployment) -> list[tuple[str, str, str, int]]:
    """Message id, canonical user, id as sent and amount of each message, checked by the schema."""
    found = []
    for record in deployment.read(ACCEPTED):
        value = orjson.loads(record.value or b"")
        jsonschema.validate(value, SCHEMA["acceptedEvent"])
        headers = dict(record.headers)
        assert headers["ce_type"] == b"headrace.event"
        assert record.key == value["user_id"].encode()
        name = (headers["ce_id"] or b"").decode()
        found.append((name, value["user_id"], value["sent_id"], value["properties"]["amount"]))
    return found


def test_what_counts_leaves_once_under_its_users_canonical_id(deployment: Deployment) -> None:
    deployment.publish(RULES, CATALOG)
    first = event("ann", 1)
    deployment.send([first, first, event("ann", 2), event("ann", 3, "login"), event("bob", 1)])
    deployment.send([b"no event", {"type": "traits", "user_id": "ann", "ts": now(), "traits": {}}])
    deployment.run()
    assert sorted(published(deployment)) == [
        ("3:ann/e1", "ann", "ann", 1), ("3:ann/e2", "ann", "ann", 2), ("3:bob/e1", "bob", "bob", 1),
    ]  # fmt: skip
    assert deployment.metrics.text().count(b"headrace_published_events_total 3.0") == 1

    # Repeats of an earlier batch stay behind; joined ids go by one; what is forgotten is not told.
    past = now()
    join = {"type": "alias", "from": "anon", "to": "ann", "ts": past}
    deployment.send([join, {"type": "delete", "user_id": "bob", "ts": past}])
    deployment.run()
    deployment.send([first, event("anon", 1), event("bob", 5, ts=past), event("bob", 6)])
    deployment.run()
    assert sorted(published(deployment))[2:] == [
        ("3:bob/e1", "bob", "bob", 1),
        ("3:bob/e6", "bob", "bob", 6),
        ("4:anon/e1", "ann", "anon", 1),
    ]  # fmt: skip


def test_mapped_and_enriched_it_leaves_again_after_a_death(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, by = deployment.settings, {"author": "test", "reason": ""}
    topic = f"{settings.namespace}orders"
    stream = parse_stream(ORDERS.format(topic=topic))
    add_stream(deployment.store, settings, stream, **by)
    activate_stream(deployment.store, settings, "orders", version=None, **by)
    deployment.run(lambda report: topic in report.header.ends)
    before = Counter(published(deployment))
    for number in (1, 2, 2):
        order = {"who": "cem", "at": now(), "number": number, "price": 7, "count": 3}
        deployment.producer.send(topic, key=b"cem", value=orjson.dumps(order))
    deployment.producer.flush()
    deployment.sent += 3

    # All are sent, and then the job dies: the batch is told again, under the same ids.
    real = protocol._publish_accepted

    def dying(*arguments: Any) -> int:
        if real(*arguments):
            raise RuntimeError("died")
        return 0

    with monkeypatch.context() as patch:
        patch.setattr(protocol, "_publish_accepted", dying)
        with pytest.raises(Exception, match="died"):
            deployment.run(lambda _: False)
    told = Counter(published(deployment)) - before
    deployment.run()
    again = Counter(published(deployment)) - before
    assert told.keys() <= again.keys()
    assert again.keys() == {("3:cem/1", "cem", "cem", 21), ("3:cem/2", "cem", "cem", 21)}
    assert again.total() > len(again), "all of it is sent again"
    values = [orjson.loads(record.value or b"") for record in deployment.read(ACCEPTED)]
    facts = [value["properties"] for value in values if value["user_id"] == "cem"]
    assert facts == [{"amount": 21, "country": "DE"}] * len(facts)


def test_nothing_leaves_that_nobody_asked_for(deployment: Deployment, spark: Session) -> None:
    deployment.publish(RULES, CATALOG.replace("publish: true, ", ""))
    deployment.run(lambda _: not deployment.plan.published)
    before = len(deployment.read(ACCEPTED))
    twice = event("dan", 1)
    deployment.send([twice, twice])
    deployment.run()
    assert deployment.last.counts.published == 0
    assert len(deployment.read(ACCEPTED)) == before
    assert deployment.lake.read(spark, "profiles").where("repeated IS NOT NULL").count() == 0
