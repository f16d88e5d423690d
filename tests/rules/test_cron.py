"""Segments recomputed by a cron line: which lines are such, and who may refer to such segments."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from headrace.plan.build import SegmentVersion, batch_plan, build_plan, streamed
from headrace.plan.model import JobParameters
from headrace.plan.registry import MemoryRegistry
from headrace.rules.folder import load_rules
from headrace.rules.schema import segment_schema
from headrace.rules.sql import print_sql, read_sql
from headrace.rules.yaml import parse_segment, print_segment, read_segment
from rule_folders import write_rules

CATALOG = "apiVersion: headrace/v1\nkind: Catalog\nevents: {login: {properties: {}}}\ntraits: {}\n"
HEAD = "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: x}\nspec:\n  match: {did: login}\n"


def text(refresh: str) -> str:
    return f'{HEAD}  refresh: "{refresh}"\n'


@pytest.mark.parametrize(
    ("line", "canonical"),
    [
        pytest.param("continuous", "continuous", id="the default"),
        pytest.param("0 3 * * 1", "0 3 * * 1", id="Mondays at three"),
        pytest.param(" 0  3 * * 1 ", "0 3 * * 1", id="blanks mean nothing"),
        pytest.param("*/15 0-6 1,15 1-12/3 0,7", "*/15 0-6 1,15 1-12/3 0,7", id="every form"),
        pytest.param("59 23 31 12 7", "59 23 31 12 7", id="the greatest of each"),
    ],
)
def test_cron_lines_are_read_printed_and_fit_the_schema(line: str, canonical: str) -> None:
    segment = parse_segment(text(line))
    assert segment.refresh == canonical
    assert segment.is_batch_only == (canonical != "continuous")
    assert parse_segment(print_segment(segment)) == segment
    assert read_sql(print_sql(segment)).segment == segment
    document = {
        "apiVersion": "headrace/v1",
        "kind": "Segment",
        "metadata": {"id": "x"},
        "spec": {"match": {"did": "login"}, "refresh": line},
    }
    jsonschema.Draft202012Validator(segment_schema()).validate(document)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("60 * * * *", "60 is not from 0 to 59 as minute", id="minute"),
        pytest.param("0 24 * * *", "24 is not from 0 to 23 as hour", id="hour"),
        pytest.param("0 0 0 * *", "0 is not from 1 to 31 as day of the month", id="day"),
        pytest.param("0 0 * 13 *", "13 is not from 1 to 12 as month", id="month"),
        pytest.param("0 0 * * 8", "8 is not from 0 to 7 as day of the week", id="weekday"),
        pytest.param("0 0 * * MON", "'MON' is not *, a number or a range", id="names"),
        pytest.param("9-5 * * * *", "the range '9-5' ends before it begins", id="a range"),
        pytest.param("*/0 * * * *", "the step of '*/0' is not from 1 to 59", id="a step of none"),
        pytest.param("5/2 * * * *", "the step of '5/2' needs a range", id="a step of a number"),
        pytest.param("1,,2 * * * *", "'' is not *, a number or a range", id="an empty part"),
        pytest.param("0 3 * *", "4 fields, not 5", id="four fields"),
        pytest.param("0 3 * * * 2026", "6 fields, not 5", id="six fields"),
        pytest.param("@daily", "1 fields, not 5", id="a nickname"),
        pytest.param("٣ 3 * * *", "'٣' is not *", id="digits of another script"),
        pytest.param("sometimes", "'refresh' is 'continuous' or a cron line", id="a word"),
    ],
)
def test_other_lines_are_refused_with_a_hint(line: str, message: str) -> None:
    (problem,) = read_segment(text(line)).problems
    assert problem.code == "HR117"
    assert message in problem.message
    assert "every Monday" in problem.hint
    assert (problem.place.line, problem.place.column) == (6, 12)


SEGMENTS = {
    "active": "{did: login, within: 1 day}",
    "weekly": "{all: [{segment: active}, {did: login}]}\n  refresh: 0 3 * * 1",
}


def test_a_continuous_segment_does_not_refer_to_one_in_batch_only(tmp_path: Path) -> None:
    assert not load_rules(write_rules(tmp_path / "fine", SEGMENTS, CATALOG)).errors
    wrong = {**SEGMENTS, "now": "{segment: weekly}"}
    (problem,) = load_rules(write_rules(tmp_path / "wrong", wrong, CATALOG)).errors
    assert problem.code == "HR309"
    assert problem.message == "'now' is continuous and 'weekly' is batch only (cron)"


def test_the_stream_leaves_it_out_and_batch_has_nothing_else(tmp_path: Path) -> None:
    rules = load_rules(write_rules(tmp_path, SEGMENTS, CATALOG)).require()
    versions = [SegmentVersion(segment, 1) for segment in rules.segments]
    job = JobParameters()
    kept = build_plan(streamed(versions), rules.catalog, MemoryRegistry(), job)
    assert [program.segment for program in kept.programs] == ["active"]
    beside = batch_plan(versions, rules.catalog, job)
    assert [program.segment for program in beside.programs] == ["weekly"]
