"""Who is on a list, by the tables."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from headrace.engine.state import CURRENT
from headrace.lake.tables import Tables, quoted
from headrace.rules.catalog import LIST


def on_list(tables: Tables, name: str) -> set[str]:
    """The canonical ids of everybody on the list ``name``, as the newest batch left it.

    LakeDown when the tables cannot be read.
    """
    trait = LIST + name
    mentions = f"strpos(traits, {quoted(orjson.dumps(trait).decode() + ':')}) > 0"
    newest = (
        "SELECT user_id, layout, traits, row_number() OVER (PARTITION BY user_id ORDER BY n DESC)"
        f" AS place FROM profiles WHERE layout >= {CURRENT}"
        f" AND user_id IN (SELECT user_id FROM profiles WHERE {mentions})"
    )
    found = tables.ask(
        "profiles",
        f"SELECT user_id, traits FROM ({newest})"
        f" WHERE place = 1 AND layout = {CURRENT} AND {mentions}",
    )
    rows = zip(found["user_id"].to_pylist(), found["traits"].to_pylist(), strict=True)
    return {user for user, traits in rows if orjson.loads(traits)[trait]["v"] is True}


def joined_ids(tables: Tables) -> Mapping[str, str]:
    """All ids that go by another, with the one they go by."""
    newest = (
        "SELECT user_id, canonical, row_number() OVER (PARTITION BY user_id ORDER BY n DESC)"
        " AS place FROM identities"
    )
    found = tables.ask(
        "identities",
        f"SELECT user_id, canonical FROM ({newest}) WHERE place = 1 AND canonical <> user_id",
    )
    return dict(zip(found["user_id"].to_pylist(), found["canonical"].to_pylist(), strict=True))
