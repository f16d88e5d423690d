"""`headrace catalog infer`, as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.cli import main
from headrace.plan.text import catalog_in
from headrace.rules.catalog import Field

EVENT = (
    '{"event_id": "%s", "user_id": "ann", "type": "order", "ts": 1767225600000,'
    ' "properties": {"total": %s}}\n'
)


def test_a_catalog_from_events_and_what_is_a_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orders.jsonl"
    values = ("1.5", "2", '"three"')
    file.write_text("".join(EVENT % pair for pair in enumerate(values)) + "not json\n")
    assert main(["catalog", "infer", "--events", str(file)]) == 0
    said = capsys.readouterr()
    assert "total: {type: decimal}" in said.out
    assert "order.total is 2 times decimal, but 1 string: taken as decimal" in said.err
    assert "orders.jsonl" in said.err and "not-json" in said.err
    assert main(["catalog", "infer", "--events", str(file), "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["refused"]) == len(told["doubts"]) == 1
    proposed = catalog_in(told["catalog"])
    assert proposed.events["order"].properties == {"total": Field("decimal")}


def test_a_file_without_an_event_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "nothing.jsonl"
    file.write_text("[]\n")
    assert main(["catalog", "infer", "--events", str(file)]) == 1
    assert "no line is an event or sets traits" in capsys.readouterr().err
