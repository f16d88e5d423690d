"""The connector of a stream that reads a table: Debezium's, for Kafka Connect.

Names and meanings of the settings are those of Debezium's documentation of its connector for
PostgreSQL, release 3.6.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from headrace.rules.streams import Stream
from headrace.rules.streams.columns import columns_of

PORT: Final = 5432
LONGEST_SLOT: Final = 63
HEARTBEAT_MS: Final = 10_000
POLL_MS: Final = 200


def connector_name(namespace: str, stream: Stream) -> str:
    """What a worker knows the connector as; others may share the worker."""
    return f"{namespace}{stream.id}"


def slot_of(namespace: str, stream: Stream) -> str:
    """The replication slot and the publication in the source: Postgres's letters only."""
    name = f"{namespace}{stream.id}"
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]  # of two that are written alike
    plain = re.sub(r"[^a-z0-9_]", "_", f"headrace_{name}".lower())
    return f"{plain[: LONGEST_SLOT - len(mark) - 1]}_{mark}"


def configuration(namespace: str, stream: Stream, *, password: str) -> Mapping[str, str]:
    """The settings of the connector of ``stream``.

    ``password`` is where a worker finds the password, never the password itself: whoever may ask
    the worker sees its connectors' settings.
    """
    database = stream.database
    if database is None:
        raise ValueError(f"{stream.id} reads no database")
    place = urlsplit(database.url)
    prefix = f"{namespace}{stream.id}"
    source = re.escape(f"{prefix}.{database.table}")
    columns = columns_of(stream)
    return {
        **(_only(database.table, columns) if columns is not None else {}),
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "database.hostname": place.hostname or "",
        "database.port": str(place.port or PORT),
        "database.user": unquote(place.username or ""),
        "database.password": password,
        "database.dbname": unquote(place.path[1:]),
        "table.include.list": re.escape(database.table),
        # The log is read by what every Postgres has inside, and only as far as this table needs.
        "plugin.name": "pgoutput",
        "slot.name": slot_of(namespace, stream),
        "publication.name": slot_of(namespace, stream),
        "publication.autocreate.mode": "filtered",
        # All rows at first, and again where the log no longer holds what has not been read.
        "snapshot.mode": "when_needed",
        "skipped.operations": "u,d,t" if database.inserts_only else "t",
        # Values as our mapping reads them: every digit, and instants as their text.
        "decimal.handling.mode": "string",
        "time.precision.mode": "isostring",
        "interval.handling.mode": "string",
        "binary.handling.mode": "base64",
        "tombstones.on.delete": "false",
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "key.converter.schemas.enable": "false",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
        # Without a word of our own in it the log of a busy database would pile up behind a table
        # at rest: what concerns other tables is not sent, and moves nothing on.
        "heartbeat.interval.ms": str(HEARTBEAT_MS),
        "heartbeat.action.query": "SELECT pg_logical_emit_message(false, 'headrace', '')",
        "message.prefix.exclude.list": "headrace",
        "publish.via.partition.root": "true",
        "poll.interval.ms": str(POLL_MS),
        "topic.prefix": prefix,
        "topic.creation.default.replication.factor": "-1",
        "topic.creation.default.partitions": "1",
        "transforms": "route",
        "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.route.regex": source,
        "transforms.route.replacement": stream.topic.replace("$", "\\$"),
    }


def _only(table: str, columns: Sequence[str]) -> Mapping[str, str]:
    names = (re.escape(f"{table}.{column}").replace(",", r"\,") for column in columns)
    return {"column.include.list": ",".join(names)}
