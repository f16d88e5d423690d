"""Filling the topic: all at once before a drain, or at a steady rate while the job runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import confluent_kafka
import numpy as np
from workload import PARTITIONS, Events, draw_traffic, encode

TICK_SECONDS = 0.05


def _producer(bootstrap: str) -> confluent_kafka.Producer:
    return confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "lz4",
            "acks": "all",
            "linger.ms": 20,
            "batch.num.messages": 10_000,
            "queue.buffering.max.messages": 400_000,
        }
    )


def _send(
    producer: confluent_kafka.Producer, topic: str, rows: Sequence[tuple[int, str, str]]
) -> int:
    """Queue rows by their own partition, so that each event's offset is known beforehand."""
    size = 0
    for partition in range(PARTITIONS):
        batch = [{"key": key, "value": value} for place, key, value in rows if place == partition]
        size += sum(len(row["value"]) for row in batch)
        while batch:
            producer.produce_batch(topic, batch, partition)
            batch = [row for row in batch if "_error" in row]
            for row in batch:
                del row["_error"]
            producer.poll(0.05 if batch else 0)
    return size


@dataclass(frozen=True, slots=True)
class Filled:
    """What lies in the topic: bytes of the values, and how long it took."""

    size: int
    seconds: float


def fill(bootstrap: str, topic: str, events: Events) -> Filled:
    """Send all events and wait until the broker has them."""
    started = time.monotonic()
    producer = _producer(bootstrap)
    size = sum(_send(producer, topic, rows) for rows in encode(events))
    if producer.flush(60):
        raise RuntimeError("the broker did not take all events within a minute")
    return Filled(size, time.monotonic() - started)


def feed(bootstrap: str, topic: str, *, rate: int, seconds: float, users: int, seed: int) -> None:
    """Send ``rate`` events a second of this moment, for ``seconds``. Runs in a process of its own.

    Falling behind is caught up at once, so that the mean rate holds.
    """
    random = np.random.default_rng(seed)
    producer = _producer(bootstrap)
    started, sent = time.monotonic(), 0
    while (passed := time.monotonic() - started) < seconds:
        count = int(passed * rate) - sent
        if count > 0:
            now = time.time_ns() // 1_000_000
            events = draw_traffic(random, count=count, users=users, now=now)
            for rows in encode(events, prefix=f"f{seed}-{sent}"):
                _send(producer, topic, rows)
            sent += count
        time.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - started - passed)))
    producer.flush(30)
