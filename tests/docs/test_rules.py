"""Every condition that docs/rules.md shows is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from headrace.rules.checks import check_segment
from headrace.rules.folder import load_rules
from headrace.rules.model import Function, Operator
from headrace.rules.printer import print_segment
from headrace.rules.sql import print_sql, read_sql
from headrace.rules.yaml import parse_catalog, read_segment
from rule_folders import write_rules

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "rules.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = [
    line.removeprefix("- ").partition("  #")[0].strip()
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("- ")
]
SPECS = [block for block in BLOCKS if not block.startswith(("- ", "traits:", "events:"))]
EVENTS = [block for block in BLOCKS if block.startswith("events:")]
TRAITS = [block for block in BLOCKS if block.startswith("traits:")]
STATEMENTS = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_all_of_them_pass_the_checks_together(tmp_path: Path) -> None:
    rules = {
        f"shown_{number}": text if text[0] == "{" else f"{{{text}}}"
        for number, text in enumerate(SHOWN)
    }
    catalog = (ROOT / "rules" / "catalog.yaml").read_text()
    folder = write_rules(tmp_path, {**rules, "loyal_customer": "{did: purchase}"}, catalog)
    found = load_rules(folder)
    assert not [str(problem) for problem in found.problems if problem.severity == "error"]
    assert len(found.segments) == len(SHOWN) + 1 > 20


@pytest.mark.parametrize("spec", SPECS)
def test_specs_are_canonical(spec: str) -> None:
    assert spec.startswith("spec:")
    read = read_segment(f"apiVersion: headrace/v1\nkind: Segment\nmetadata: {{id: x}}\n{spec}")
    assert read.segment is not None and not read.problems
    assert not check_segment(read.segment, load_rules(ROOT / "rules").catalog, read.places)
    assert print_segment(read.segment).endswith(f"\n{spec}")


@pytest.mark.parametrize("traits", TRAITS)
def test_traits_are_those_of_a_catalog(tmp_path: Path, traits: str) -> None:
    events = (ROOT / "rules" / "catalog.yaml").read_text().partition("traits:")[0]
    rules = {"big": "{trait: lifetime_value, gt: 1000}"}
    found = load_rules(write_rules(tmp_path, rules, events + traits))
    assert not found.problems
    assert {*found.catalog.traits, *found.catalog.computed} == {
        line.partition(":")[0].strip() for line in traits.splitlines()[1:]
    }


@pytest.mark.parametrize("events", EVENTS)
def test_events_are_those_of_a_catalog(events: str) -> None:
    catalog = parse_catalog(f"apiVersion: headrace/v1\nkind: Catalog\n{events}")
    assert catalog.events["purchase"].publish


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements_are_canonical(statement: str) -> None:
    catalog = load_rules(ROOT / "rules").catalog
    read = read_sql(statement)
    assert read.segment is not None and not read.problems
    assert not check_segment(read.segment, catalog, read.places)
    assert print_sql(read.segment, catalog) == statement


@pytest.mark.parametrize("word", [*get_args(Function), *get_args(Operator)])
def test_every_function_and_operator_is_named(word: str) -> None:
    assert re.search(rf"[ `]{word}[ `:]", PAGE)
