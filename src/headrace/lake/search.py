"""Users who have traits, by the tables: candidates, for whoever knows their newest state."""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from headrace.engine.state import CURRENT
from headrace.lake.tables import Tables, quoted

Wanted = Mapping[str, str | int | bool]
"""Values by trait."""


def candidates(tables: Tables, wanted: Wanted, *, after: str, limit: int) -> list[str]:
    """At most ``limit`` ids behind ``after`` that have, or lately had, all of ``wanted``.

    Older states than a user's newest are looked at too. LakeDown when the tables cannot be read.
    """
    patterns = (quoted(_pattern(name, value)) for name, value in wanted.items())
    holds = " AND ".join(f"regexp_like(traits, {pattern})" for pattern in patterns)
    found = tables.ask(
        "profiles",
        f"SELECT DISTINCT user_id FROM profiles WHERE layout = {CURRENT}"
        f" AND user_id > {quoted(after)} AND {holds} ORDER BY user_id LIMIT {limit}",
    )
    users: list[str] = found["user_id"].to_pylist()
    return users


def _pattern(name: str, value: str | int | bool) -> str:
    """A trait in a state's JSON, whose keys are sorted."""
    told, stated = (re.escape(orjson.dumps(one).decode()) for one in (name, value))
    return rf'{told}:\{{"ts":-?[0-9]+,"v":{stated}\}}'
