"""`headrace validate`, `test` and `evaluate`, as a person runs them."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from headrace.cli import main
from rule_folders import spenders, write_rules

SHOP = Path(__file__).parents[2] / "rules"
AT = "2026-01-31T00:00:00Z"


def order(user: str, amount: str, ts: str = '"2026-01-30T12:00:00Z"', id: str = "e1") -> str:
    return (
        f'{{"event_id":"{id}","user_id":"{user}","type":"purchase","ts":{ts},'
        f'"properties":{{"amount":{amount}}}}}\n'
    )


EVENTS = (
    order("bob", "1000.01")
    + "not json\n\n"
    + order("ann", "1000")
    + order('a,\\"b', "2000")
    + order("eve", '"1"', id="e2")
    + order("eve", "2000", '"2026-02-01T00:00:00Z"')
    + "[]\n"
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return write_rules(
        tmp_path / "rules",
        {"spender": spenders(1000), "nobody": "{did_not: purchase}"},
    )


@pytest.fixture
def events(tmp_path: Path) -> Path:
    file = tmp_path / "events.jsonl"
    file.write_text(EVENTS, "utf-8")
    return file


def run(*words: object) -> int:
    return main([str(word) for word in words])


EXPECTED = 'segment,user_id\nspender,"a,""b"\nspender,bob\n'


@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_members_come_sorted_and_bad_lines_are_told(
    engine: str, rules: Path, events: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("evaluate", rules, "--events", events, "--at", AT, "--engine", engine) == 0
    out, err = capfdbinary.readouterr()
    assert out.decode() == EXPECTED
    told = [line.removeprefix(f"{events}: ") for line in err.decode().splitlines()]
    assert told == [
        "skipped 1 line: not-an-object (line 8)",
        "skipped 1 line: not-json (line 2)",
        "skipped 1 line: wrong-type (line 6)",
    ]


def test_packed_files_and_standard_input(
    rules: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    packed = tmp_path / "events.jsonl.gz"
    packed.write_bytes(gzip.compress(EVENTS.encode()))
    assert run("evaluate", rules, "--events", packed, "--at", AT) == 0
    assert capfdbinary.readouterr().out.decode() == EXPECTED
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(EVENTS.encode())))
    assert run("evaluate", rules, "--events", "-", "--at", "1769817600000") == 0
    assert capfdbinary.readouterr().out.decode() == EXPECTED


def test_the_plan_of_a_folder_is_explained_without_a_server(
    rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan", "--explain", rules) == 0
    told = capsys.readouterr().out
    assert "sum in tiles of 1h kept 31d  [spender]" in told
    assert "  spender v1 = p1\n    adds 1 slot, 1 measure, 1 predicate\n" in told


def test_a_list_that_is_not_there_is_told(
    tmp_path: Path, events: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rules = write_rules(tmp_path / "listed", {"on": "{not: {list: vip}}"})
    words = ["evaluate", rules, "--events", events, "--at", AT]
    said = "nobody is on the list 'vip': --lists names no vip.csv"
    assert run(*words) == 0
    assert said in capfd.readouterr().err
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "vip.csv").write_text("bob\n")
    assert run(*words, "--lists", tmp_path / "lists") == 0
    assert said not in capfd.readouterr().err


def test_traits_lists_and_other_outputs(
    rules: Path, events: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    traits = tmp_path / "traits.jsonl"
    traits.write_text('{"type":"traits","user_id":"tim","ts":5,"traits":{}}\n')
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "vip.csv").write_text("zoe\nbob\n\n")
    words = ["evaluate", rules, "--events", events, "--traits", traits, "--at", AT]
    words += ["--lists", tmp_path / "lists"]
    for engine in ("kernel", "reference"):
        assert run(*words, "--engine", engine, "--output", "json") == 0
        found = json.loads(capfdbinary.readouterr().out)
        nobody = [row["user_id"] for row in found if row["segment"] == "nobody"]
        assert nobody == ["tim", "zoe"]
    assert run(*words, "--output", "table") == 0
    assert b"segment" in capfdbinary.readouterr().out


def test_explain_shows_values(
    rules: Path, events: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    words = ("evaluate", rules, "--events", events, "--at", AT, "--explain")
    assert run(*words, "ann") == 0
    assert capfdbinary.readouterr().out.decode() == (
        "ann is not in nobody at 2026-01-31T00:00:00Z\n"
        "  fails  {did_not: purchase}  found 1\n"
        "ann is not in spender at 2026-01-31T00:00:00Z\n"
        '  fails  {event: purchase, sum: amount, within: 30 days, gt: 1000}  found "1000"\n'
    )
    assert run(*words, "bob", "--output", "json") == 0
    told = json.loads(capfdbinary.readouterr().out)
    assert [(row["segment"], row["member"]) for row in told] == [
        ("nobody", False),
        ("spender", True),
    ]
    assert told[1]["conditions"][0]["value"] == "1000.01"
    assert run(*words, "stranger") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--events", "gone.jsonl", "--at", AT], "cannot read gone.jsonl: No such file"),
        (["--events", ".", "--at", AT], "cannot read .: Is a directory"),
        (["--events", "broken.gz", "--at", AT], "cannot read broken.gz"),
        (["--events", "events.jsonl", "--at", "noon"], "--at 'noon' is not an instant"),
        (["--events", "events.jsonl", "--at", "1769817600"], "is not an instant"),
        (["--events", "events.jsonl", "--at", AT, "--traits", "gone"], "cannot read gone"),
        (["--events", "events.jsonl", "--at", AT, "--lists", "gone"], "gone does not exist"),
    ],
)
@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_what_cannot_be_used_is_a_sentence(
    words: list[str],
    sentence: str,
    engine: str,
    rules: Path,
    events: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    Path("broken.gz").write_bytes(b"not gzip")
    assert run("evaluate", rules, *words, "--engine", engine) == 1
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert sentence in err.decode() and "Traceback" not in err.decode()


def test_a_broken_rule_stops_with_all_problems(
    tmp_path: Path, events: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    broken = write_rules(
        tmp_path / "rules", {"a": "{did: purchas}", "b": "{trait: contry, eq: DE, ne: FR}"}
    )
    (broken / "segments" / "c.yaml").write_text((broken / "segments" / "a.yaml").read_text())
    for words in (("evaluate", broken, "--events", events, "--at", AT), ("validate", broken)):
        assert run(*words) == 1
        out, err = capfdbinary.readouterr()
        told = (out + err).decode()
        assert "segments/a.yaml:5:16: unknown event 'purchas' (did you mean 'purchase'?)" in told
        assert "segments/b.yaml:5:18: unknown trait 'contry' (did you mean 'country'?)" in told
        assert "segments/b.yaml:5:34: one comparison a condition, not 'eq' and 'ne'" in told
        assert "segments/c.yaml:3:16: duplicate segment id 'a'" in told
        assert "Traceback" not in told


def test_validate(rules: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("validate", rules) == 0
    assert capfdbinary.readouterr().out.decode() == "2 segments, no errors\n"
    (rules / "segments" / "odd.yaml").write_bytes(b"\xff")
    assert run("validate", rules, "--output", "json") == 1
    told = json.loads(capfdbinary.readouterr().out)
    assert told["segments"] == ["nobody", "spender"]
    assert told["problems"][0]["code"] == "HR100"
    assert run("validate", "nowhere") == 1
    assert b"the rules folder nowhere does not exist" in capfdbinary.readouterr().err


def test_warnings_are_told_and_stop_nothing(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    folder = write_rules(tmp_path / "rules", {"a": "{did: purchase, within: 2000 days}"})
    assert run("validate", folder) == 0
    assert "a.yaml:5:34: warning: 2000 days is longer" in capfdbinary.readouterr().out.decode()


def test_a_folder_needs_a_catalog(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "rules").mkdir()
    assert run("validate", tmp_path / "rules") == 1
    assert b"there is no catalog" in capfdbinary.readouterr().out


def test_the_shops_rules_are_sound(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("validate", SHOP) == 0
    assert capfdbinary.readouterr().out.decode() == "25 segments, no errors\n"
