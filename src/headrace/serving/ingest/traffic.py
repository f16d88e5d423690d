"""Whose traffic events are: of people, of tests, or of bots, by what their program says it is."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, Literal

from crawleruseragents import is_crawler

from headrace.rules.documents import RESERVED_TYPES
from headrace.store import Source

TRAFFIC: Final = "traffic"
"""The property that tells; events of people have none."""
LONGEST_AGENT: Final = 512

Traffic = Literal["bot", "test"]


def traffic_of(source: Source, agent: str) -> Traffic | None:
    """What events of ``source`` are that a program of that User-Agent sends; None for people's.

    Programs that never say that they are none are taken for people.
    """
    if source.bots != "keep" and is_bot(agent[:LONGEST_AGENT]):
        return "bot"
    return "test" if source.is_test else None


@lru_cache(maxsize=4_096)
def is_bot(agent: str) -> bool:
    """Does this User-Agent say that it is a crawler, a monitor, or a library?"""
    return bool(agent) and is_crawler(agent)


def marked(event: Any, traffic: Traffic | None) -> Any:
    """``event`` with what it is among its properties, if it is an event that has any."""
    if traffic is None or not isinstance(event, dict) or event.get("type") in RESERVED_TYPES:
        return event
    facts = event.get("properties")
    if facts is not None and not isinstance(facts, dict):
        return event  # whoever judges it says what is wrong with it
    return {**event, "properties": {**(facts or {}), TRAFFIC: traffic}}
