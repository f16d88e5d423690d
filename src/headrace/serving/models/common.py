"""What bodies of several resources share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

MOST_USERS = 1_000
AS_OF = "2026-01-12T10:00:00.250Z"


Masked = Annotated[
    list[str],
    Field(description="What identifies a person, and your key does not show; by name."),
]


def example(**value: Any) -> ConfigDict:
    """A model's configuration with one example."""
    return ConfigDict(json_schema_extra={"examples": [value]})


def checked_user_id(text: str) -> str:
    """``text`` as a user id."""
    if not 1 <= len(text) <= 256:
        raise ValueError("a user id has 1 to 256 characters")
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError("a user id has neither NUL nor half characters")
    return text


UserId = Annotated[str, AfterValidator(checked_user_id)]
AsOf = Annotated[str, Field(description="Everything published up to this instant is in here.")]
Stale = Annotated[
    bool, Field(description="as_of is longer ago than freshness_seconds: something stands still.")
]
