"""Export of one segment's members: what a scheduled file for another program is made by."""

from __future__ import annotations

import difflib

from headrace.errors import OperatorError
from headrace.jobs.runs import Note, run_once
from headrace.rules.model import Segment
from headrace.settings import Settings
from headrace.spark.export import (
    Format,
    evaluated_members,
    streamed_members,
    with_traits,
    write_members,
)
from headrace.spark.session import open_session
from headrace.spark.start import newest_batch
from headrace.spark.tables import Lake
from headrace.store import Store


def run(
    settings: Settings, *, segment: str, format: Format, output: str, run_id: str | None = None
) -> int:
    """Write the members of ``segment`` with their traits into folder ``output``.

    Raises OperatorError when the segment is not active, or its outputs are held.
    """
    return run_once(
        settings, "export", run_id, lambda note: _export(settings, segment, format, output, note)
    )


def _export(settings: Settings, segment: str, format: Format, output: str, note: Note) -> None:
    found = _may_leave(settings, segment)
    spark = open_session("headrace-export")
    lake = Lake(settings.tables_root)
    newest = newest_batch(spark, lake)
    if found.is_batch_only:
        members = evaluated_members(spark, lake, segment=segment)
    else:
        members = streamed_members(spark, lake, plan=newest.plan, segment=segment)
    traits = sorted(newest.plan.catalog.traits)
    rows = with_traits(spark, lake, members, traits).persist()
    write_members(rows, output, format=format)
    note({"segment": segment, "members": rows.count(), "n": newest.header.n, "output": output})
    print(f"{rows.count()} members of {segment} in {output}")


def _may_leave(settings: Settings, segment: str) -> Segment:
    """The active segment of that id, unless its outputs are held."""
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        active = {one.segment_id: one.segment for one in store.active_versions()}
        held = {hold.segment_id: hold for hold in store.holds()}
    finally:
        store.close()
    if segment not in active:
        near = difflib.get_close_matches(segment, active, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise OperatorError(f"no active segment {segment!r}{hint}", code="HR954")
    if segment in held:
        raise OperatorError(
            f"outputs of {segment} are held since {held[segment].held_at:%Y-%m-%d %H:%M %Z}:"
            f" {held[segment].reason}; `headrace quality release {segment}` lets them go",
            code="HR955",
        )
    return active[segment]
