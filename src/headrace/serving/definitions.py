"""Segments' texts from Postgres, kept at hand: reading them never waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

import orjson

from headrace.cache.model import CacheDown
from headrace.clock import Clock, round_down, system_clock
from headrace.errors import OperatorError, RuleError
from headrace.plan.model import Plan
from headrace.plan.usage import harmless_measures
from headrace.rules.catalog import Catalog
from headrace.serving.ports import Building, Definition, Definitions, Personal
from headrace.serving.refreshing import keep_fresh
from headrace.serving.streams import StreamHealth, troubled
from headrace.store import Progress, StoredPlan, StoredVersion

REFRESH_SECONDS = 2.0


class Shelf(Protocol):
    """Where a copy survives a restart of the API while Postgres is away."""

    async def keep_definitions(self, text: str) -> None:
        """Keep a copy."""

    async def kept_definitions(self) -> str | None:
        """The copy last kept."""


class StoredSegments:
    """Asks the store every few seconds, in a thread; answers from the last good copy."""

    def __init__(
        self,
        active_versions: Callable[[], Sequence[StoredVersion]],
        shelf: Shelf,
        *,
        backfills: Callable[[], Sequence[Progress]] = lambda: (),
        streams: Callable[[], Sequence[StreamHealth]] = lambda: (),
        catalog: Callable[[], Catalog | None] = lambda: None,
        target: Callable[[], str | None] = lambda: None,
        plan: Callable[[str], StoredPlan | None] = lambda plan_hash: None,
        clock: Clock = system_clock,
    ) -> None:
        self._active_versions = active_versions
        self._backfills = backfills
        self._streams = streams
        self._catalog = catalog
        self._target = target
        self._plan = plan
        self._known: tuple[Catalog, str | None, Personal] | None = None
        self._shelf = shelf
        self._clock = clock
        self._latest: Definitions | None = None
        self._trouble: OperatorError | None = None

    async def definitions(self) -> Definitions:
        """The latest known; what the shelf has if Postgres never answered."""
        if self._latest is None:
            await self.refresh()
        if self._latest is None:
            with contextlib.suppress(CacheDown):
                text = await self._shelf.kept_definitions()
                # A copy that another release kept, and this one cannot read, is none.
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    self._latest = None if text is None else _unpacked(text)
        if self._latest is None:
            raise self._trouble or OperatorError("the segments' texts have not been read yet")
        return self._latest

    async def refresh(self) -> None:
        """Ask once; keep what there is if there is no answer."""
        try:
            versions = await asyncio.to_thread(self._active_versions)
            backfills = await asyncio.to_thread(self._backfills)
            catalog = await asyncio.to_thread(self._readable_catalog)
            troubles = await asyncio.to_thread(self._troubles, versions, catalog or Catalog())
            personal = await asyncio.to_thread(self._personal, catalog)
        except OperatorError as error:
            self._trouble = error
            return
        previous = self._latest
        segments = {row.segment_id: _definition(row) for row in versions}
        self._latest = Definitions(
            segments,
            self._clock(),
            _building(backfills),
            troubles,
            personal,
        )
        kept = None if previous is None else (previous.segments, previous.personal)
        if kept != (segments, self._latest.personal):
            with contextlib.suppress(CacheDown):
                await self._shelf.keep_definitions(_packed(self._latest))

    def _readable_catalog(self) -> Catalog | None:
        """None for one of a release that says more than this one reads."""
        with contextlib.suppress(RuleError):
            return self._catalog() or Catalog()
        return None

    def _personal(self, catalog: Catalog | None) -> Personal | None:
        """What the catalog marks as identifying a person, and the plan's measures that do not."""
        if catalog is None:
            return None
        target = self._target()
        if self._known is not None and self._known[:2] == (catalog, target):
            return self._known[2]
        personal = _personal(catalog)
        stored = None if target is None else self._plan(target)
        if stored is not None:
            names = harmless_measures(Plan.from_json(stored.text), personal.properties)
            personal = replace(personal, harmless=frozenset().union(*names))
        self._known = (catalog, target, personal)
        return personal

    def _troubles(
        self, versions: Sequence[StoredVersion], catalog: Catalog
    ) -> dict[str, list[str]]:
        found = troubled(versions, self._streams(), lambda: catalog)
        return {segment: [one.in_words for one in those] for segment, those in found.items()}

    async def keep_fresh(self) -> None:
        """Refresh until cancelled."""
        stale = "the segments' texts stay as they were"
        await keep_fresh(self.refresh, seconds=REFRESH_SECONDS, stale=stale)


def _definition(row: StoredVersion) -> Definition:
    about: dict[str, Any] = {}
    # A text of a later release may say what this one cannot read: it is still shown as it stands.
    with contextlib.suppress(RuleError):
        segment = row.segment
        about = {
            "name": segment.name,
            "owner": segment.owner,
            "description": segment.description,
            "tags": segment.tags,
            "refresh": segment.refresh,
        }
    return Definition(
        segment=row.segment_id,
        version=row.version,
        text=row.text,
        content_hash=row.content_hash,
        created_at=round_down(row.created_at),
        activated_at=None if row.activated_at is None else round_down(row.activated_at),
        **about,
    )


def _building(backfills: Sequence[Progress]) -> dict[str, Building]:
    """What the newest backfill builds, or has built; one that was cut short is nothing."""
    newest = next(iter(backfills), None)
    if newest is None or not (newest.is_alive or newest.state == "done"):
        return {}
    percent = int(newest.details.get("percent", 0))
    versions: Mapping[str, int] = newest.details.get("segments", {})
    return {segment: Building(version, percent) for segment, version in versions.items()}


def _personal(catalog: Catalog) -> Personal:
    """What the catalog marks as identifying a person."""
    return Personal(
        frozenset(name for name, field in catalog.traits.items() if field.pii),
        {
            kind: frozenset(names)
            for kind, event in catalog.events.items()
            if (names := [name for name, field in event.properties.items() if field.pii])
        },
    )


def _packed(definitions: Definitions) -> str:
    rows = [asdict(row) for row in definitions.segments.values()]
    told: dict[str, Any] = {"as_of": definitions.as_of, "segments": rows}
    if definitions.personal is not None:
        told["personal"] = {
            "traits": sorted(definitions.personal.traits),
            "properties": {
                kind: sorted(names) for kind, names in definitions.personal.properties.items()
            },
            "harmless": sorted(definitions.personal.harmless),
        }
    return orjson.dumps(told).decode()


def _unpacked(text: str) -> Definitions:
    value: Mapping[str, Any] = orjson.loads(text)
    rows = (Definition(**{**row, "tags": tuple(row["tags"])}) for row in value["segments"])
    known = value.get("personal")
    personal = None
    if known is not None:
        properties = {kind: frozenset(names) for kind, names in known["properties"].items()}
        personal = Personal(frozenset(known["traits"]), properties, frozenset(known["harmless"]))
    return Definitions({row.segment: row for row in rows}, value["as_of"], personal=personal)
