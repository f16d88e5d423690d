"""/v1/segments/{id}/export: everybody in a segment, as one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from headrace.cache.model import NoPage
from headrace.clock import format_instant
from headrace.rules.model import CONTINUOUS
from headrace.rules.source import did_you_mean
from headrace.serving.access import Guarded
from headrace.serving.asking import TheMask, TheMemberships, TheOutputs, TheSegments
from headrace.serving.export_formats import MEDIA_TYPES, Format, writing
from headrace.serving.exports import MEMBERS_AT_ONCE, ExportResponse, Exports, exported
from headrace.serving.ports import Segments, Terms
from headrace.serving.problems import Problem, ProblemBody, Responses

router = APIRouter(route_class=Guarded, tags=["segments"])
ANSWERS: Responses = {
    200: {
        "description": "Members by id. An answer that was cut short is no file: the transfer ends "
        "without its last chunk.",
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": "user_id,entered_at,country\r\nann,2026-01-11T09:00:00Z,DE\r\n",
            },
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"user_id":"ann","entered_at":"2026-01-11T09:00:00Z",'
                '"traits":{"country":"DE"}}\n',
            },
            "application/vnd.apache.parquet": {
                "schema": {"type": "string", "format": "binary"},
                "example": "PAR1…PAR1",
            },
        },
        "headers": {
            name: {"description": about, "schema": {"type": "string"}}
            for name, about in (
                ("Headrace-As-Of", "When the first members were read; the others were later."),
                ("Headrace-Version", "The version of the segment that they are members by."),
            )
        },
    },
    404: {"model": ProblemBody, "description": "There is no such segment."},
    409: {
        "model": ProblemBody,
        "description": "Its outputs are held, or its members are not kept here.",
    },
}


@router.get("/v1/segments/{segment_id}/export", responses=ANSWERS, response_class=Response)
async def export_segment(
    segment_id: Annotated[str, Path(examples=["high_value"])],
    memberships: TheMemberships,
    segments: TheSegments,
    outputs: TheOutputs,
    request: Request,
    mask: TheMask,
    format: Annotated[
        Format, Query(description="CSV neutralises what a spreadsheet would compute.")
    ] = "csv",
    trait: Annotated[
        list[str] | None,
        Query(
            max_length=200,
            description="Traits to add, by name. Without any: all but those that the catalog says"
            " identify a person.",
        ),
    ] = None,
    members_only: Annotated[bool, Query(description="Add no traits.")] = False,
) -> Response:
    """All members with their traits, streamed; refused while the segment's outputs are held."""
    terms = await outputs.terms()
    if segment_id in terms.held:
        why = terms.held[segment_id]
        raise Problem(409, "outputs-held", f"outputs of {segment_id} are held: {why}")
    traits = () if members_only else _traits(trait, terms)
    mask.require(traits)
    page = await memberships.members(segment_id, after="", limit=MEMBERS_AT_ONCE)
    if isinstance(page, NoPage):
        raise await _nothing_to_read(segment_id, page, segments)
    exports: Exports = request.app.state.exports
    return ExportResponse(
        exports,
        exported(memberships, segment_id, page, traits, writing(format, traits)),
        media_type=MEDIA_TYPES[format],
        headers={
            "Content-Disposition": f'attachment; filename="{segment_id}.{format}"',
            "Headrace-As-Of": format_instant(page.as_of),
            "Headrace-Version": str(page.version),
        },
    )


def _traits(asked: Sequence[str] | None, terms: Terms) -> Sequence[str]:
    if asked is None:
        return sorted(name for name, field in terms.traits.items() if not field.pii)
    wrong = [
        f"unknown trait {name!r}" + (f" ({hint})" if hint else "")
        for name in asked
        if name not in terms.traits
        for hint in [did_you_mean(name, terms.traits)]
    ]
    if wrong:
        errors = [{"detail": detail, "parameter": "trait"} for detail in wrong]
        raise Problem(422, "unknown-trait", "; ".join(wrong), errors=errors)
    return list(dict.fromkeys(asked))


async def _nothing_to_read(segment: str, page: NoPage, segments: Segments) -> Problem:
    if page.is_known:
        return Problem(409, "members-not-kept", "HEADRACE_CACHE__MEMBERS is off")
    definition = (await segments.definitions()).segments.get(segment)
    if definition is None:
        return Problem(404, "unknown-segment", f"there is no segment {segment!r}")
    if definition.refresh == CONTINUOUS:
        return Problem(409, "still-building", f"{segment} has no members before it is built")
    detail = f"{segment} is evaluated in batch: jobs/export_segment.py writes its members"
    return Problem(409, "batch-segment", detail)
