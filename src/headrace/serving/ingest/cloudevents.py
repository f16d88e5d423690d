"""CloudEvents over HTTP -> events in our form: structured, in batches, or binary.

By version 1.0.2 of the specification and of its HTTP binding: what a producer calls ``subject`` is
the user, ``data`` the properties; of ``traits`` the traits, of ``alias`` its two ends. Its id is
``source#id``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from headrace.serving.problems import Problem

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
VERSION: Final = "1.0"
_HEADER: Final = "ce-"


def is_cloud_event(headers: Mapping[str, str]) -> bool:
    """Is the body of a request with these headers a CloudEvent, a batch of them, or its data?"""
    return _media_type(headers) in (STRUCTURED, BATCHED) or f"{_HEADER}specversion" in headers


def events_of(headers: Mapping[str, str], body: Any) -> list[Any]:
    """The events that such a request states; ``body`` is None where there is none.

    Problem 422 for what is no CloudEvent of version 1.
    """
    kind = _media_type(headers)
    if kind == BATCHED:
        if not isinstance(body, list):
            raise Problem(422, "no-cloudevent", "a batch of CloudEvents is a list")
        return [_event(one) for one in body]
    if kind == STRUCTURED:
        return [_event(body)]
    told: dict[str, Any] = {
        name.removeprefix(_HEADER): unquote(value)
        for name, value in headers.items()
        if name.startswith(_HEADER)
    }
    return [_event({**told, "data": body})]


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _event(told: Any) -> Any:
    if not isinstance(told, dict) or told.get("specversion") != VERSION:
        detail = f"a CloudEvent is an object with specversion {VERSION!r}"
        raise Problem(422, "no-cloudevent", detail)
    kind, data = told.get("type"), told.get("data")
    if "data_base64" in told:
        raise Problem(422, "no-cloudevent", "data that is not JSON (data_base64) is not taken")
    source, id = told.get("source"), told.get("id")
    about = {
        # Both together name an event: every source may count from one.
        "event_id": f"{source}#{id}" if isinstance(source, str) and isinstance(id, str) else id,
        "user_id": told.get("subject"),
        "type": kind,
        "ts": told.get("time"),
    }
    match kind:
        case "alias" if isinstance(data, dict):
            return {**about, "from": data.get("from"), "to": data.get("to")}
        case "traits":
            return {**about, "traits": data}
        case _:
            return about if data is None else {**about, "properties": data}
