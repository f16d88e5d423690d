"""Who was in which segment at a past instant, as the stream had it then."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from headrace.clock import format_instant
from headrace.errors import OperatorError
from headrace.jobs.instants import asked_instant
from headrace.rules.source import did_you_mean
from headrace.settings import Settings
from headrace.spark.as_of import members_as_of, segments_ever
from headrace.spark.members import sizes, write_members
from headrace.spark.session import open_session
from headrace.spark.start import newest_batch
from headrace.spark.tables import Lake

log = structlog.get_logger()


def run(settings: Settings, *, as_of: str, segments: Sequence[str], output: str | None) -> None:
    """Print the members of each segment at ``as_of``; ``output`` is a folder for them as CSV."""
    at = asked_instant("--as-of", as_of)
    spark = open_session("headrace-list")
    lake = Lake(settings.tables_root)
    newest = newest_batch(spark, lake)
    known = segments_ever(spark, lake) | newest.plan.versions.keys()
    for name in segments:
        if name not in known:
            hint = did_you_mean(name, known)
            raise OperatorError(
                f"nobody was ever in a segment {name!r}{f' ({hint})' if hint else ''}", code="HR931"
            )
    members = members_as_of(spark, lake, at, segments=segments).persist()
    if output is not None:
        write_members(members, output)
    counts = dict.fromkeys(sorted(segments), 0) | sizes(members)
    for segment, count in counts.items():
        print(f"{segment}\t{count}")
    print(f"{sum(counts.values())} memberships at {format_instant(at)}")
    if at > newest.header.now:
        log.warning("the tables end earlier", newest=format_instant(newest.header.now))
