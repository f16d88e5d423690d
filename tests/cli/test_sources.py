"""``headrace sources``, on a real Postgres."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest

from headrace.store import Store
from headrace.store.sources import hashed

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def headrace(on_postgres: Run) -> Run:
    return partial(on_postgres, "sources")


def test_story_of_a_source(headrace: Run, database_url: str) -> None:
    code, key, said = headrace("add", "shop", "--origin", "https://shop.example", "--no-joins")
    assert (code, key[:4], len(key.strip())) == (0, "hrw_", 47)
    assert "shown only now" in said
    store = Store(database_url)
    (source,) = store.sources()
    assert source.key_hash == hashed(key.strip()) and key.strip() not in repr(source)
    assert (source.origins, source.may_join, source.may_delete) == (
        ("https://shop.example",), False, False,
    )  # fmt: skip

    code, _, said = headrace("add", "shop")
    assert code == 1 and "already" in said and "[HR944]" in said
    assert headrace("revoke", "shop")[0] == 0
    code, _, said = headrace("revoke", "shop")
    assert code == 1 and "there are: none" in said

    words = ("add", "shop", "--may-delete", "--bots", "flag", "--test", "--output", "json")
    again = json.loads(headrace(*words)[1])
    assert (again["bots"], again["is_test"]) == ("flag", True)
    assert again["may_delete"] and again["key"] != key.strip()
    listed = headrace("list")[1]
    assert listed.count("shop ") == 2 and again["key"] not in listed and key.strip() not in listed
    rows = json.loads(headrace("list", "--output", "json")[1])
    assert [row["revoked_at"] is None for row in rows] == [False, True]
    verdict = store.verify_audit()
    assert (verdict.rows, verdict.broken_at) == (3, None)
    store.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("Shop",), "a-z"),
        (("shop", "--origin", "shop.example"), "https://shop.example"),
        (("shop", "--origin", "https://shop.example/page"), "https://shop.example"),
        (("shop", "--origin", "*"), "https://shop.example"),
        (("shop", "--rate", "0"), "rate"),
    ],
)
def test_what_cannot_be_is_told(headrace: Run, words: tuple[str, ...], told: str) -> None:
    code, out, said = headrace("add", *words)
    assert (code, out) == (1, "")
    assert told in said and "Traceback" not in said
