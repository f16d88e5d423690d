"""The ends of topics, for those who only look."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress

from headrace.kafka.client import KafkaDown, NoTopic
from headrace.kafka.confluent import ConfluentConsumer

KNOCK_SECONDS = 2.0


def ends_of(bootstrap: str, topic: str) -> dict[int, int]:
    """The next offset of each partition of ``topic``. KafkaDown at once when nobody listens."""
    if not any(map(_listens, filter(None, bootstrap.split(",")))):
        # The client would try for as long as it is patient.
        raise KafkaDown(bootstrap)
    with ConfluentConsumer(bootstrap, topic, "headrace-status") as consumer:
        return {part: bound.end for part, bound in consumer.bounds().items()}


def ends_of_all(bootstrap: str, topics: Iterable[str]) -> dict[str, dict[int, int]]:
    """The same of each of ``topics`` that is there."""
    found = {}
    for topic in topics:
        with suppress(NoTopic):
            found[topic] = ends_of(bootstrap, topic)
    return found


def _listens(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    with suppress(OSError, ValueError):
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()
        return True
    return False
