"""What a segment says about itself, as comments above its statement: ``-- id: high_value``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from headrace.errors import Place
from headrace.rules.metadata import read_metadata, read_refresh, read_tags, read_timezone
from headrace.rules.model import AllOf, Segment, Stay
from headrace.rules.nodes import Entry, Mapping, Node, Scalar, Sequence
from headrace.rules.printer import print_stay
from headrace.rules.reading import Reading
from headrace.rules.source import Path, did_you_mean
from headrace.rules.sql.draft import Draft
from headrace.rules.sql.embedded import read_yaml
from headrace.rules.stays import read_stay

TEXTS: Final = ("id", "name", "owner", "description")
KEYS: Final = (*TEXTS, "tags", "timezone", "refresh", "stay")
_LINE: Final = re.compile(r"--[ \t]*([A-Za-z_]+):(?=\s|$)[ \t]*(.*?)\s*")


@dataclass(frozen=True, slots=True)
class Header:
    """A segment without its condition, where the statement begins, and places."""

    segment: Segment
    places: dict[Path, Place]


def read_header(draft: Draft) -> Header:
    """The header of ``draft``; its zone is the draft's from now on."""
    lines = {entry.key: entry for entry in _entries(draft)}
    reading = Reading(draft.file)
    start = Place(draft.file)
    if "id" not in lines:
        draft.problem("HR404", "a rule needs the line '-- id: NAME' above it", start)
    texts = Mapping(tuple(lines[key] for key in TEXTS if key in lines), start)
    named = read_metadata(reading, texts) if "id" in lines else {}
    tags = read_tags(reading, Mapping(tuple(_tag_list(draft, lines)), start))
    others = Mapping(tuple(lines[key] for key in ("timezone", "refresh") if key in lines), start)
    draft.zone, refresh = read_timezone(reading, others), read_refresh(reading, others)
    draft.problems += reading.problems
    places = dict(reading.places)
    stay = _stay(draft, lines["stay"], places) if "stay" in lines else None
    segment = Segment(
        id=named.get("id", ""),
        condition=AllOf(()),
        name=named.get("name", ""),
        owner=named.get("owner", ""),
        description=named.get("description", ""),
        tags=tags,
        timezone=draft.zone,
        refresh=refresh,
        stay=stay,
    )
    return Header(segment, places)


def print_header(segment: Segment) -> str:
    """The lines that `read_header` reads as ``segment``."""
    lines = {key: _text(getattr(segment, key)) for key in TEXTS if getattr(segment, key)}
    if segment.tags:
        plain = ", ".join(segment.tags)
        has_plain = all(re.fullmatch(r"[^\s,\"\[](?:[^,]*[^\s,])?", tag) for tag in segment.tags)
        as_list = "[" + ", ".join(map(json.dumps, segment.tags)) + "]"
        lines["tags"] = plain if has_plain and plain.isprintable() else as_list
    if segment.timezone != "UTC":
        lines["timezone"] = segment.timezone
    if segment.refresh != "continuous":
        lines["refresh"] = segment.refresh
    if segment.stay is not None:
        lines["stay"] = print_stay(segment.stay)
    return "".join(f"-- {key}: {value}\n" for key, value in lines.items())


def leading_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines of comments, and empty ones, above the statement, with their offsets."""
    offset = 0
    for line in text.split("\n"):
        if line.strip() and not line.lstrip().startswith("--"):
            return
        yield offset, line
        offset += len(line) + 1


def header_of(line: str) -> re.Match[str] | None:
    """Key and value of a line ``-- key: value``."""
    return _LINE.fullmatch(line.strip())


def _entries(draft: Draft) -> Iterator[Entry]:
    seen: dict[str, Place] = {}
    end = 0
    for offset, line in leading_lines(draft.text):
        end = offset + len(line)
        found = header_of(line)
        if found is None:
            continue
        margin = len(line) - len(line.lstrip())
        key, value = found[1], found[2]
        place = draft.place(offset + margin + found.start(1))
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or "other comments go below the first line of SQL"
            draft.problem("HR404", f"unknown key {key!r} in the header", place, hint)
        elif key in seen:
            hint = f"first on line {seen[key].line}"
            draft.problem("HR404", f"duplicate key {key!r} in the header", place, hint)
        elif not value:
            draft.problem("HR404", f"{key!r} in the header says nothing", place)
        else:
            seen[key] = place
            stands = offset + margin + found.start(2)
            yield Entry(key, place, _value(draft, key, value, stands))
    _refuse_below(draft, end)


def _refuse_below(draft: Draft, end: int) -> None:
    """A header that nobody reads is worse than none."""
    for found in re.finditer(r"^[ \t]*--[^\n]*", draft.text[end:], re.MULTILINE):
        line = header_of(found[0])
        if line is not None and line[1] in KEYS:
            place = draft.place(end + found.start())
            message = f"'-- {line[1]}:' stands above the statement, not in it"
            draft.problem("HR404", message, place)


def _value(draft: Draft, key: str, value: str, offset: int) -> Node:
    """A text as it stands, or in double quotes with YAML's escapes; stay and lists are YAML."""
    place = draft.place(offset)
    is_yaml = key == "stay" or value[0] == '"' or (key == "tags" and value[0] == "[")
    if not is_yaml:
        return Scalar(value, False, place)
    node = read_yaml(draft, value, range(offset, offset + len(value) + 1))
    return node if node is not None else Scalar("", False, place)


def _tag_list(draft: Draft, lines: dict[str, Entry]) -> Iterator[Entry]:
    entry = lines.get("tags")
    if entry is None:
        return
    node = entry.value
    if isinstance(node, Scalar):
        tags = (tag.strip() for tag in node.text.split(","))
        items = tuple(Scalar(tag, False, node.place) for tag in tags if tag)
        node = Sequence(items, node.place)
    yield replace(entry, value=node)


def _stay(draft: Draft, entry: Entry, places: dict[Path, Place]) -> Stay | None:
    reading = Reading(draft.file, zone=draft.zone)
    stay = read_stay(reading, entry.value)
    draft.problems += reading.problems
    places.update(reading.places)
    return stay


def _text(text: str) -> str:
    """As it is, or in double quotes where the line would not give it back."""
    is_plain = text.isprintable() and text == text.strip() and text[0] not in '"'
    return text if is_plain else json.dumps(text)
