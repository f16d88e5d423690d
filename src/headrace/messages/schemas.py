"""JSON Schemas (2020-12) of the messages, as they stand in docs/asyncapi.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

USER: Schema = {"type": "string", "minLength": 1, "maxLength": 256}
INSTANT: Schema = {"type": "integer", "description": "Milliseconds since 1970, UTC."}
STAMP: Schema = {
    "description": "RFC 3339 with an offset, or milliseconds since 1970.",
    "oneOf": [{"type": "string"}, {"type": "integer"}],
}
BATCH: Schema = {"type": "integer", "minimum": 0, "description": "The batch's number."}
SEGMENT: Schema = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"}
VERSION: Schema = {"type": "integer", "minimum": 1}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


EVENT = _object(
    {
        "event_id": USER,
        "user_id": USER,
        "type": {"type": "string", "not": {"enum": ["traits", "alias", "delete"]}},
        "ts": STAMP,
    },
    {"properties": {"type": "object"}},
)
TRAITS = _object(
    {"type": {"const": "traits"}, "user_id": USER, "ts": STAMP, "traits": {"type": "object"}},
    {"event_id": USER},
)
ALIAS = _object({"type": {"const": "alias"}, "from": USER, "to": USER, "ts": STAMP})
DELETE = _object({"type": {"const": "delete"}, "user_id": USER, "ts": STAMP})

ACCEPTED_EVENT = _object(
    {
        "event_id": USER,
        "user_id": {**USER, "description": "The canonical id: joined ids have one."},
        "sent_id": {**USER, "description": "The user id as it was sent."},
        "type": {"type": "string"},
        "ts": INSTANT,
        "properties": {"type": "object", "description": "As mapped and enriched."},
        "n": BATCH,
        "at": {**INSTANT, "description": "The now of the batch that accepted it, ms."},
    }
)
CHANGE = _object(
    {
        "id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        "segment": SEGMENT,
        "version": VERSION,
        "change": {"enum": ["enter", "exit"]},
        "reason": {"type": "string"},
        "at": INSTANT,
        "effective_at": INSTANT,
    },
    {
        "measures": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        "ends": {
            "type": "boolean",
            "description": "The segment ends with this batch; its marker says so for everybody.",
        },
    },
)
CHANGES = _object(
    {"user": USER, "n": BATCH, "at": INSTANT, "changes": {"type": "array", "items": CHANGE}},
    {
        "first_seen": {"type": "boolean"},
        "traits": {"type": "object", "description": "All current traits, when they changed."},
        "deleted": {"type": "boolean", "description": "The user is forgotten."},
        "merged_into": {**USER, "description": "The canonical id this one was joined to."},
    },
)
ACTIVATION = _object(
    {
        "marker": {"const": "activate"},
        "n": BATCH,
        "segments": {
            "type": "array",
            "items": _object(
                {
                    "segment": SEGMENT,
                    "version": VERSION,
                    "replaces": {"oneOf": [VERSION, {"type": "null"}]},
                }
            ),
        },
        "retired": {"type": "array", "items": SEGMENT},
    },
    {"at": INSTANT},
)
HEARTBEAT = _object({"marker": {"const": "heartbeat"}, "n": BATCH, "at": INSTANT})
SEGMENT_MEMBER = _object(
    {
        "segment": SEGMENT,
        "user": USER,
        "version": VERSION,
        "member": {"type": "boolean"},
        "since": INSTANT,
        "n": BATCH,
    }
)
NEW_PLAN = _object(
    {"kind": {"const": "plan"}, "hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}
)
CORRECTIONS = _object({"kind": {"const": "corrections"}, "n": BATCH})
RAW: Schema = {"description": "The rejected bytes as they came; any content."}
OUTGOING: Schema = {"type": "object", "description": "Reserved: no writer yet."}

SCHEMAS: Mapping[str, Schema] = {
    "event": EVENT,
    "traits": TRAITS,
    "alias": ALIAS,
    "delete": DELETE,
    "acceptedEvent": ACCEPTED_EVENT,
    "changes": CHANGES,
    "activation": ACTIVATION,
    "heartbeat": HEARTBEAT,
    "segmentMember": SEGMENT_MEMBER,
    "newPlan": NEW_PLAN,
    "corrections": CORRECTIONS,
    "deadLetter": RAW,
    "outgoing": OUTGOING,
}
