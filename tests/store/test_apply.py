"""Applying rules: versions that never change, one transaction, everything on record."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, IntegrityError

from headrace.errors import RuleError
from headrace.rules.folder import load_rules
from headrace.rules.source import Rules
from headrace.store import Applied, Created, Store
from headrace.store.connection import Database
from rule_folders import CATALOG, spenders, write_rules

FRENCH = "{trait: country, eq: FR}"
GERMAN = "{trait: country, eq: DE}"

Write = Callable[..., Rules]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(segments: dict[str, str], catalog: str = CATALOG) -> Rules:
        return load_rules(write_rules(tmp_path / "rules", segments, catalog))

    return written


def standing(applied: Applied) -> dict[str, int]:
    return {active.segment.id: active.version for active in applied.active}


def count(url: str, table: str) -> int:
    with Database(url).begin() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM headrace.{table}")).scalar_one())


def test_story_of_a_segment(store: Store, write: Write) -> None:
    first = store.apply(write({"big": spenders(100), "french": FRENCH}), "ann", "launch")
    assert first.created == (Created("big", 1, None), Created("french", 1, None))
    assert first.catalog_changed
    second = store.apply(write({"big": spenders(200), "french": FRENCH}), "bob")
    assert second.created == (Created("big", 2, 1),)
    assert (second.unchanged, second.retired, second.catalog_changed) == (("french",), (), False)
    back = store.apply(write({"big": spenders(100)}), "bob")
    assert back.created == (Created("big", 3, 2),), "an old text is a new version"
    assert standing(back) == {"big": 3, "french": 1}, "what RULES does not name stays"
    pruned = store.apply(write({"big": spenders(100)}), "bob", prune=True)
    assert (pruned.retired, standing(pruned)) == (("french",), {"big": 3})
    again = store.apply(write({"big": spenders(100), "french": FRENCH}), "bob")
    assert standing(again) == {"big": 3, "french": 2}, "numbers are never given twice"

    big = store.history("big").versions
    assert [(v.version, v.state, v.author) for v in big] == [
        (1, "retired", "ann"),
        (2, "retired", "bob"),
        (3, "active", "bob"),
    ]
    assert big[0].content_hash == big[2].content_hash != big[1].content_hash
    assert big[0].reason == "launch" and big[0].retired_at is not None
    assert [v.segment for v in store.active_versions()] == [a.segment for a in again.active]


def test_unchanged_rules_leave_no_trace(store: Store, write: Write, database_url: str) -> None:
    rules = {"big": spenders(100), "french": FRENCH}
    store.apply(write(rules), "ann")
    before = [count(database_url, t) for t in ("segment_versions", "catalogs", "audit")]
    again = store.apply(write(rules), "bob", "for fun")
    assert again.is_empty
    assert [count(database_url, t) for t in ("segment_versions", "catalogs", "audit")] == before


def test_comments_and_tests_are_no_change(store: Store, write: Write, tmp_path: Path) -> None:
    store.apply(write({"french": FRENCH}), "ann")
    file = tmp_path / "rules" / "segments" / "french.yaml"
    file.write_text("# vive\n" + file.read_text())
    assert store.apply(load_rules(tmp_path / "rules"), "ann").is_empty


def test_broken_rules_change_nothing(store: Store, write: Write) -> None:
    store.apply(write({"big": spenders(100)}), "ann")
    broken = write(
        {
            "big": "{event: purchase, sum: amuont, gt: 5}",
            "french": "{trait: contry, eq: FR}",
            "german": GERMAN,
        }
    )
    with pytest.raises(RuleError) as refused:
        store.apply(broken, "ann")
    assert len(refused.value.problems) == 2
    assert [(v.segment_id, v.version) for v in store.active_versions()] == [("big", 1)]


def test_a_new_catalog_must_suit_the_segments_left_alone(store: Store, write: Write) -> None:
    store.apply(write({"french": FRENCH}), "ann")
    smaller = CATALOG.replace("country: {type: string}", "age: {type: integer}")
    with pytest.raises(RuleError, match=r"postgres:french@1.*country"):
        store.apply(write({"big": spenders(100)}, smaller), "ann")
    catalog = store.catalog()
    assert catalog is not None and set(catalog.traits) == {"country"}
    pruned = store.apply(write({"big": spenders(100)}, smaller), "ann", prune=True)
    assert pruned.catalog_changed and standing(pruned) == {"big": 1}


def test_appliers_at_once_make_one_version(store: Store, write: Write, database_url: str) -> None:
    rules = write({f"s{number}": spenders(number + 1) for number in range(20)})
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda who: store.apply(rules, who), "abcd"))
    assert sorted(len(applied.created) for applied in done) == [0, 0, 0, 20]
    assert count(database_url, "segment_versions") == 20
    assert store.verify_audit().broken_at is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE headrace.segment_versions SET text = text || ' '",
        "UPDATE headrace.segment_versions SET content_hash = 'x'",
        "UPDATE headrace.segment_versions SET author = 'mallory'",
        "DELETE FROM headrace.segment_versions",
        "UPDATE headrace.audit SET actor = 'mallory'",
        "DELETE FROM headrace.audit",
        "TRUNCATE headrace.audit",
        "TRUNCATE headrace.segment_versions",
        "UPDATE headrace.catalogs SET text = ''",
        "UPDATE headrace.registry SET id = id + 1",
    ],
)
def test_history_cannot_be_rewritten(
    store: Store, write: Write, database_url: str, statement: str
) -> None:
    store.apply(write({"big": spenders(100)}), "ann")
    store.ids("slot", ["a"])
    with (
        pytest.raises((IntegrityError, DatabaseError), match="immutable"),
        Database(database_url).begin() as connection,
    ):
        connection.execute(text(statement))


@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("UPDATE headrace.audit SET actor = 'mallory' WHERE id = 2", 2),
        ("UPDATE headrace.audit SET after = '{}' WHERE id = 1", 1),
        ("UPDATE headrace.audit SET before = '{}' WHERE id = 3", 3),
        ("UPDATE headrace.audit SET at = at + interval '1 microsecond' WHERE id = 3", 3),
        ("DELETE FROM headrace.audit WHERE id = 2", 3),
        ("UPDATE headrace.audit SET id = id + 1", 2),
    ],
)
def test_an_altered_audit_log_is_noticed(
    store: Store, write: Write, database_url: str, statement: str, place: int
) -> None:
    store.apply(write({"big": spenders(100), "french": FRENCH}), "ann", "ünïcode")
    whole = store.verify_audit()
    assert (whole.rows, whole.broken_at) == (3, None)
    with Database(database_url).begin() as connection:
        # What only the owner of the tables can do.
        connection.execute(text("ALTER TABLE headrace.audit DISABLE TRIGGER ALL"))
        connection.execute(text("ALTER TABLE headrace.audit DROP CONSTRAINT audit_pkey"))
        connection.execute(text(statement))
    assert store.verify_audit().broken_at == place
