"""Event-to-Redis latency: probes among steady traffic, each a person never seen before.

A probe's first event makes a message of its own, so the moment its key stands in Redis is the
moment everything that belongs to that event is there. The producer stamps ``ts``; Redis is asked
every 20 ms.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from dataclasses import dataclass

import confluent_kafka
import numpy as np
from stage import Stage
from topic import feed

from headrace.messages.topics import EVENTS

PROBES_A_SECOND = 20
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in seconds at one rate."""

    rate: int
    seconds: float
    probes: int
    missing: int
    p50: float
    p95: float
    p99: float


def latency(stage: Stage, *, rate: int, seconds: float, users: int, seed: int) -> Latency:
    """Run traffic at ``rate`` for ``seconds``, after a tenth of that to settle."""
    feeder = multiprocessing.get_context("spawn").Process(
        target=feed,
        args=(stage.bootstrap, EVENTS),
        kwargs={"rate": rate, "seconds": seconds, "users": users, "seed": seed},
        daemon=True,
    )
    feeder.start()
    sent: dict[str, float] = {}
    arrived: dict[str, float] = {}
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(stage, sent, arrived, done), daemon=True)
    watcher.start()
    _probe(stage.bootstrap, sent, prefix=f"probe-{seed}-{rate}", until=time.time() + seconds)
    feeder.join()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(arrived) < len(sent) and time.monotonic() < deadline:
        time.sleep(0.2)
    done.set()
    watcher.join()
    first = min(sent.values(), default=0.0) + seconds / 10
    waits = [arrived[user] - at for user, at in sent.items() if user in arrived and at >= first]
    p50, p95, p99 = np.percentile(waits, [50, 95, 99]) if waits else (np.nan,) * 3
    return Latency(
        rate, seconds, len(waits), len(sent) - len(arrived), float(p50), float(p95), float(p99)
    )


def _probe(bootstrap: str, sent: dict[str, float], *, prefix: str, until: float) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    number = 0
    while (now := time.time()) < until:
        user = f"{prefix}-{number}"
        value = (
            f'{{"event_id":"{user}","user_id":"{user}","type":"view","ts":{int(now * 1000)},'
            '"properties":{"amount":1.00,"sku":"sku-0","channel":"web"}}'
        )
        producer.produce(EVENTS, value, key=user)
        producer.poll(0)
        sent[user] = now
        number += 1
        time.sleep(1 / PROBES_A_SECOND)
    producer.flush(10)


def _watch(
    stage: Stage, sent: dict[str, float], arrived: dict[str, float], done: threading.Event
) -> None:
    cache = stage.cache()
    while not done.wait(LOOK_SECONDS):
        waiting = [user for user in list(sent) if user not in arrived]
        if not waiting:
            continue
        generation = cache.get("hr:generation")
        pipe = cache.pipeline(transaction=False)
        for user in waiting:
            pipe.exists(f"hr:{generation}:user:{user}")
        found = pipe.execute()
        now = time.time()
        arrived.update({user: now for user, there in zip(waiting, found, strict=True) if there})
