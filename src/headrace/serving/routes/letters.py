"""/v1/dead-letters: messages that state no event, and how they are sent again."""

from __future__ import annotations

import base64
from itertools import islice
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Query

from headrace.clock import format_instant
from headrace.lake.letters import Rejected, Spot
from headrace.serving.access import Guarded
from headrace.serving.asking import TheCaller, TheChanges, TheLetters
from headrace.serving.cursors import opened, sealed
from headrace.serving.models.letters import (
    DeadLetterBody,
    DeadLetterReasons,
    DeadLetters,
    ReasonBody,
    Replayed,
    ReplayRequest,
)
from headrace.serving.ports import WantedLetters

router = APIRouter(route_class=Guarded, tags=["dead letters"])
SHOWN_UNFIXABLE: Final = 100
Days = Annotated[int, Query(ge=1, le=400, description="Rejected within the last so many days.")]


async def _before(
    cursor: Annotated[
        str | None, Query(description="next_cursor of the page before.", max_length=1_000)
    ] = None,
) -> Spot | None:
    return None if cursor is None else opened(cursor, _spot)


def _spot(told: Any) -> Spot | None:
    match told:
        case [int(n), str(topic), int(partition), int(offset)]:
            return Spot(n, topic, partition, offset)
    return None


@router.get("/v1/dead-letters/reasons")
async def list_reasons(letters: TheLetters, days: Days = 7) -> DeadLetterReasons:
    """Why messages were rejected, and how many for each reason."""
    found = await letters.reasons(days)
    return DeadLetterReasons(
        days=days,
        reasons=[
            ReasonBody(
                reason=one.reason, messages=one.messages, newest_at=format_instant(one.newest_at)
            )
            for one in found
        ],
    )


@router.get("/v1/dead-letters")
async def list_dead_letters(
    letters: TheLetters,
    before: Annotated[Spot | None, Depends(_before)],
    reason: Annotated[
        list[str] | None, Query(max_length=50, description="Rejected for one of these.")
    ] = None,
    days: Days = 7,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> DeadLetters:
    """Rejected messages as they came, newest first, and whether each was sent again."""
    found = await letters.rejected(days, reason or (), before, limit + 1)
    page = found[:limit]
    return DeadLetters(
        messages=[_body(one, was_sent) for one, was_sent in page],
        next_cursor=sealed(page[-1][0].spot) if len(found) > limit else None,
    )


@router.post("/v1/dead-letters:replay")
async def replay_dead_letters(
    asked: ReplayRequest, caller: TheCaller, changes: TheChanges
) -> Replayed:
    """Send rejected messages again, repaired or as they were, each at most once. What is rejected
    once more is a new letter."""
    wanted = WantedLetters(
        places=None if asked.places is None else frozenset(asked.places),
        reasons=None if asked.reasons is None else frozenset(asked.reasons),
        fix=None if asked.fix is None else orjson.dumps(asked.fix).decode(),
    )
    done = await changes.replay(wanted, by=caller.name, dry_run=asked.dry_run)
    return Replayed(
        dry_run=asked.dry_run,
        sent=done.sent,
        sent_before=done.before,
        not_repaired=len(done.unfixable),
        unfixable=dict(islice(done.unfixable.items(), SHOWN_UNFIXABLE)),
    )


def _body(one: Rejected, was_sent: bool) -> DeadLetterBody:
    try:
        text, raw = one.raw.decode(), None
    except UnicodeDecodeError:
        text, raw = None, base64.b64encode(one.raw).decode()
    return DeadLetterBody(
        place=one.place,
        reason=one.reason,
        rejected_at=format_instant(one.at),
        sent_again=was_sent,
        text=text,
        base64=raw,
    )
