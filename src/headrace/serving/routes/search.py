"""/v1/users: who has these traits and is in these segments."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query

from headrace.clock import format_instant
from headrace.lake.search import Wanted
from headrace.rules.catalog import FieldType
from headrace.rules.source import did_you_mean
from headrace.serving import search as searching
from headrace.serving.access import Guarded
from headrace.serving.asking import (
    After,
    TheCandidates,
    TheFreshness,
    TheMask,
    TheMemberships,
    TheOutputs,
)
from headrace.serving.cursors import sealed
from headrace.serving.models.users import FoundUser, FoundUsers
from headrace.serving.ports import Terms
from headrace.serving.problems import Problem, ProblemBody, Responses

router = APIRouter(route_class=Guarded, tags=["users"])
ANSWERS: Responses = {
    404: {"model": ProblemBody, "description": "There is no such segment."},
    409: {"model": ProblemBody, "description": "Members are not kept as lists."},
}


@router.get("/v1/users", responses=ANSWERS)
async def search_users(
    memberships: TheMemberships,
    outputs: TheOutputs,
    find: TheCandidates,
    freshness: TheFreshness,
    mask: TheMask,
    after: After,
    segment: Annotated[
        list[str] | None, Query(max_length=20, description="In all of these; the first narrows.")
    ] = None,
    trait: Annotated[
        list[str] | None,
        Query(
            max_length=20,
            description="NAME:VALUE, all of them; traits that are texts, whole numbers, booleans.",
            examples=[["country:DE"]],
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> FoundUsers:
    """Users in the order of their ids. A page may be short, or empty, and still have a next one:
    where few fit, looking at everybody takes longer than an answer may."""
    if not segment and not trait:
        raise _wrong("segment", "name at least one segment or trait")
    wanted = _wanted(trait, await outputs.terms()) if trait else {}
    mask.require(wanted)
    query = searching.Query(tuple(dict.fromkeys(segment or ())), wanted)
    try:
        found = await searching.search(memberships, query, find, after=after, limit=limit)
    except searching.NotKept as error:
        if error.is_known:
            raise Problem(409, "members-not-kept", "HEADRACE_CACHE__MEMBERS is off") from None
        detail = f"there is no segment {error.segment!r}"
        raise Problem(404, "unknown-segment", detail) from None
    return FoundUsers(
        as_of=format_instant(found.as_of),
        stale=freshness.is_stale(found.as_of),
        users=[
            FoundUser(
                user_id=one.id,
                traits=traits,
                masked=masked,
                segments=[part.segment for part in one.memberships],
            )
            for one in found.users
            for traits, masked in [mask.traits(orjson.loads(one.traits or "{}"))]
        ],
        next_cursor=None if found.next_after is None else sealed([found.next_after]),
    )


def _wanted(asked: list[str], terms: Terms) -> Wanted:
    found: dict[str, str | int | bool] = {}
    for text in asked:
        name, colon, value = text.partition(":")
        field = terms.traits.get(name)
        if not colon or field is None:
            hint = did_you_mean(name, terms.traits)
            known = f"unknown trait {name!r}" + (f" ({hint})" if hint else "")
            raise _wrong("trait", known if colon else "a trait is asked for as NAME:VALUE")
        read = _value(field.type, value)
        if read is None:
            raise _wrong("trait", f"{value!r} is no value that {name!r} ({field.type}) is asked by")
        found[name] = read
    return found


def _value(kind: FieldType, text: str) -> str | int | bool | None:
    match kind:
        case "string":
            return text
        case "boolean":
            return {"true": True, "false": False}.get(text)
        case "integer" if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit():
            return int(text) if len(text) < 20 else None
        case _:
            return None


def _wrong(parameter: str, detail: str) -> Problem:
    return Problem(
        422, "invalid-request", detail, errors=[{"detail": detail, "parameter": parameter}]
    )
