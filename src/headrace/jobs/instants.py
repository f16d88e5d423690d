"""Instants as people write them behind an option."""

from __future__ import annotations

from headrace.clock import Instant, parse_instant
from headrace.errors import OperatorError


def asked_instant(option: str, text: str) -> Instant:
    """The instant that ``option`` was given as ``text``."""
    try:
        return parse_instant(text)
    except ValueError as error:
        raise OperatorError(
            f"{option} {text!r} is no instant: write it like 2026-01-31T09:30:00Z", code="HR915"
        ) from error
