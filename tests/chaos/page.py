"""docs/reliability.md, of what the last run of each trial found: `python tests/chaos/page.py`.

A trial leaves its figures under .cache/chaos, with what it ran on; trials may be run apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from circumstances import ROOT, circumstances

KEPT = ROOT / ".cache" / "chaos"
PAGE = ROOT / "docs" / "reliability.md"

TRIALS = {
    "storm": """Everything dies. Traffic with repeats, late events, garbage, joins and deletions;
        rules change back and forth; before each kill some of that at random. A kill is SIGKILL to
        the streaming job, broker, Postgres, Redis, loader, watcher, API or event API, or to the
        session of the process that first reaches a place in the code: around each commit of a
        batch, amid publishing, compaction, a backfill, a hand-over. Whatever died is started again.
        At times Postgres hangs instead, and two batches must pass meanwhile. Every few
        kills all memberships that the API serves are held against the reference evaluator over all
        that was sent, and sent = accepted + repeats + quarantined. All the time a reader asks for
        users who are in a segment that nobody leaves: the answer is yes or 503. At the end
        Postgres is away for long: no read may fail.""",
    "failovers": """As the storm, with `stream.reserve`: a second streaming job waits, warm, and
        only the first is killed, when the other has been in reserve for two to three minutes. From
        the death to the first batch that ends after it, and an answer of the API.""",
    "lives": """Whole lives of deployments without servers, by dice: facts in any order, doubled,
        late and ahead; joins and deletions; batches that die and are repeated; clocks set back;
        rules that come, go and come back, with history built meanwhile or given up; states told
        anew. Whenever the dice say so, members are held against the reference evaluator, and the
        messages so far against the members.""",
    "rule_changes": """A rule changes under load, while readers of two API processes watch: applied,
        drafted and activated, rolled back, ended and brought back, some with history to build
        first. No answer may be of no version whole, and from the first reader who sees the new to
        the last who sees the old may be no second.""",
    "backfills": """A rule needs history. The job dies by SIGKILL amid building it, again and again,
        while events come, then may end; the rule is taken back and given once more, to build the
        same history uninterrupted. Both times all that is served is held against the reference
        evaluator.""",
    "stops": """The stream is told to stop at random instants while events come. No stop may raise
        or take over 15 s, and in the end the members are those of the reference evaluator.""",
}
TRACED = (
    "Where a trial finds differences, `docs/decisions/` says what they were: those of an earlier"
    " storm of 2026-11-22, seed 20261126, were the trial's own (24)."
)
SCRIPTS = {"failovers": "storm.py --reserve"}
BROKEN = """A story of deaths and restarts, told to the build as it is, in which nothing may be
    wrong, and to builds with one protection taken away, in each of which something must be."""


def keep(trial: str, figures: Mapping[str, Any]) -> None:
    """Note what ``trial`` found, on what machine and commit."""
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{trial}.json").write_text(json.dumps({"ran": circumstances(), **figures}, indent=2))


def page() -> str:
    """The whole page, of the trials that have been run."""
    lines = ["# Reliability: the last trials", "", "Written by `make chaos`; do not edit.", ""]
    lines += [TRACED, ""]
    for trial, about in TRIALS.items():
        file = KEPT / f"{trial}.json"
        if file.exists():
            lines += [
                f"## `tests/chaos/{SCRIPTS.get(trial, f'{trial}.py')}`",
                "",
                *_wrapped(about),
                "",
            ]
            figures = json.loads(file.read_text())
            lines += [f"- {figures.pop('ran')}", "", *_table(figures), ""]
    verdicts = KEPT / "mutations.xml"
    if verdicts.exists():
        lines += ["## `tests/chaos/mutations.py`", "", *_wrapped(BROKEN), "", *_broken(verdicts)]
    return "\n".join(lines).rstrip() + "\n"


def _wrapped(text: str) -> list[str]:
    return [" ".join(text.split())]


def _table(figures: Mapping[str, Any]) -> list[str]:
    rows = ["| | |", "| --- | --: |"]
    for name, value in figures.items():
        parts = [f"{key} {one}" for key, one in value.items()] if isinstance(value, dict) else []
        rows.append(f"| {name} | {', '.join(parts) if parts else value} |")
    return rows


def _broken(verdicts: Path) -> list[str]:
    suite = ElementTree.parse(verdicts).getroot().find("testsuite")
    assert suite is not None, f"{verdicts} is not of pytest"
    rows = ["| build | |", "| --- | --- |"]
    for case in suite.iter("testcase"):
        name = case.attrib["name"].removeprefix("test_").replace("_", " ")
        failed = case.find("failure") is not None or case.find("error") is not None
        rows.append(f"| {name} | {'NOT as it must be' if failed else 'as it must be'} |")
    return [*rows, "", f"Ran {suite.attrib['timestamp'][:16].replace('T', ' ')}."]


if __name__ == "__main__":
    PAGE.write_text(page())
