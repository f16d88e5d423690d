"""What the API knows of segments from Postgres, and goes on knowing without it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.serving.definitions import StoredSegments
from headrace.serving.ports import Building
from headrace.serving.streams import StreamHealth
from headrace.store import Progress, StoreDown, StoredVersion
from serving.test_streams import STORED

THEN = datetime(2026, 1, 12, tzinfo=UTC)
VERSION = StoredVersion(
    segment_id="big", version=2, state="active", text="?", content_hash="", author="", reason="",
    created_at=THEN, activated_at=THEN, retired_at=None,
)  # fmt: skip
BACKFILL = Progress(
    id=1, job="stream", kind="backfill", state="running", pid=7, exit_code=None, log_path=None,
    plan_hash="p", started_at=THEN, updated_at=THEN, ended_at=None,
    details={"percent": 63, "segments": {"big": 2}},
)  # fmt: skip


@dataclass
class Postgres:
    """Answers, or raises while it is down."""

    backfills: list[Progress] = field(default_factory=list)
    is_down: bool = False

    def active_versions(self) -> Sequence[StoredVersion]:
        if self.is_down:
            raise StoreDown("it is down")
        return [VERSION]

    def newest_backfill(self) -> Sequence[Progress]:
        if self.is_down:
            raise StoreDown("it is down")
        return self.backfills[:1]


@dataclass
class Shelf:
    """Has what it was given, and keeps nothing."""

    kept: str | None = None

    async def keep_definitions(self, text: str) -> None: ...

    async def kept_definitions(self) -> str | None:
        return self.kept


def stored(postgres: Postgres) -> StoredSegments:
    return StoredSegments(postgres.active_versions, Shelf(), backfills=postgres.newest_backfill)


def building(segments: StoredSegments) -> Any:
    async def ask() -> Any:
        await segments.refresh()
        return (await segments.definitions()).building

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("backfills", "expected"),
    [
        pytest.param([], {}, id="nothing is built"),
        pytest.param([BACKFILL], {"big": Building(2, 63)}, id="under way"),
        pytest.param(
            [replace(BACKFILL, state="done", details={**BACKFILL.details, "percent": 100})],
            {"big": Building(2, 100)},
            id="done, and about to be seen by readers",
        ),
        pytest.param([replace(BACKFILL, state="failed")], {}, id="cut short, so it begins anew"),
        pytest.param([replace(BACKFILL, details={})], {}, id="of another release"),
    ],
)
def test_how_far_a_new_version_is(backfills: list[Progress], expected: object) -> None:
    assert building(stored(Postgres(backfills))) == expected


def test_without_postgres_the_last_word_stands() -> None:
    postgres = Postgres([BACKFILL])
    segments = stored(postgres)
    assert building(segments) == {"big": Building(2, 63)}
    postgres.is_down = True
    assert building(segments) == {"big": Building(2, 63)}


LATER = '{"as_of": 1, "segments": [{"segment": "big", "of": "a later release"}]}'


@pytest.mark.parametrize("kept", ["no json", "[]", LATER])
def test_a_copy_of_another_release_is_none(kept: str) -> None:
    postgres = Postgres(is_down=True)
    segments = StoredSegments(postgres.active_versions, Shelf(kept))
    with pytest.raises(StoreDown):
        asyncio.run(segments.definitions())


def test_a_segment_says_which_stream_brings_it_nothing() -> None:
    text = "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: %s}\nspec: {match: {did: %s}}"
    versions = [
        VERSION,  # what cannot be read needs nothing that is known
        replace(VERSION, segment_id="buyers", text=text % ("buyers", "purchase")),
        replace(VERSION, segment_id="visitors", text=text % ("visitors", "login")),
    ]
    failing = StreamHealth(stored=STORED, state="failing", why="all bad")
    segments = StoredSegments(lambda: versions, Shelf(), streams=lambda: [failing])

    async def ask() -> Any:
        await segments.refresh()
        return (await segments.definitions()).troubles

    assert asyncio.run(ask()) == {"buyers": ["stream orders is failing: all bad"]}
