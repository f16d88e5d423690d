"""`headrace convert` and `headrace fmt`, as a person runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headrace.cli import main
from headrace.rules.folder import load_rules
from rule_folders import segment, write_rules

SHOP = Path(__file__).parents[2] / "rules"

GERMAN_YAML = """\
apiVersion: headrace/v1
kind: Segment
metadata: {id: german}
spec: {match: {trait: country, eq: DE}}
"""
GERMAN_SQL = """\
-- id: german
SELECT user_id FROM profiles
WHERE country = 'DE'
"""
CATALOG = """\
apiVersion: headrace/v1
kind: Catalog
traits:
  tags: {type: array<string>}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: object) -> int:
    return main([str(word) for word in words])


def written(name: str, text: str) -> Path:
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize(
    ("name", "text", "to", "expected"),
    [
        pytest.param("german.yaml", GERMAN_YAML, "sql", GERMAN_SQL, id="YAML to SQL"),
        pytest.param("german.sql", GERMAN_SQL, "yaml", GERMAN_YAML, id="SQL to YAML"),
        pytest.param("german.sql", "--id: german\nSELECT user_id\nFROM profiles WHERE country='DE'",
            "sql", GERMAN_SQL, id="SQL to SQL"),
    ],
)  # fmt: skip
def test_rules_are_converted(
    name: str, text: str, to: str, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", written(name, text), "--to", to) == 0
    assert capfd.readouterr() == (expected, "")


def test_tests_stay_behind(capfd: pytest.CaptureFixture[str]) -> None:
    tests = "tests: [{name: t, events: [], expect: [{user: a, at: 2026-01-01, member: false}]}]\n"
    assert run("convert", written("german.yaml", GERMAN_YAML + tests), "--to", "sql") == 0
    out, err = capfd.readouterr()
    assert out == GERMAN_SQL
    assert err.startswith("german.yaml: 1 test stays behind: SQL has none (")


def test_the_catalog_beside_a_rule_is_used(capfd: pytest.CaptureFixture[str]) -> None:
    written("rules/catalog.yaml", CATALOG)
    file = written("rules/segments/deep/x.yaml", segment("x", "{trait: tags, contains: a}"))
    assert run("convert", file, "--to", "sql") == 0
    assert "array_contains(tags, 'a')" in capfd.readouterr().out


def test_a_broken_rule_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("convert", written("x.sql", "-- id: x\nSELECT user_id FROM a LIMIT 1"), "--to",
        "yaml") == 1  # fmt: skip
    out, err = capfd.readouterr()
    assert not out and err.startswith("x.sql:2:23: LIMIT is not part of the rule language")
    assert run("convert", "nowhere.sql", "--to", "yaml") == 1
    assert "cannot read nowhere.sql: No such file" in capfd.readouterr().err


def test_formatting_is_canonical_and_done_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(SHOP, "rules")
    before = load_rules("rules")
    written(
        "rules/segments/german.sql", "-- id: german\nselect user_id from profiles where plan='pro'"
    )
    catalog = Path("rules/catalog.yaml").read_text()
    assert run("fmt", "--check") == 1
    named = capfd.readouterr().out.splitlines()
    assert "rules/segments/german.sql" in named
    assert run("fmt", "--drop-comments") in (0, 1)
    capfd.readouterr()
    assert run("fmt", "--check", "rules") == 0
    assert not capfd.readouterr().out
    after = load_rules("rules")
    german = next(one for one in after.segments if one.id == "german")
    assert [one for one in after.segments if one is not german] == list(before.segments)
    assert Path("rules/catalog.yaml").read_text() == catalog


MODELINE = "# yaml-language-server: $schema=x.json\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param(
            "x.yaml",
            f"{MODELINE}# Ask growth.\n\n---\nkind: Segment\n" + GERMAN_YAML.replace(
                "kind: Segment\n", ""),
            f"{MODELINE}# Ask growth.\n{GERMAN_YAML}",
            id="above YAML",
        ),
        pytest.param(
            "x.sql",
            f"-- Ask growth.\n{GERMAN_SQL};",
            f"-- Ask growth.\n{GERMAN_SQL}",
            id="above SQL",
        ),
        pytest.param(
            "x.sql",
            f"-- id: german\n-- Ask growth.\n\n{GERMAN_SQL.split(chr(10), 1)[1]}",
            f"-- Ask growth.\n{GERMAN_SQL}",
            id="in the header",
        ),
        pytest.param(
            "x.yaml",
            GERMAN_YAML.replace("eq: DE", "eq: '# DE'"),
            GERMAN_YAML.replace("eq: DE", 'eq: "# DE"'),
            id="no comment at all",
        ),
    ],
)  # fmt: skip
def test_comments_above_stay(name: str, text: str, expected: str) -> None:
    file = written(name, text)
    assert run("fmt", file) == 0
    assert file.read_text() == expected
    assert run("fmt", "--check", file) == 0


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        pytest.param("x.yaml", GERMAN_YAML + "  # why\n", 5, id="below"),
        pytest.param("x.yaml", GERMAN_YAML.replace("}\nspec", "}  # why\nspec"), 3, id="beside"),
        pytest.param("x.sql", GERMAN_SQL + "-- why\n", 4, id="below SQL"),
        pytest.param("x.sql", GERMAN_SQL.replace("=", "/* why */ ="), 3, id="inside SQL"),
    ],
)
def test_other_comments_are_not_lost_unasked(
    name: str, text: str, line: int, capfd: pytest.CaptureFixture[str]
) -> None:
    file = written(name, text)
    assert run("fmt", file) == 1
    assert capfd.readouterr().err.startswith(f"{name}:{line}: the comment would be lost")
    assert file.read_text() == text
    assert run("fmt", "--drop-comments", file) == 0
    assert "why" not in file.read_text()


def test_a_broken_file_is_left_alone_and_told(capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_rules(Path("rules"), {"good": "{did: purchase}"})
    bad = written("rules/segments/bad.yaml", segment("bad", "{dd: purchase}"))
    text = bad.read_text()
    assert run("fmt", folder) == 1
    out, err = capfd.readouterr()
    assert out == "rules/segments/good.yaml\n" and "bad.yaml:5:10" in err
    assert bad.read_text() == text
    assert "did_you" not in text
