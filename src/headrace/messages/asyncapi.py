"""docs/asyncapi.yaml, printed from the topic table and the message schemas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from headrace.messages import headers, schemas, topics


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of message on a topic: its schema's name and what a reader should know."""

    schema: str
    title: str
    event_type: str = ""


CONTENT: Mapping[str, tuple[Kind, ...]] = {
    topics.EVENTS: (
        Kind("event", "Something a user did"),
        Kind("traits", "Attributes of a user; null removes one"),
        Kind("alias", "Two ids are one person"),
        Kind("delete", "Forget a user up to and including ts"),
    ),
    topics.DEAD: (Kind("deadLetter", "A rejected message", headers.TYPE_DEAD),),
    topics.ACCEPTED: (Kind("acceptedEvent", "An accepted event", headers.TYPE_EVENT),),
    topics.MEMBERSHIPS: (
        Kind("changes", "What a batch changed for a user", headers.TYPE_MEMBERSHIPS),
        Kind("activation", "New versions are complete up to here", headers.TYPE_MARKER),
        Kind("heartbeat", "Everything up to this batch has been sent", headers.TYPE_MARKER),
    ),
    topics.SEGMENTS: (Kind("segmentMember", "A user's latest membership", headers.TYPE_SEGMENTS),),
    topics.CONTROL: (
        Kind("newPlan", "A new plan is the target", headers.TYPE_CONTROL),
        Kind("corrections", "A recompute has named wrong states", headers.TYPE_CONTROL),
    ),
    topics.MESSAGES: (Kind("outgoing", "A message to a user"),),
}


def asyncapi() -> str:
    """The AsyncAPI 3.0 document as YAML text."""
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Headrace",
            "version": "1",
            "description": "Messages are JSON with CloudEvents 1.0 headers (binary mode). A "
            "namespace, where one is set, stands before each topic's name. Readers "
            "ignore members they do not know.",
        },
        "defaultContentType": "application/json",
        "channels": {row.name: _channel(row) for row in topics.TOPICS},
        "operations": {_operation_name(row): _operation(row) for row in topics.TOPICS},
        "components": {
            "messages": {
                f"{row.name}.{kind.schema}": _message(row, kind)
                for row in topics.TOPICS
                for kind in CONTENT[row.name]
            },
            "schemas": {name: _copy(schema) for name, schema in schemas.SCHEMAS.items()},
        },
    }
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text


def _channel(row: topics.Topic) -> dict[str, Any]:
    return {
        "address": row.name,
        "description": f"{row.description} Key: {row.key}.",
        "messages": {
            kind.schema: {"$ref": f"#/components/messages/{row.name}.{kind.schema}"}
            for kind in CONTENT[row.name]
        },
        "bindings": {
            "kafka": {
                "partitions": row.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if row.compacted else "delete"],
                    "retention.ms": row.retention_ms,
                },
            }
        },
    }


def _operation_name(row: topics.Topic) -> str:
    return ("receive-" if row.name == topics.EVENTS else "send-") + row.name


def _operation(row: topics.Topic) -> dict[str, Any]:
    action = "receive" if row.name == topics.EVENTS else "send"
    return {"action": action, "channel": {"$ref": f"#/channels/{row.name}"}}


def _message(row: topics.Topic, kind: Kind) -> dict[str, Any]:
    message: dict[str, Any] = {"name": kind.schema, "title": kind.title}
    if kind.schema == "deadLetter":
        message["contentType"] = "application/octet-stream"
    names = ["reason", "topic", "partition", "offset"] if row.name == topics.DEAD else []
    if kind.event_type:
        message["headers"] = _headers(kind.event_type, names)
    message["payload"] = {"$ref": f"#/components/schemas/{kind.schema}"}
    return message


def _headers(event_type: str, names: list[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string"},
        "ce_source": {"const": headers.SOURCE},
        "ce_type": {"const": event_type},
        "content-type": {"type": "string"},
    }
    properties |= {name: {"type": "string"} for name in names}
    return {"type": "object", "required": list(properties), "properties": properties}


def _copy(value: Any) -> Any:
    # Shared parts would come out as YAML anchors, which few AsyncAPI tools follow.
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return [_copy(part) for part in value] if isinstance(value, list) else value
