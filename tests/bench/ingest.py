"""What the event API takes: `python tests/bench/ingest.py`.

The server has one core; broker and driver share the other. Requests are sent at fixed instants over
connections that stay open, and a delay is counted from the instant a request was due, not from when
a connection was free for it. `most` sends as fast as answers come. An event has some 180 bytes,
every one an id of its own, and its type's properties in the catalog. At the end each acknowledged
id is looked for on the topic. With `--away SECONDS` the broker is killed and comes back after that
long: events go to disk meanwhile, and the server's memory is watched.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import orjson
import psutil
from report import table

from circumstances import ROOT, circumstances
from headrace import embedded
from headrace.embedded.children import Children
from headrace.embedded.ports import choose_port
from headrace.kafka.confluent import ConfluentConsumer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import EVENTS, topic
from headrace.rules.folder import load_rules
from headrace.settings import Settings
from headrace.store import Source, Store
from headrace.store.sources import hashed, new_key
from services import environment, wait_for

SERVER_CORE, OTHER_CORE = 0, 1
MIB = 1 << 20


@dataclass
class Driver:
    """Sends requests to one server, and remembers what was acknowledged."""

    port: int
    key: str
    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def paced(self, size: int, rate: float, seconds: float, lines: int) -> list[float]:
        """Send ``rate`` requests of ``size`` events a second; the delay of each in ms, sorted."""
        begin = asyncio.get_running_loop().time() + 0.2
        places = iter(range(int(rate * seconds)))
        delays: list[float] = []

        async def line() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            loop = asyncio.get_running_loop()
            for place in places:
                due = begin + place / rate
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._ask(reader, writer, size)
                delays.append((loop.time() - due) * 1_000)
            writer.close()

        await asyncio.gather(*(line() for _ in range(lines)))
        return sorted(delays)

    async def most(self, size: int, seconds: float, lines: int) -> float:
        """Events a second that are acknowledged when every answer is followed by a request."""
        before, begin = len(self.acknowledged), time.monotonic()

        async def line() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            while time.monotonic() < begin + seconds:
                await self._ask(reader, writer, size)
            writer.close()

        await asyncio.gather(*(line() for _ in range(lines)))
        return (len(self.acknowledged) - before) / (time.monotonic() - begin)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int
    ) -> None:
        ids = [f"event-{next(self.numbers)}" for _ in range(size)]
        events = [
            {
                "event_id": one,
                "user_id": f"user-{hash(one) % 50_000}",
                "type": "purchase",
                "ts": "2026-05-01T09:00:00Z",
                "properties": {"amount": 19.99, "sku": "kettle", "category": "kitchen"},
            }
            for one in ids
        ]
        body = orjson.dumps(events if size > 1 else events[0])
        writer.write(
            b"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (self.key.encode(), len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        answer = await reader.readexactly(length)
        if head.startswith(b"HTTP/1.1 202 "):
            assert orjson.loads(answer)["accepted"] == size, answer[:300]
            self.acknowledged.update(ids)
        else:
            self.refused += size


@contextmanager
def server(settings: Settings, port: int) -> Iterator[psutil.Process]:
    """The event API alone on its core."""
    told = environment(settings, 1) | {"HEADRACE_INGEST__PORT": str(port)}
    words = ["taskset", "-c", str(SERVER_CORE), sys.executable, "jobs/serve_ingest.py"]
    started = subprocess.Popen(words, cwd=ROOT, env=told)
    try:
        wait_for(port, "/readyz", 200)
        yield psutil.Process(started.pid)
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(30)


async def measured(driver: Driver, seconds: float) -> list[tuple[object, ...]]:
    """A row for each kind of work."""
    rows: list[tuple[object, ...]] = []
    await driver.most(100, 2, 4)  # warms up
    for name, size, rate in (
        ("2,000 events/s, 100 a request", 100, 20),
        ("2,000 events/s, 10 a request", 10, 200),
        ("800 events/s, 1 a request", 1, 800),
    ):
        delays = await driver.paced(size, rate, seconds, 32)
        cuts = statistics.quantiles(delays, n=100)
        rows.append((name, f"{cuts[49]:.1f}", f"{cuts[98]:.1f}", f"{delays[-1]:.1f}", ""))
    for name, size, lines in (("most, 1,000 a request", 1_000, 2), ("most, 1 a request", 1, 32)):
        rate = await driver.most(size, seconds, lines)
        rows.append((name, "", "", "", f"{rate:,.0f}"))
    return rows


async def broker_away(
    driver: Driver, process: psutil.Process, settings: Settings, seconds: float
) -> tuple[str, ...]:
    """Send on while the broker is dead; what that cost, in words."""
    record = Children(settings.home).record("kafka")
    assert record is not None
    before, most = process.memory_info().rss, 0
    os.kill(record.pid, signal.SIGKILL)
    sending = asyncio.create_task(driver.paced(100, 20, seconds, 64))
    while not sending.done():
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.5)
    refused, spool = driver.refused, settings.home / "spool"
    on_disk = sum(file.stat().st_size for file in spool.glob("*.spool"))
    back = time.monotonic()
    await asyncio.to_thread(
        embedded.up, settings.home, settings.model_copy(update={"kafka_bootstrap": ""})
    )
    while list(spool.glob("*.spool")):
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.2)
    return (
        f"Broker away for {seconds:.0f} s at 2,000 events/s: {on_disk / MIB:.0f} MiB on disk, "
        f"{refused:,} events refused with 503 since the bound was reached; "
        f"memory {before / MIB:.0f} MiB before, {most / MIB:.0f} at most;",
        f"the disk was empty {time.monotonic() - back:.0f} s after the broker was started again.",
    )


def missing(settings: Settings, acknowledged: set[str]) -> int:
    """How many acknowledged events are not on the topic."""
    left = set(acknowledged)
    with ConfluentConsumer(settings.kafka_bootstrap, EVENTS, "bench") as consumer:
        bounds = consumer.bounds()
        consumer.start_at({part: bound.start for part, bound in bounds.items()})
        count = sum(bound.end - bound.start for bound in bounds.values())
        while count > 0:
            records = consumer.poll(50_000, 1.0)
            count -= len(records)
            left -= {orjson.loads(record.value or b"")["event_id"] for record in records}
    return len(left)


def main() -> int:
    """Measure, and write a page; 1 when an acknowledged event is lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="of each kind of work")
    parser.add_argument("--away", type=float, default=0, help="seconds without a broker, too")
    parser.add_argument("--write", type=Path, metavar="FILE", help="a page in Markdown, too")
    asked = parser.parse_args()
    psutil.Process().cpu_affinity([OTHER_CORE])  # what it starts inherits that
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        home = Path(folder)
        with embedded.running(home, Settings(home=home)) as servers:
            settings = Settings(
                home=home,
                postgres_url=servers.postgres_url,
                redis_url=servers.redis_url,
                kafka_bootstrap=servers.kafka_bootstrap,
            )
            text, lost = _measure(settings, asked.seconds, asked.away)
    print(text)
    if asked.write is not None:
        asked.write.write_text(text)
    return int(lost > 0)


def _measure(settings: Settings, seconds: float, away: float) -> tuple[str, int]:
    key, port = new_key(), choose_port()
    store = Store(settings.postgres_url.get_secret_value())
    store.apply(load_rules(ROOT / "rules"), author="bench")
    source = Source(name="x", key_hash=hashed(key), key_hint=key[:8], events_per_second=10**6)
    store.add_source(source, by="bench")
    store.close()
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        admin.create_topics("", (topic(EVENTS),))
    driver = Driver(port, key)
    with server(settings, port) as process:
        rows = asyncio.run(measured(driver, seconds))
        told: tuple[str, ...] = ()
        if away:
            told = asyncio.run(broker_away(driver, process, settings, away))
    lost = missing(settings, driver.acknowledged)
    told += (f"Of {len(driver.acknowledged):,} acknowledged events {lost:,} are lost.",)
    assert __doc__ is not None
    about = " ".join(__doc__.split("\n\n", 1)[1].split())
    columns = ("work", "p50 ms to ack", "p99 ms", "most ms", "events/s")
    lines = [
        "# The event API",
        "",
        "Written by `make bench-ingest`; do not edit.",
        "",
        f"- {circumstances()}",
        f"- **Work**: {about}",
        f"- {' '.join(told)}",
        "",
        *table(columns, rows),
    ]
    return "\n".join(lines) + "\n", lost


if __name__ == "__main__":
    sys.exit(main())
