"""Paths into a message: the singular queries of JSONPath (RFC 9535), as ``$.order['no'][0]``."""

from __future__ import annotations

import re
from typing import Any, Final

from headrace.rules.streams.model import At

NOTHING: Final = object()
"""What is found where nothing stands. JSON's null is something."""

_NAME = re.compile(r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*")
_STEP = re.compile(
    rf"\.(?P<name>{_NAME.pattern})"
    r"|\[(?P<place>0|-?[1-9][0-9]{0,8})\]"
    r"|\['(?P<single>(?:[^'\\]|\\['\\])*)'\]"
    r'|\["(?P<double>(?:[^"\\]|\\["\\])*)"\]'
)


def parse_path(text: str) -> At:
    """The path that ``text`` spells; ValueError says where it is none."""
    if not text.startswith("$"):
        raise ValueError(f"{text!r} does not begin with '$', which is the message")
    steps: list[str | int] = []
    place = 1
    while place < len(text):
        found = _STEP.match(text, place)
        if found is None:
            raise ValueError(f"{text!r} is no path from {text[place:]!r} on, as '$.order.lines[0]'")
        if (index := found["place"]) is not None:
            steps.append(int(index))
        elif (name := found["name"]) is not None:
            steps.append(name)
        else:
            quoted = found["single"] if found["single"] is not None else found["double"]
            steps.append(re.sub(r"\\(.)", r"\1", quoted))
        place = found.end()
    return At(tuple(steps))


def path_text(path: At) -> str:
    """The canonical spelling of ``path``."""
    return "$" + "".join(map(_spelled, path.path))


def _spelled(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if _NAME.fullmatch(step):
        return f".{step}"
    escaped = step.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"


def found_at(path: At, value: Any) -> Any:
    """What stands at ``path`` in ``value``, or NOTHING."""
    for step in path.path:
        if type(step) is str:
            if type(value) is not dict or step not in value:
                return NOTHING
            value = value[step]
        else:
            if type(value) is not list or not -len(value) <= int(step) < len(value):
                return NOTHING
            value = value[int(step)]
    return value
