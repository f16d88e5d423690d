"""What each code of a problem stands for, in a few words; the message says the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CODES: Final[Mapping[str, str]] = {
    "HR100": "A file cannot be read, or is missing",
    "HR101": "Not YAML",
    "HR102": "A key stands twice",
    "HR103": "An anchor or alias of YAML",
    "HR104": "A tag of YAML",
    "HR105": "Not one document",
    "HR106": "Too long, or nested too deep",
    "HR107": "A mapping, list, text or boolean is expected",
    "HR108": "An unknown key",
    "HR109": "A key is missing",
    "HR110": "Another version, or another kind of document",
    "HR111": "A name that cannot be one",
    "HR112": "A length of time, or a window, that is none",
    "HR113": "A value that does not fit its key",
    "HR114": "Not exactly one form, function or window",
    "HR115": "Not exactly one comparison",
    "HR116": "Too many conditions, or too deep",
    "HR117": "An unknown time zone or refresh",
    "HR118": "A test that is none",
    "HR119": "A sample that is none",
    "HR120": "A sequence that is none",
    "HR121": "A stay that says nothing",
    "HR190": "Not supported yet",
    "HR201": "An unknown event",
    "HR202": "An unknown trait",
    "HR203": "An unknown property",
    "HR204": "A function that does not fit the property",
    "HR205": "An operator that does not fit the type",
    "HR206": "A constant that does not fit the type",
    "HR207": "A constant beyond every value",
    "HR208": "A pattern that is none",
    "HR209": "A filter that needs a now",
    "HR210": "More decimal places than are compared",
    "HR301": "Two segments of one id",
    "HR302": "A window longer than events are kept",
    "HR303": "A comparison that says the same about everybody",
    "HR304": "No segments",
    "HR305": "A test of a user whom nothing happens to",
    "HR306": "A reference to an unknown segment",
    "HR307": "A segment that refers to itself",
    "HR308": "A test of an unknown segment",
    "HR309": "A continuous segment that refers to one in batch only",
    "HR310": "A condition that never holds",
    "HR311": "A condition that always holds",
    "HR312": "A part that adds nothing",
    "HR314": "A segment that means the same as another",
    "HR315": "A segment that is part of another",
    "HR320": "A test that does not hold",
    "HR400": "Too long, or nested too deep",
    "HR401": "Not SQL",
    "HR402": "A character or quote that SQL rules do not use",
    "HR403": "A form of SQL that rules do not have",
    "HR404": "A header that is none",
    "HR405": "A table or source that is none",
    "HR406": "A term in the wrong clause",
    "HR407": "A window that is none",
    "HR408": "A comparison of something else than a column",
    "HR409": "A constant that is none",
    "HR410": "A LIKE of another kind",
    "HR411": "A query of something else than users",
}


def described(code: str) -> str:
    """What ``code`` stands for."""
    return CODES.get(code, "A problem of a rule")
