"""Rebuilding Redis from the tables, under a new generation."""

from __future__ import annotations

from headrace.cache.rebuild import rebuild
from headrace.jobs.cache import open_writer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import MEMBERSHIPS, in_namespace
from headrace.settings import Settings
from headrace.spark.reload import cached_rows, joined_rows
from headrace.spark.session import open_session
from headrace.spark.start import newest_batch
from headrace.spark.tables import Lake


def run(settings: Settings) -> None:
    """Fill a new generation from ``profiles`` and move the readers there.

    The topic's end offsets are noted before the table is read, so that the loader goes on where
    the table may end; what it meets twice it skips by n. All tables are read as of one batch, which
    is looked up after: a hand-over since reaches the cache through its marker.
    """
    name = in_namespace(settings.namespace, MEMBERSHIPS)
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        ends = admin.end_offsets(name)
    spark = open_session("headrace-reload")
    lake = Lake(settings.tables_root)
    newest = newest_batch(spark, lake)
    writer = open_writer(settings)
    done = rebuild(
        writer,
        cached_rows(spark, lake, newest),
        ends,
        active=newest.plan.versions,
        as_of=newest.header.now,
        joined=joined_rows(spark, lake, until=newest.header.n),
        n=newest.header.n,
    )
    writer.close()
    print(
        f"generation {done.generation}: {done.users} users, {done.memberships} memberships,"
        f" as of batch {newest.header.n}"
    )
