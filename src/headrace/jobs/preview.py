"""What rules that are not active yet would change, for `headrace plan --preview`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from headrace.clock import Instant, format_instant
from headrace.errors import OperatorError
from headrace.plan.diff import diff
from headrace.plan.model import Plan
from headrace.rules.catalog import Catalog
from headrace.rules.leaves import as_json
from headrace.rules.model import Segment
from headrace.rules.printer import print_condition
from headrace.rules.reference import Leaf, explain_user
from headrace.rules.yaml import parse_catalog, parse_segment
from headrace.settings import Settings
from headrace.settings.keys import tombstone_key
from headrace.spark.preview import Moves, facts_as_lines, moves
from headrace.spark.session import open_session
from headrace.spark.start import newest_batch
from headrace.spark.tables import Lake
from headrace.spark.tombstones import Tombstones
from headrace.store import Store

SHOWN = 3


def run(settings: Settings, *, wanted: str, output: str) -> None:
    """Read what is wanted (`cli.preview` writes it), write what it would change: JSON both."""
    asked = orjson.loads(Path(wanted).read_bytes())
    catalog = parse_catalog(asked["catalog"], wanted)
    rules = [parse_segment(text, wanted) for text in asked["segments"]]
    target = Plan.from_json(asked["plan"])
    active, had = _active(settings)
    began = time.monotonic()
    spark = open_session("headrace-preview")
    lake = Lake(settings.tables_root)
    newest = newest_batch(spark, lake)
    tombstones = Tombstones.needed(spark, lake, tombstone_key(settings), n=newest.header.n)
    found = moves(spark, lake, newest, target, shown=SHOWN, tombstones=tombstones)
    took = time.monotonic() - began
    people = {user for one in found for user in (*one.entering, *one.leaving)}
    lines = facts_as_lines(spark, lake, newest, sorted(people)) if people else []
    now = newest.header.now
    reasons = _Reasons(lines, (active, had or catalog), (rules, catalog), now)
    slots = diff(newest.plan, target).added_slots
    events = lake.read(spark, "events").where("verdict = 'accepted'").count() if slots else 0
    told = {
        "as_of": format_instant(now),
        "segments": [{**asdict(one), "why": reasons.of(one)} for one in found],
        "history": {
            "slots": len(slots),
            "rows": events,
            "bytes": lake.size(spark, "events") if slots else 0,
            # The same facts through the same kernel: a backfill takes about as long.
            "seconds": round(took, 1) if slots else 0,
        },
    }
    Path(output).write_bytes(orjson.dumps(told))


def _active(settings: Settings) -> tuple[list[Segment], Catalog | None]:
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        return [one.segment for one in store.active_versions()], store.catalog()
    finally:
        store.close()


class _Reasons:
    """The leaves that make the difference for some users."""

    def __init__(
        self,
        lines: Sequence[bytes],
        now: tuple[Sequence[Segment], Catalog],
        then: tuple[Sequence[Segment], Catalog],
        at: Instant,
    ) -> None:
        self._lines, self._sides, self._at = lines, (now, then), at

    def of(self, moved: Moves) -> dict[str, list[dict[str, Any]]]:
        """By user the leaves of the rule to come that did not say the same before."""
        return {
            user: self._flipped(moved.segment, user) for user in (*moved.entering, *moved.leaving)
        }

    def _flipped(self, segment: str, user: str) -> list[dict[str, Any]]:
        before, after = (
            self._leaves(rules, catalog, segment, user) for rules, catalog in self._sides
        )
        said = {(print_condition(leaf.condition), leaf.holds) for leaf in before}
        return [
            as_json(leaf)
            for leaf in after
            if (print_condition(leaf.condition), leaf.holds) not in said
        ]

    def _leaves(
        self, rules: Sequence[Segment], catalog: Catalog, segment: str, user: str
    ) -> Sequence[Leaf]:
        told = explain_user(self._lines, rules, catalog, self._at, user)
        if told is None:
            raise OperatorError(f"nothing is stored of user {user!r} any more", code="HR904")
        return next((one.leaves for one in told if one.segment == segment), ())
