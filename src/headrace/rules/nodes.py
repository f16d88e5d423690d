"""YAML texts as nodes that know where they stand.

Built from PyYAML's events, never from its constructors: nothing in a text is executed, no scalar
is guessed at by its looks, and what rules have no use for (anchors, aliases, tags, several
documents, duplicate keys) is refused with its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import yaml

from headrace.errors import Place, Problem

MOST_CHARACTERS = 4 * 1024 * 1024
LARGEST_EXPONENT = 300  # a double has 308
DEEPEST = 300  # logic and a filter may each nest 64 deep, a level takes two nodes
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]{1,6})?|[-+]?\.[0-9]+")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text as written; ``plain`` when it stands without quotes.

    ``inside`` is where its first character stands, if its lines stand below each other as in it.
    """

    text: str
    plain: bool
    place: Place
    inside: Place | None = None

    @property
    def value(self) -> str | Decimal | bool | None:
        """Only ``true`` and ``false`` are booleans, only decimal notation is a number.

        So ``NO`` is Norway, and ``007`` and ``1_000`` are texts.
        """
        if not self.plain:
            return self.text
        if self.text in ("true", "false"):
            return self.text == "true"
        if self.text in ("", "~", "null", "Null", "NULL"):
            return None
        if _NUMBER.fullmatch(self.text):
            try:
                return Decimal(self.text)
            except InvalidOperation:
                return self.text
        return self.text


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key: value`` of a mapping."""

    key: str
    place: Place
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """Entries in the order written; no key twice."""

    entries: tuple[Entry, ...]
    place: Place

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def get(self, key: str) -> Node | None:
        """The value under ``key``, if any."""
        return next((entry.value for entry in self.entries if entry.key == key), None)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Items in the order written."""

    items: tuple[Node, ...]
    place: Place


Node: TypeAlias = Scalar | Mapping | Sequence


def plain(node: Node) -> Any:
    """``node`` as a JSON value; ValueError for a number that few readers of JSON take."""
    match node:
        case Mapping():
            return {entry.key: plain(entry.value) for entry in node}
        case Sequence(items):
            return [plain(item) for item in items]
        case Scalar():
            value = node.value
            if isinstance(value, Decimal):
                if value.adjusted() > LARGEST_EXPONENT:
                    raise ValueError(f"the number {str(value)[:40]} is too large")
                return int(value) if value == value.to_integral_value() else float(value)
            return value


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    place: Place
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    key: Scalar | None = None


def read_node(text: str, file: str, problems: list[Problem]) -> Node | None:
    """The one document in ``text``, or None when it cannot be read at all.

    Every problem is added to ``problems``; a node may come back beside problems, so that its
    content can be checked in the same go.
    """
    start = Place(file)
    if len(text) > MOST_CHARACTERS:
        problems.append(Problem("HR106", f"longer than {MOST_CHARACTERS:,} characters", start))
        return None
    builder = _Builder(file, problems)
    try:
        for event in yaml.parse(_spaced(text), Loader=yaml.SafeLoader):
            if not builder.take(event):
                return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else start
        problems.append(Problem("HR101", f"not YAML: {error.problem or error.context}", place))
        return None
    except yaml.YAMLError as error:  # characters that YAML does not allow
        position = int(getattr(error, "position", 0))
        line = text.count("\n", 0, position) + 1
        column = position - (text.rfind("\n", 0, position) + 1) + 1
        reason = "a character that YAML does not allow"
        problems.append(Problem("HR101", f"not YAML: {reason}", Place(file, line, column)))
        return None
    except (
        ValueError,
        OverflowError,
    ):  # \U escapes beyond Unicode, %YAML with odd digits
        problems.append(Problem("HR101", "not YAML: an escape or number out of range", start))
        return None
    if builder.root is None:
        problems.append(Problem("HR105", "empty: expected one document", start))
    return None if builder.aliases else builder.root


def _spaced(text: str) -> str:
    """JSON may be indented with tabs, which YAML refuses; a space keeps the columns."""
    if "\t" in text and text.lstrip().startswith("{"):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return text
        return text.replace("\t", " ")
    return text


def _inside(event: Any, place: Place) -> Place | None:
    """Where the text of a scalar begins: below a ``|``, behind a quote."""
    mark = event.start_mark
    if event.style == "|":
        below = (mark.buffer or "").split("\n")[mark.line + 1 :]
        first = next((line for line in below if line.strip()), "")
        return Place(place.file, place.line + 1, len(first) - len(first.lstrip(" ")) + 1)
    if "\n" in event.value or event.end_mark.line != mark.line:
        return None
    return Place(place.file, place.line, place.column + (event.style is not None))


class _Builder:
    """Puts events together, with a stack of its own: no text is too deep for it."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self.root: Node | None = None
        self.stack: list[_Open] = []
        self.documents = 0
        self.aliases = 0

    def take(self, event: Any) -> bool:
        """Go on? False when nothing sensible can follow."""
        place = Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        self._refuse_decorations(event, place)
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self._problem("HR105", "a second document: one file holds one", place)
                    return False
            case yaml.AliasEvent():
                self._problem("HR103", f"alias '*{event.anchor}': write the value out", place)
                self.aliases += 1
                self._put(Scalar("", True, place))
            case yaml.ScalarEvent():
                text, inside = self._text(event.value, place), _inside(event, place)
                self._put(Scalar(text, event.style is None, place, inside))
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                if len(self.stack) >= DEEPEST:
                    self._problem("HR106", f"nested more than {DEEPEST} deep", place)
                    return False
                self.stack.append(_Open(place, isinstance(event, yaml.MappingStartEvent)))
            case yaml.MappingEndEvent():
                done = self.stack.pop()
                self._put(Mapping(tuple(done.entries.values()), done.place))
            case yaml.SequenceEndEvent():
                done = self.stack.pop()
                self._put(Sequence(tuple(done.items), done.place))
        return True

    def _problem(self, code: str, message: str, place: Place, hint: str = "") -> None:
        self.problems.append(Problem(code, message, place, hint))

    def _refuse_decorations(self, event: Any, place: Place) -> None:
        if isinstance(event, yaml.NodeEvent) and not isinstance(event, yaml.AliasEvent):
            if event.anchor is not None:
                self._problem("HR103", f"anchor '&{event.anchor}': write values out", place)
            tag = getattr(event, "tag", None)
            if tag is not None:
                self._problem("HR104", f"tag {tag!r}: tags are not used here", place)

    def _text(self, text: str, place: Place) -> str:
        r"""JSON writes 😀 as two \u escapes, which PyYAML leaves as two halves."""
        try:
            text.encode()
        except UnicodeEncodeError:
            try:
                return text.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                self._problem("HR101", "not YAML: half of a surrogate pair", place)
                return ""
        return text

    def _put(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if not parent.is_mapping:
            parent.items.append(node)
        elif parent.key is None:
            if isinstance(node, Scalar):
                parent.key = node
            else:
                self._problem("HR107", "a key must be a name", node.place)
                parent.key = Scalar("", False, node.place)
        else:
            key, parent.key = parent.key, None
            if key.text in parent.entries:
                first = parent.entries[key.text].place.line
                hint = f"first on line {first}"
                self._problem("HR102", f"duplicate key {key.text!r}", key.place, hint)
            else:
                parent.entries[key.text] = Entry(key.text, key.place, node)
