"""A stream tried on messages: what would become of each, while nothing is sent or kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from headrace.clock import DAY, Instant, format_instant
from headrace.engine.door import Doors, admit
from headrace.engine.forms import read_json
from headrace.engine.mapping import Mapper
from headrace.kafka.confluent import ConfluentConsumer
from headrace.rules.catalog import Catalog
from headrace.rules.streams import Stream
from headrace.rules.streams.schemas import violation
from headrace.settings import Settings

SHOWN = 5  # events, and messages of each reason
AT_ONCE = 1_000
PATIENCE_SECONDS = 5.0


@dataclass(slots=True)
class Trial:
    """How many messages would count, the first events they state, and the others by reason.

    Of each reason there are the numbers of the messages, from 1; of the first maybe ``details``.
    """

    accepted: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    rejected: dict[str, list[int]] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)


def tried(
    stream: Stream, messages: Iterable[bytes], *, catalog: Catalog, now: Instant, settings: Settings
) -> Trial:
    """Map and judge ``messages`` as the streaming job would at ``now``."""
    values = list(messages)
    size = len(values)
    rows = admit(
        pa.table(
            {
                "value": pa.array(values, pa.binary()),
                "topic": pa.array([stream.topic] * size, pa.string()),
                "partition": pa.array([0] * size, pa.int32()),
                "offset": pa.array(range(size), pa.int64()),
            }
        ),
        catalog=catalog,
        now=now,
        retention_ms=settings.retention.events_days * DAY,
        doors=Doors("", {stream.topic: Mapper(stream)}),
    )
    trial = Trial()
    for number, row in enumerate(rows.to_pylist(), 1):
        if row["verdict"] != "accepted":
            numbers = trial.rejected.setdefault(row["reason"], [])
            numbers.append(number)
            if row["reason"] == "wrong-schema" and len(numbers) == 1 and stream.format != "avro":
                trial.details["wrong-schema"] = violation(
                    stream.schema, read_json(values[number - 1])
                )
            continue
        trial.accepted += 1
        if len(trial.events) < SHOWN:
            trial.events.append(
                {
                    "type": row["type"],
                    "user_id": row["user_id"],
                    "ts": format_instant(row["ts"]),
                    "event_id": row["event_id"],
                    "properties": orjson.loads(row["properties"]),
                }
            )
    return trial


def newest_messages(settings: Settings, topic: str, count: int) -> Iterator[bytes]:
    """About the ``count`` newest messages of ``topic``, the same number of each partition."""
    with ConfluentConsumer(settings.kafka_bootstrap, topic, "headrace-trial") as consumer:
        bounds = {part: one for part, one in consumer.bounds().items() if one.end > one.start}
        share = -(-count // max(1, len(bounds)))
        consumer.start_at({part: max(one.start, one.end - share) for part, one in bounds.items()})
        unread = dict(bounds)
        while unread:
            records = consumer.poll(AT_ONCE, PATIENCE_SECONDS)
            if not records:  # what is missing is no message: the end of a transaction, say
                return
            for record in records:
                if record.offset + 1 >= bounds[record.partition].end:
                    unread.pop(record.partition, None)
                yield record.value or b""
