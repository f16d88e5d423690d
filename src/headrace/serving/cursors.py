"""Cursors of pages: a place as an opaque text, and back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from headrace.serving.problems import Problem

T = TypeVar("T")
LARGEST = 1 << 63


def sealed(place: Sequence[Any]) -> str:
    """An opaque text that `opened` turns into the place again."""
    return base64.urlsafe_b64encode(orjson.dumps([*place])).decode().rstrip("=")


def opened(cursor: str, read: Callable[[list[Any]], T | None]) -> T:
    """The place that a cursor holds, as ``read`` finds it in its parts. Problem 422 for others."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        told = orjson.loads(raw)
        place = read(told) if isinstance(told, list) and all(map(_is_part, told)) else None
    except (binascii.Error, ValueError):
        place = None
    if place is None:
        detail = "not a cursor of ours"
        errors = [{"detail": detail, "parameter": "cursor"}]
        raise Problem(422, "invalid-cursor", detail, errors=errors)
    return place


def _is_part(value: Any) -> bool:
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST
    return is_number or isinstance(value, str) or value is None
