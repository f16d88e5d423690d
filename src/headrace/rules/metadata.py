"""What every document begins with, and who a segment is: id, names, tags, zone, refresh."""

from __future__ import annotations

import re
from typing import Final

from headrace.clock import zone, zones
from headrace.rules.cron import EXAMPLE, cron_fault, is_cron
from headrace.rules.nodes import Mapping, Node
from headrace.rules.reading import Reading
from headrace.rules.source import did_you_mean

API_VERSION: Final = "headrace/v1"
ID: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


def read_head(
    reading: Reading, node: Node, kind: str, keys: tuple[str, ...], what: str
) -> Mapping | None:
    """The document as a mapping of ``kind`` with ``keys``; None when it is no mapping."""
    document = reading.mapping(node, what)
    if document is None:
        return None
    reading.known_keys(document, ("apiVersion", "kind", *keys), what)
    for key, expected in (("apiVersion", API_VERSION), ("kind", kind)):
        value = reading.required(document, key, what)
        text = reading.text(value, f"{key!r}") if value is not None else None
        if value is not None and text is not None and text != expected:
            message = f"{key!r} must be {expected!r} here, not {text!r}"
            reading.problem("HR110", message, value.place, did_you_mean(text, (expected,)))
    return document


def read_metadata(reading: Reading, about: Mapping) -> dict[str, str]:
    """The texts that say who a segment is: ``id name owner description``, where given."""
    keys = ("id", "name", "owner", "description")
    reading.known_keys(about, (*keys, "tags"), "'metadata'")
    reading.required(about, "id", "'metadata'")
    texts = {}
    for key in keys:
        value = about.get(key)
        text = reading.text(value, f"{key!r}") if value is not None else None
        if value is None or text is None:
            continue
        if key == "id":
            reading.places[("id",)] = value.place
            if not ID.fullmatch(text):
                near = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")[:63]
                hint = f"did you mean {near!r}?" if ID.fullmatch(near) else ""
                message = f"id {text!r} is not a to z, 0 to 9 and _, from a letter, at most 63"
                reading.problem("HR111", message, value.place, hint)
                continue
        texts[key] = text
    return texts


def read_tags(reading: Reading, about: Mapping) -> tuple[str, ...]:
    """The tags, in their order."""
    node = about.get("tags")
    items = reading.sequence(node, "'tags'") if node is not None else None
    if items is None:
        return ()
    texts = [reading.text(item, "a tag") for item in items.items]
    return tuple(text for text in texts if text is not None)


def read_timezone(reading: Reading, rule: Mapping) -> str:
    """The name of the rule's time zone, UTC without one."""
    node = rule.get("timezone")
    name = reading.text(node, "'timezone'") if node is not None else None
    if node is None or name is None:
        return "UTC"
    try:
        zone(name)
    except ValueError:
        hint = did_you_mean(name, zones())
        reading.problem("HR117", f"unknown timezone {name!r}", node.place, hint)
        return "UTC"
    return name


def read_refresh(reading: Reading, rule: Mapping) -> str:
    """``continuous``, or a cron line with single spaces."""
    node = rule.get("refresh")
    text = reading.text(node, "'refresh'") if node is not None else None
    if node is None or text is None or text == "continuous":
        return "continuous"
    if not is_cron(text):
        message = f"'refresh' is 'continuous' or a cron line, not {text!r}"
        hint = did_you_mean(text, ("continuous",)) or EXAMPLE
        reading.problem("HR117", message, node.place, hint)
        return "continuous"
    fault = cron_fault(text)
    if fault:
        reading.problem("HR117", f"{text!r} is no cron line: {fault}", node.place, EXAMPLE)
        return "continuous"
    return " ".join(text.split())
