"""The hourly evaluation of all segments, and those by cron lines, as Airflow reads them."""

from __future__ import annotations

import pytest

JOB = ["jobs/recompute_segments.py", "--target", "local"]


def test_the_hourly_run(parsed):
    dag = parsed["evaluate_segments"]
    assert dag["schedule"] == "0 * * * *"
    assert (dag["max_active_runs"], dag["catchup"]) == (1, False)


@pytest.mark.parametrize(
    ("run", "id", "instant", "folder"),
    [
        pytest.param(
            "scheduled", "s1", "2026-01-02T05:00:00+00:00", "20260102T050000Z", id="scheduled"
        ),
        pytest.param(
            "by hand", "h1", "2026-01-02T05:07:03+00:00", "20260102T050703Z", id="by hand"
        ),
    ],
)
def test_a_run_asks_for_its_instant_and_then_for_parity(parsed, words, run, id, instant, folder):
    asked = [words(task) for task in parsed["evaluate_segments"]["runs"][run]]
    output = f"/data/evaluations/{folder}"
    at_instant, against_stream = (
        f"evaluate_segments/{task}/{id}" for task in ("at_instant", "against_stream")
    )
    assert asked == [
        [*JOB, "--at", instant, "--output", output, "--run-id", at_instant],
        [*JOB, "--run-id", against_stream],
    ]


def test_what_a_run_is_given_never_becomes_shell(parsed, project, words):
    task = dict(parsed["evaluate_segments"]["runs"]["scheduled"][0])
    task["env"] = {**task["env"], "TARGET": "$(touch hacked); local"}
    assert words(task)[2] == "$(touch hacked); local"
    assert not (project / "hacked").exists()


def test_each_cron_line_has_a_dag_for_exactly_its_segments(parsed, words):
    lines = {
        "evaluate_0_3_x_x_1": ("0 3 * * 1", ["buyers", "weekly"]),
        "evaluate_xby15_8-18_x_x_1.3": ("*/15 8-18 * * 1,3", ["often"]),
    }
    made = {name for name in parsed if name.startswith("evaluate_")} - {"evaluate_segments"}
    assert made == lines.keys()
    for name, (line, segments) in lines.items():
        dag = parsed[name]
        assert (dag["schedule"], dag["max_active_runs"], dag["catchup"]) == (line, 1, False)
        assert dag["outlets"] == [f"headrace://segments/{segment}" for segment in segments]
        [task] = dag["runs"]["scheduled"]
        run_id = f"{name}/evaluate/s1"
        at = ["--at", "2026-01-02T05:00:00+00:00"]
        assert words(task) == [*JOB, *at, "--keep", "--run-id", run_id, "--segments", *segments]


def test_the_schedules_are_written_where_the_dags_read_them(parsed, words, project):
    [task] = parsed["refresh_schedules"]["runs"]["scheduled"]
    written = str(project / ".headrace" / "schedules.json")
    assert words(task) == ["--target", "local", "schedules", "--write", written]
