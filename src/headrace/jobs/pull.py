"""Rows of tables whose database has no readable log: those whose watermark has grown, to Kafka.

What has been read is noted after it was sent, so that a run that dies sends it again: as repeats.
Rows that are deleted cannot be noticed this way.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog

from headrace.databases.connector import PORT
from headrace.databases.tables import look_at
from headrace.embedded import passwords
from headrace.errors import OperatorError
from headrace.jobs.runs import Note, run_once
from headrace.kafka.ends import ends_of
from headrace.rules.streams import Stream
from headrace.rules.streams.columns import columns_of
from headrace.settings import Settings
from headrace.spark.rows import RowSource, newest_watermark, send_rows
from headrace.spark.session import Session, open_session
from headrace.store import Store, StoredStream

log = structlog.get_logger()


def run(settings: Settings, *, streams: Collection[str] = (), run_id: str | None = None) -> int:
    """Read the active streams that have a watermark, or those named.

    OperatorError where one cannot be read, once the others were.
    """
    return run_once(
        settings, "pull", run_id, lambda note: pull(None, settings, streams=streams, note=note)
    )


def pull(
    spark: Session | None, settings: Settings, *, streams: Collection[str], note: Note
) -> None:
    """As ``run``, without its lease; a session is opened where none is given and one is needed."""
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    told: dict[str, Any] = {}
    try:
        rows = _wanted(store.streams(), streams)
        for row in rows:
            spark = spark or open_session("headrace-pull", tables=False)
            try:
                told[row.id] = _pulled(spark, settings, store, row)
            except Exception as error:  # of the driver, of dozens of kinds: the others are read
                told[row.id] = {"trouble": _said(error)}
                store.note_trouble(row, _said(error))
                log.warning("a table cannot be read", stream=row.id, reason=_said(error))
            note({"streams": told})
    finally:
        store.close()
    failed = [id for id, one in told.items() if "trouble" in one]
    if failed:
        # Not a run that is done: a scheduler tries it again.
        said = "; ".join(f"{id}: {told[id]['trouble']}" for id in failed)
        raise OperatorError(f"tables that could not be read: {said}", code="HR974")


def _wanted(known: Collection[StoredStream], named: Collection[str]) -> list[StoredStream]:
    active = {
        row.id: row
        for row in known
        if row.state == "active" and row.readable is not None and row.stream.is_pulled
    }
    unknown = sorted(set(named) - active.keys())
    if unknown:
        there = ", ".join(active) or "none"
        raise OperatorError(
            f"no active stream with a watermark: {', '.join(unknown)} (there are: {there})",
            code="HR947",
        )
    return [row for id, row in active.items() if not named or id in named]


def _pulled(spark: Session, settings: Settings, store: Store, row: StoredStream) -> dict[str, Any]:
    source = _source(settings, row.stream)
    newest = newest_watermark(spark, source)
    if newest is None:
        store.note_trouble(row, "")
        return {"rows": 0}
    # One from the future would hide all that comes before it.
    newest = min(newest, datetime.now(UTC))
    bootstrap, topic = settings.kafka_bootstrap, row.stream.topic
    before = sum(ends_of(bootstrap, topic).values())
    send_rows(spark, source, after=row.pulled_to, to=newest, topic=topic, bootstrap=bootstrap)
    sent = sum(ends_of(bootstrap, topic).values()) - before
    store.note_pulled(row.id, newest)
    log.info("table read", stream=row.id, rows=sent, to=newest.isoformat())
    return {"rows": sent, "to": newest.isoformat()}


def _source(settings: Settings, stream: Stream) -> RowSource:
    database = stream.database
    assert database is not None
    password = passwords.known(settings, stream.id)
    look_at(database.url, password, database.table)  # says what is wrong; Spark does not
    place = urlsplit(database.url)
    return RowSource(
        url=f"jdbc:postgresql://{place.hostname}:{place.port or PORT}{place.path}",
        user=unquote(place.username or ""),
        password=password,
        table=database.table,
        watermark=database.watermark,
        key=stream.key,
        columns=columns_of(stream),
    )


def _said(error: Exception) -> str:
    """The first line of what was raised, be it Spark or ourselves that raised it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
