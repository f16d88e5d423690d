"""The life of a segment's versions, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import Run
from headrace.plan.model import Plan
from headrace.store import Store
from rule_folders import CATALOG, spenders, write_rules

FRENCH = "{trait: country, eq: FR}"
GERMAN = "{trait: country, eq: DE}"
ABROAD = "{not: {segment: local}}"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return write_rules(tmp_path / "rules", {"local": FRENCH, "big": spenders(100)})


def states(store: Store, segment: str) -> list[tuple[int, str]]:
    return [(one.version, one.state) for one in store.history(segment).versions]


def planned(store: Store) -> dict[str, int]:
    """The versions of the plan that the stream should run."""
    target = store.target_plan("stream")
    return Plan.from_json(target.text).versions if target else {}


def test_a_draft_changes_nothing_that_runs_until_it_is_activated(
    run: Run, rules: Path, store: Store
) -> None:
    run("apply", rules)
    before = store.target_hash("stream")
    write_rules(rules, {"local": GERMAN, "big": spenders(100)})
    code, out, _ = run("apply", rules, "--draft", "--author", "ann", "--reason", "try it")
    assert (code, out) == (0, "~ local  version 1 -> 2  draft\n")
    assert store.target_hash("stream") == before and planned(store) == {"local": 1, "big": 1}
    assert states(store, "local") == [(1, "active"), (2, "draft")]
    assert "active or drafts already" in run("apply", rules, "--draft")[1]
    code, out, _ = run("activate", "local", "--dry-run")
    assert code == 0 and "~ local  version 1 -> 2" in out
    assert planned(store) == {"local": 1, "big": 1}
    code, out, _ = run("activate", "local")
    assert code == 0 and "~ local  version 1 -> 2" in out
    assert planned(store) == {"local": 2, "big": 1}
    assert states(store, "local") == [(1, "retired"), (2, "active")]
    assert store.verify_audit().broken_at is None


def test_a_draft_that_is_applied_keeps_its_number(run: Run, rules: Path, store: Store) -> None:
    run("apply", rules)
    write_rules(rules, {"local": GERMAN})
    run("apply", rules, "--draft")
    run("apply", rules)
    assert states(store, "local") == [(1, "retired"), (2, "active")]


def test_an_overtaken_draft_becomes_active_under_a_new_number(
    run: Run, rules: Path, store: Store
) -> None:
    run("apply", rules)
    write_rules(rules, {"local": GERMAN})
    run("apply", rules, "--draft")
    write_rules(rules, {"local": "{trait: country, eq: IT}"})
    run("apply", rules)
    code, out, _ = run("activate", "local")
    assert code == 0 and "~ local  version 3 -> 4" in out
    assert states(store, "local") == [
        (1, "retired"),
        (2, "retired"),
        (3, "retired"),
        (4, "active"),
    ]
    assert planned(store)["local"] == 4
    code, _, err = run("activate", "local")
    assert code == 1 and "no draft" in err and "[HR932]" in err


def test_drafts_that_need_each_other_become_active_together(
    run: Run, rules: Path, store: Store, tmp_path: Path
) -> None:
    run("apply", rules)
    write_rules(rules, {"far": "{segment: local_too}", "local_too": GERMAN})
    run("apply", rules, "--draft")
    code, _, err = run("activate", "far")
    assert code == 1 and "postgres:far@1" in err and "unknown segment 'local_too'" in err
    assert run("activate", "far", "local_too")[0] == 0
    assert planned(store) == {"big": 1, "far": 1, "local": 1, "local_too": 1}


def test_a_broken_draft_is_refused_and_one_goes_by_the_catalog_in_force(
    run: Run, rules: Path, store: Store
) -> None:
    run("apply", rules)
    write_rules(rules, {"local": "{trait: contry, eq: FR}"})
    code, _, err = run("apply", rules, "--draft")
    assert code == 1 and "contry" in err and states(store, "local") == [(1, "active")]
    more = CATALOG.replace("country:", "age: {type: integer}\n  country:")
    write_rules(rules, {"local": "{trait: age, gt: 30}"}, more)
    code, _, err = run("apply", rules, "--draft")
    assert code == 0 and "catalog of RULES is not the one in force" in err
    code, _, err = run("activate", "local")
    assert code == 1 and "postgres:local@2" in err and "'age'" in err
    write_rules(rules, {}, more)
    run("apply", rules)
    assert run("activate", "local")[0] == 0


def test_a_rollback_is_a_new_version_of_the_old_text(run: Run, rules: Path, store: Store) -> None:
    run("apply", rules)
    for limit in (200, 300):
        write_rules(rules, {"big": spenders(limit)})
        run("apply", rules)
    code, out, _ = run("rollback", "big", "--dry-run")
    assert code == 0 and "~ big  version 3 -> 4" in out and planned(store)["big"] == 3
    assert run("rollback", "big")[0] == 0
    assert run("rollback", "big", "--to", 1, "--author", "eve")[0] == 0
    found = store.history("big").versions
    assert [one.text for one in found[3:]] == [found[1].text, found[0].text]
    assert [(one.reason, one.author) for one in found[4:]] == [("back to version 1", "eve")]
    assert [one.state for one in found] == [*["retired"] * 4, "active"]
    assert planned(store)["big"] == 5
    assert "no changes" in run("rollback", "big", "--to", 1)[1]
    code, _, err = run("rollback", "big", "--to", 9)
    assert code == 1 and "has no version 9 (it has 1, 2, 3, 4, 5)" in err
    code, _, err = run("rollback", "bigg")
    assert code == 1 and "did you mean 'big'?" in err and "[HR931]" in err


def test_a_retired_segment_is_gone_and_a_rollback_brings_it_back(
    run: Run, rules: Path, store: Store
) -> None:
    run("apply", rules)
    assert "- big  retired" in run("retire", "big", "--dry-run")[1]
    assert planned(store) == {"local": 1, "big": 1}
    code, out, _ = run("retire", "big", "--reason", "nobody used it")
    assert code == 0 and "- big  retired" in out and planned(store) == {"local": 1}
    code, _, err = run("retire", "big")
    assert code == 1 and "'big' is not active" in err
    code, out, _ = run("rollback", "big")
    assert code == 0 and "+ big  version 2" in out and planned(store) == {"local": 1, "big": 2}


def test_what_others_refer_to_is_not_retired(run: Run, rules: Path, store: Store) -> None:
    write_rules(rules, {"local": FRENCH, "abroad": ABROAD})
    run("apply", rules)
    code, _, err = run("retire", "local")
    assert code == 1
    assert err.startswith("postgres:abroad@1:1:1: 'abroad' refers to 'local', which would be gone")
    assert "[HR316]" in err and planned(store) == {"abroad": 1, "local": 1}
    assert run("retire", "local", "abroad")[0] == 0
    assert planned(store) == {}


def test_what_refers_to_a_changed_segment_gets_a_number_of_its_own(
    run: Run, rules: Path, store: Store
) -> None:
    """Readers tell versions apart by number: a number that meant two things would be a blend."""
    write_rules(rules, {"local": FRENCH, "abroad": ABROAD, "big": spenders(100)})
    run("apply", rules)
    write_rules(rules, {"local": GERMAN, "abroad": ABROAD, "big": spenders(100)})
    code, out, _ = run("apply", rules)
    assert code == 0 and "~ abroad  version 1 -> 2  same text, new meaning\n" in out
    assert planned(store) == {"abroad": 2, "big": 1, "local": 2}
    told = json.loads(run("rollback", "local", "--output", "json")[1])
    assert told["renumbered"] == ["abroad"]
    assert planned(store) == {"abroad": 3, "big": 1, "local": 3}
    assert store.history("abroad").versions[-1].reason.startswith("the text stayed")
    code, _, err = run("rollback", "abroad")
    assert code == 1 and "never said anything else" in err


def test_versions_are_told_with_the_one_that_runs(run: Run, rules: Path, store: Store) -> None:
    run("apply", rules, "--author", "ann", "--reason", "launch")
    store.record_execution("stream", store.target_hash("stream") or "", 7)
    write_rules(rules, {"local": GERMAN})
    run("apply", rules, "--author", "bob")
    told = json.loads(run("versions", "local", "--output", "json")[1])
    assert [(one["version"], one["state"], one["runs"], one["author"]) for one in told] == [
        (1, "retired", True, "ann"),
        (2, "active", False, "bob"),
    ]
    code, out, _ = run("versions", "local")
    first = out.splitlines()[1].split()
    assert code == 0 and first[:2] == ["1", "retired"] and first[-3:] == ["ann", "runs", "launch"]
    code, _, err = run("versions", "loca")
    assert code == 1 and "did you mean 'local'?" in err


@pytest.mark.parametrize(
    "words",
    [
        ("apply", "--draft", "--prune"),
        ("activate", "local", "big", "--version", "2"),
        ("activate", "local", "--version", "0"),
    ],
)
def test_words_that_do_not_go_together_are_refused(run: Run, words: tuple[str, ...]) -> None:
    code, _, err = run(*words)
    assert code == 1 and "headrace:" in err and "Traceback" not in err
