"""``headrace keys``, on a real Postgres."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from headrace.store import Store
from headrace.store.sources import hashed

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def headrace(on_postgres: Run) -> Run:
    return partial(on_postgres, "keys")


def test_story_of_a_key(headrace: Run, database_url: str) -> None:
    code, text, said = headrace("add", "shop", "--role", "viewer", "--days", "30")
    first = text.strip()
    assert (code, first[:4], len(first)) == (0, "hrk_", 47) and "shown only now" in said
    store = Store(database_url)
    (key,) = store.api_keys()
    assert key.key_hash == hashed(first) and first not in repr(key)
    assert key.may == {"read"} and key.expires_at is not None
    assert 29 < (key.expires_at - datetime.now(UTC)).days + 1 <= 30

    code, _, said = headrace("add", "shop", "--role", "admin")
    assert code == 1 and "already" in said and "[HR964]" in said
    code, text, said = headrace("rotate", "shop", "--hours", "2")
    second = text.strip()
    assert code == 0 and second != first and "ends at" in said
    old, new = store.api_keys()
    assert (old.key_hash, new.key_hash) == (hashed(first), hashed(second))
    assert old.expires_at is not None and new.expires_at == key.expires_at
    assert old.expires_at < datetime.now(UTC) + timedelta(hours=2, seconds=1)
    assert all(one.is_open(datetime.now(UTC)) for one in (old, new)), "both, for two hours"

    used = datetime.now(UTC)
    store.note_api_keys_used({hashed(second): used})
    store.note_api_keys_used({hashed(second): used - timedelta(days=1)})
    assert store.api_keys()[1].last_used_at == used
    assert headrace("revoke", "shop")[0] == 0
    assert not any(one.is_open(datetime.now(UTC)) for one in store.api_keys())
    for words in (("revoke", "shop"), ("rotate", "shop")):
        code, _, said = headrace(*words)
        assert code == 1 and "there are: none" in said and "[HR966]" in said

    again = json.loads(
        headrace("add", "shop", "--role", "viewer", "--reveal", "--output", "json")[1]
    )
    assert again["may"] == ["read", "reveal"] and again["key"] not in headrace("list")[1]
    rows = json.loads(headrace("list", "--output", "json")[1])
    assert [row["is_open"] for row in rows] == [False, False, True]
    verdict = store.verify_audit()
    assert (verdict.rows, verdict.broken_at) == (4, None)
    store.close()


def test_what_is_no_key_is_told(headrace: Run) -> None:
    code, _, said = headrace("add", "Shop!", "--role", "viewer")
    assert code == 1 and "a key's name has" in said
    code, _, said = headrace("add", "shop", "--role", "boss")
    assert code == 1 and "viewer" in said
    assert headrace("add", "shop")[0] == 1
