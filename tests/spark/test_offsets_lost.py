"""Kafka has deleted what the stream had not read: docs/runbooks/offsets-lost.md as a test."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from deployment import Deployment
from headrace.errors import OperatorError
from headrace.jobs.stream import held_by_kafka, stream
from headrace.messages.topics import EVENTS, in_namespace
from headrace.settings import Settings

CATALOG = (Path(__file__).resolve().parents[2] / "rules" / "catalog.yaml").read_text()


def purchase(user: str) -> dict[str, object]:
    now = time.time_ns() // 1_000_000
    return {
        "event_id": f"{user}-{now}",
        "user_id": user,
        "type": "purchase",
        "ts": now,
        "properties": {"amount": 5},
    }


def delete_everything(settings: Settings) -> None:
    topic = in_namespace(settings.namespace, EVENTS)
    held = held_by_kafka(settings, topic)
    ends = [TopicPartition(topic, part, end) for part, (_, end) in held.items()]
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    for done in admin.delete_records(ends).values():
        done.result(30)


def test_the_job_stops_at_a_gap_until_the_loss_is_accepted(deployment: Deployment) -> None:
    deployment.publish({"buyers": "{did: purchase}"}, CATALOG)
    deployment.send([purchase("ann")])
    before = deployment.run().header
    deployment.send([purchase("bob")])
    delete_everything(deployment.settings)
    deployment.send([purchase("eve")])

    with pytest.raises(OperatorError) as stopped:
        deployment.run()
    assert stopped.value.code == "HR910"
    assert deployment.members() == {("buyers", "ann")}

    told = []
    deadline = time.monotonic() + 120
    stream(
        deployment.spark,
        deployment.settings,
        stopping=lambda: any(report.events for report in told) or time.monotonic() > deadline,
        watch=told.append,
        accept_loss=True,
    )
    assert told[-1].header.generation == before.generation + 1
    assert deployment.members() == {("buyers", "ann"), ("buyers", "eve")}

    deployment.reports.clear()
    deployment.send([purchase("fay")])
    deployment.run(lambda report: report.events > 0)
    assert deployment.last.header.generation == before.generation + 1
    assert ("buyers", "fay") in deployment.members()
