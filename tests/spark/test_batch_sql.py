"""Segments in SQL on Spark: who is in them, and what their statements see."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
import pytest

from deployment import Deployment
from headrace.cli import main
from headrace.clock import DAY, format_instant, parse_instant
from headrace.errors import OperatorError, RuleError
from headrace.jobs.evaluate_spark import evaluated
from headrace.jobs.recompute import run
from headrace.plan.build import build_plan
from headrace.plan.model import JobParameters
from headrace.plan.registry import MemoryRegistry
from headrace.rules.catalog import Catalog
from headrace.rules.folder import load_rules
from headrace.rules.sql.batch import read_batch_sql
from headrace.rules.sql.draft import Draft
from headrace.runtime import publish
from headrace.spark.evaluate import evaluate_facts
from headrace.spark.session import Session
from rule_folders import spenders, write_rules

AT = parse_instant("2026-01-31T12:00:00Z")
FACTS = "user_id string, sent_id string, event_id string, type string, ts long, properties string"


def fact(user: str, kind: str, days: float, number: int, **properties: object) -> tuple:
    text = orjson.dumps(properties).decode()
    return (user, user, f"{kind}-{number}", kind, AT - int(days * DAY), text, 0, number, AT)


HAPPENED = [
    ("ann", "purchase", 1, {"amount": 30}),
    ("ann", "purchase", 2, {"amount": 50}),
    ("ann", "purchase", 40, {"amount": 900}),
    ("bob", "purchase", 3, {"amount": "many"}),
    ("bob", "purchase", 4, {"amount": 10.5}),
    ("bob", "traits", 9, {"country": "FR", "tier": "gold"}),
    ("bob", "traits", 5, {"country": "DE", "tier": None}),
    ("cleo", "page_view", 1, {"page": "/it's"}),
    ("dan", "traits", 80, {"country": "DE", "list:vip": True}),
    ("eve", "purchase", 1, {"amount": 70}),
    ("eve", "delete", 0.5, {}),
    ("anon", "page_view", 2, {"page": "/"}),
    ("cleo", "alias", 1, {"from": "anon", "to": "cleo"}),
]


@pytest.fixture(scope="module")
def members(spark: Session):
    rows = [
        fact(user, kind, days, number, **properties)
        for number, (user, kind, days, properties) in enumerate(HAPPENED)
    ]
    schema = f"{FACTS}, partition int, offset long, at long"
    facts = spark.createDataFrame(rows, schema)
    plan = build_plan([], Catalog(), MemoryRegistry(), JobParameters())

    def of(text: str) -> list[str]:
        draft = Draft("x", text)
        statements = {"x": read_batch_sql(draft)}
        assert not draft.problems
        found = evaluate_facts(facts, plan=plan, at=AT, statements=statements).collect()
        assert {row["segment"] for row in found} <= {"x"}
        return sorted(row["user_id"] for row in found)

    return of


AMOUNT = "CAST(get_json_object(properties, '$.amount') AS DOUBLE)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "SELECT user_id FROM profiles", ["ann", "bob", "cleo", "dan"], id="all who are known"
        ),
        pytest.param(
            "SELECT user_id FROM events WHERE type = 'purchase'", ["ann", "bob"], id="who"
        ),
        pytest.param(
            f"SELECT user_id FROM events WHERE ts > now() - INTERVAL 30 DAYS GROUP BY user_id"
            f" HAVING sum({AMOUNT}) > 75",
            ["ann"],
            id="now is the instant of the run",
        ),
        pytest.param(
            f"SELECT user_id FROM events GROUP BY user_id HAVING sum({AMOUNT}) = 10.5",
            ["bob"],
            id="what is no number is no error",
        ),
        pytest.param(
            "SELECT user_id FROM profiles WHERE get_json_object(traits, '$.country') = 'DE'"
            " AND get_json_object(traits, '$.tier') IS NULL",
            ["bob", "dan"],
            id="the latest traits count",
        ),
        pytest.param(
            "SELECT user_id FROM profiles WHERE traits LIKE '%vip%'", [], id="lists are no traits"
        ),
        pytest.param(
            "SELECT user_id FROM profiles WHERE datediff(now(), first_seen) = 40",
            ["ann"],
            id="the first fact",
        ),
        pytest.param(
            "SELECT p.user_id FROM profiles p LEFT JOIN events e ON e.user_id = p.user_id"
            " WHERE e.event_id IS NULL",
            ["dan"],
            id="who did nothing",
        ),
        pytest.param(
            f"WITH ranked AS (SELECT user_id, {AMOUNT} AS amount, row_number() OVER"
            " (PARTITION BY user_id ORDER BY ts DESC) AS n FROM events WHERE type = 'purchase')"
            " SELECT user_id FROM ranked WHERE n = 1 AND amount = 30",
            ["ann"],
            id="the last purchase, by a window",
        ),
        pytest.param(
            f"SELECT user_id FROM (SELECT user_id, {AMOUNT} - lag({AMOUNT}) OVER"
            " (PARTITION BY user_id ORDER BY ts) AS more FROM events) x WHERE more < 0",
            ["ann"],
            id="less than the time before",
        ),
        pytest.param(
            "SELECT user_id FROM events GROUP BY user_id"
            " HAVING count(DISTINCT date_trunc('day', ts)) = 2 AND max(type) = 'page_view'",
            ["cleo"],
            id="joined ids are one user",
        ),
        pytest.param(
            r"SELECT user_id FROM events WHERE get_json_object(properties, '$.page') = '/it\'s'",
            ["cleo"],
            id="a quote in a text",
        ),
        pytest.param(
            "SELECT e.user_id FROM profiles p LEFT JOIN events e ON e.user_id = p.user_id"
            " AND e.type = 'page_view'",
            ["cleo"],
            id="NULL is no user",
        ),
    ],
)
def test_members(members, text: str, expected: list[str]) -> None:
    assert members(text) == expected


def test_what_only_spark_finds_wrong_is_told_of_the_segment(members, spark: Session) -> None:
    with pytest.raises(RuleError, match=r"x:1:1: .*HR420"):
        members("SELECT user_id FROM events GROUP BY type")
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"
    assert not [table for table in spark.catalog.listTables() if table.isTemporary]


BUYERS = (
    "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: buyers}\nspec:\n"
    "  sql: SELECT user_id FROM events WHERE type = 'purchase'\n  refresh: 0 3 * * *\n"
)


def purchase(user: str, ts: int) -> dict[str, object]:
    what = {"event_id": f"{user}-1", "user_id": user, "type": "purchase", "ts": ts}
    return {**what, "properties": {"amount": 30}}


def evaluation(tmp_path: Path, engine: str) -> list[str]:
    """The words that evaluate a rule and a statement on one purchase."""
    rules = write_rules(tmp_path / "rules", {"big": spenders(20)})
    (rules / "segments" / "buyers.yaml").write_text(BUYERS)
    events = tmp_path / "events.jsonl"
    events.write_bytes(orjson.dumps(purchase("ann", AT)) + b"\n")
    words = ["evaluate", rules, "--events", events, "--at", AT, "--engine", engine]
    return [str(word) for word in words]


@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_other_engines_leave_statements_out_and_say_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], engine: str
) -> None:
    assert main(evaluation(tmp_path, engine)) == 0
    out, err = capfd.readouterr()
    assert out == "segment,user_id\nbig,ann\n"
    assert "left out buyers: batch only (cron), in SQL" in err


def test_the_spark_engine_evaluates_rules_and_statements(tmp_path: Path, spark: Session) -> None:
    _, rules, _, events, *_ = evaluation(tmp_path, "spark")
    found, refused = evaluated(spark, load_rules(Path(rules)), [events], AT)
    assert found == [("big", "ann"), ("buyers", "ann")]
    assert not refused


def test_the_recompute_job_has_them_beside_the_plan(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weekly = "{segment: big}\n  refresh: 0 3 * * 1"
    rules = write_rules(deployment.rules, {"big": spenders(20), "weekly": weekly})
    (rules / "segments" / "buyers.yaml").write_text(BUYERS)
    found = load_rules(rules).require()
    publish(deployment.store, deployment.settings, found, author="test")
    moment = time.time_ns() // 1_000_000
    deployment.send([purchase("ann", moment), purchase("bob", moment)])
    deployment.run()
    assert deployment.members() == {("big", "ann"), ("big", "bob")}
    capsys.readouterr()

    assert run(deployment.settings, at=None, segments=[], output=str(tmp_path / "out")) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == ["big\t2", "buyers\t2", "weekly\t2"]
    assert "not compared: buyers, batch only (cron)" in told
    assert told[-1].startswith("0 differences in 2 memberships")
    (rows,) = (tmp_path / "out").glob("*.csv")
    assert rows.read_text().splitlines()[1:] == [
        f"{segment},{user}" for segment in ("big", "buyers", "weekly") for user in ("ann", "bob")
    ]
    at = format_instant(moment + 1)
    assert run(deployment.settings, at=at, segments=["buyers"], output=None) == 0
    assert "buyers\t2\n" in capsys.readouterr().out
    with pytest.raises(OperatorError, match="not in the active plan: nobody"):
        run(deployment.settings, at=None, segments=["nobody"], output=None)
