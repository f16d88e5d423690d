"""`headrace validate --output sarif`: what code hosts need of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import headrace.rules
from headrace.cli import main
from headrace.rules.codes import CODES
from rule_folders import write_rules

PACKAGE = Path(headrace.rules.__file__).parent


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_errors_and_warnings(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    folder = Path("my rules")
    write_rules(
        folder,
        {"a": "{did: purchas}", "b": "{did: purchase, within: 2000 days}", "c": "{did: purchas}"},
    )
    assert main(["validate", str(folder), "--output", "sarif"]) == 1
    log = json.loads(capfdbinary.readouterr().out)
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "headrace" and driver["version"]
    assert driver["rules"] == [
        {"id": "HR201", "shortDescription": {"text": "An unknown event"}},
        {"id": "HR302", "shortDescription": {"text": "A window longer than events are kept"}},
    ]
    assert run["columnKind"] == "unicodeCodePoints"
    found = [(one["ruleId"], one["ruleIndex"], one["level"]) for one in run["results"]]
    assert found == [("HR201", 0, "error"), ("HR302", 1, "warning"), ("HR201", 0, "error")]
    assert run["results"][0]["message"] == {
        "text": "unknown event 'purchas' (did you mean 'purchase'?)"
    }
    assert run["results"][0]["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "my%20rules/segments/a.yaml"},
                "region": {"startLine": 5, "startColumn": 16},
            }
        }
    ]


def test_nothing_to_tell(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    folder = write_rules(tmp_path / "rules", {"a": "{did: purchase}"})
    assert main(["validate", str(folder), "--output", "sarif"]) == 0
    (run,) = json.loads(capfdbinary.readouterr().out)["runs"]
    assert run["results"] == [] and run["tool"]["driver"]["rules"] == []


@pytest.mark.parametrize("inside", [True, False], ids=["here", "elsewhere"])
def test_files_are_named_as_seen_from_here(
    inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:  # fmt: skip
    folder = write_rules(tmp_path / "rules", {"a": "{did: purchas}"})
    if not inside:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
    assert main(["validate", str(folder), "--output", "sarif"]) == 1
    (result,) = json.loads(capfdbinary.readouterr().out)["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    file = folder / "segments" / "a.yaml"
    assert uri == ("rules/segments/a.yaml" if inside else file.as_uri())


def test_every_code_is_described() -> None:
    used = {
        code
        for file in PACKAGE.rglob("*.py")
        for code in re.findall(r'"(HR\d{3})"', file.read_text())
    }
    assert {code for code in used if code < "HR900"} - CODES.keys() == set()
