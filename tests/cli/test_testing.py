"""`headrace test`, as a person and a build server run it."""

from __future__ import annotations

import json
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from headrace.cli import main
from rule_folders import spenders, write_rules

SHOP = Path(__file__).parents[2] / "rules"

SPENT = """\
apiVersion: headrace/v1
kind: RuleTest
metadata: {name: money}
segments: [spender]
tests:
  - name: a thousand is not enough
    events: [{user: ann, ts: 2026-01-01T00:00:30Z, type: purchase, amount: 1000.00}]
    expect:
      - {user: ann, at: 2026-01-02T00:00:00Z, member: false}
      - {user: ann, at: 2026-01-02T00:00:00Z, segment: nobody, member: false}
  - name: two are
    events:
      - {user: ann, ts: 2026-01-01T00:00:30Z, type: purchase, amount: 1000}
      - {user: ann, ts: 2026-01-02T00:00:00Z, type: purchase, amount: 0.01}
    expect:
      - {user: ann, at: 2026-01-03T00:00:00Z, member: MEMBER}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def folder(root: Path, *, holds: bool) -> Path:
    segments = {"spender": spenders(1000), "nobody": "{did_not: purchase}"}
    rules = write_rules(root / "rules", segments)
    (rules / "tests" / "money").mkdir(parents=True)
    member = "true" if holds else "false"
    (rules / "tests" / "money" / "spent.yaml").write_text(SPENT.replace("MEMBER", member))
    return rules


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_shops_rules_hold_what_their_tests_say(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    assert run("test", SHOP) == 0
    assert capfdbinary.readouterr().out.decode() == "160 of 160 expectations hold\n"


def test_a_failure_shows_values_and_what_time_does(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    rules = folder(tmp_path, holds=False)
    assert run("test", rules) == 1
    assert capfdbinary.readouterr().out.decode() == (
        f"{rules}/tests/money/spent.yaml:16:9: spender: two are:"
        " ann is a member at 2026-01-03T00:00:00Z\n"
        "  holds  {event: purchase, sum: amount, within: 30 days, gt: 1000}"
        '  found "1000.01"\n'
        "  time alone changes that at 2026-01-31T01:00:00Z\n"
        "2 of 3 expectations hold\n"
    )


def test_an_example_beside_a_rule_is_run_too(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    rules = folder(tmp_path, holds=True)
    file = rules / "segments" / "spender.yaml"
    file.write_text(
        file.read_text()
        + "tests:\n"
        + "  - name: a thousand is enough\n"
        + "    events: [{user: ann, ts: 2026-01-01T00:00:00Z, type: purchase, amount: 1000}]\n"
        + "    expect:\n"
        + "      - {user: ann, at: 2026-01-02T00:00:00Z, member: true}\n"
        + "      - {user: bob, at: 2026-01-02T00:00:00Z, member: true}\n"
    )
    assert run("test", rules) == 1
    told = capfdbinary.readouterr().out.decode().splitlines()
    place = f"{rules}/segments/spender.yaml"
    assert told == [
        f"{place}:10:9: spender: a thousand is enough: ann is not a member at 2026-01-02T00:00:00Z",
        '  fails  {event: purchase, sum: amount, within: 30 days, gt: 1000}  found "1000"',
        "  time alone never changes that",
        f"{place}:11:9: spender: a thousand is enough:"
        " bob is not a member at 2026-01-02T00:00:00Z: nothing is known of bob",
        "3 of 5 expectations hold",
    ]


def test_as_json(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("test", folder(tmp_path, holds=False), "--output", "json") == 1
    told = json.loads(capfdbinary.readouterr().out)
    assert [one["holds"] for one in told] == [True, True, False]
    assert told[2]["conditions"] == [
        {
            "condition": "{event: purchase, sum: amount, within: 30 days, gt: 1000}",
            "value": "1000.01",
            "holds": True,
        }
    ]
    assert told[2]["changes_at"] == "2026-01-31T01:00:00Z"
    assert (told[2]["line"], told[2]["column"]) == (16, 9)


def test_as_junit(tmp_path: Path) -> None:
    assert run("test", folder(tmp_path, holds=False), "--junit", "out.xml") == 1
    (suite,) = ET.parse("out.xml").getroot().findall("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    cases = suite.findall("testcase")
    assert [case.get("classname") for case in cases] == ["spender", "nobody", "spender"]
    failure = cases[2].find("failure")
    assert failure is not None and failure.text is not None
    assert failure.get("message") == "ann is a member at 2026-01-03T00:00:00Z"
    assert "found" in failure.text
    assert run("test", "rules", "--junit", "no/where.xml") == 1


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("spender", 2), ("nobo*", 1), ("two are", 1), ("money", 3), ("m?ne*", 3)],
)
def test_select(
    pattern: str, count: int, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("test", folder(tmp_path, holds=True), "--select", pattern) == 0
    assert capfdbinary.readouterr().out.decode() == f"{count} of {count} expectations hold\n"


def test_select_nothing_is_a_mistake(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("test", folder(tmp_path, holds=True), "--select", "nought") == 1
    assert b"no test or segment is named 'nought'" in capfdbinary.readouterr().err


def test_broken_tests_are_told_by_validate_too(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    rules = folder(tmp_path, holds=True)
    file = rules / "tests" / "money" / "spent.yaml"
    file.write_text(file.read_text().replace("segment: nobody", "segment: nobdy"))
    for command in ("test", "validate"):
        assert run(command, rules) == 1
        told = b"".join(capfdbinary.readouterr()).decode()
        assert "spent.yaml:10:9: a test of an unknown segment 'nobdy'" in told
        assert "did you mean 'nobody'?" in told


def test_a_hundred_tests_take_no_time(tmp_path: Path) -> None:
    rules = folder(tmp_path, holds=True)
    head, _, body = SPENT.replace("MEMBER", "true").partition("tests:\n")
    for number in range(50):
        (rules / "tests" / f"t{number}.yaml").write_text(f"{head}tests:\n{body}")
    started = time.perf_counter()
    assert run("test", rules) == 0
    assert time.perf_counter() - started < 2
