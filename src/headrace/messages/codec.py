"""Reading JSON that others wrote: every doubt is a `BadMessage` with a stable reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

Item = TypeVar("Item")


class BadMessage(Exception):
    """A message that does not say what its topic promises; ``reason`` is a stable code."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


def decode_object(raw: bytes | str | None) -> dict[str, Any]:
    """The JSON object in ``raw``."""
    if raw is None:
        raise BadMessage("empty")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadMessage("not-json", str(error)) from error
    if not isinstance(value, dict):
        raise BadMessage("not-an-object", type(value).__name__)
    return value


def need(value: Mapping[str, Any], name: str, kind: type[Item]) -> Item:
    """``value[name]``, which must be exactly a ``kind`` (a boolean is no integer)."""
    found = value.get(name)
    if type(found) is not kind:
        what = "missing" if found is None else f"{type(found).__name__}, not {kind.__name__}"
        raise BadMessage("wrong-type", f"{name}: {what}")
    return found


def identifier(value: Mapping[str, Any], name: str) -> str:
    """``value[name]`` as a user id: 1 to 256 characters, no NUL."""
    found = need(value, name, str)
    if not 1 <= len(found) <= 256 or "\0" in found:
        raise BadMessage("bad-id", name)
    return found


def encode(value: object) -> bytes:
    """Compact JSON."""
    return orjson.dumps(value)
