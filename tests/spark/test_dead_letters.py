"""Rejected messages sent again: all of them come in, and once more changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
import sqlalchemy

from deployment import Deployment
from headrace.cli import main
from headrace.clock import DAY, system_clock
from headrace.jobs.letters import Replay, dead_letters, replay
from headrace.rules.fixes import Fix, parse_fix

OLD = """\
apiVersion: headrace/v1
kind: Catalog
modes: {events: freeze}
events:
  purchase: {properties: {amount: {type: decimal}}}
"""
NEW = OLD + "  refund: {properties: {amount: {type: decimal}}}\n"
BUYERS = {"buyers": "{event: purchase, sum: amount, within: 30 days, gt: 10}"}
RULES = {**BUYERS, "refunded": "{event: refund, count: true, within: 30 days, gte: 2}"}
FIX = """\
apiVersion: headrace/v1
kind: Fix
where: {reason: [missing-user-id, wrong-type]}
rename: {usr: user_id}
convert: {ts: seconds, properties.amount: number}
"""
NOW = system_clock()


def event(kind: str, number: int, **more: object) -> dict[str, object]:
    line = {"event_id": f"{kind}-{number}", "user_id": f"u{number % 20}", "type": kind}
    return {**line, "ts": NOW - DAY - number, "properties": {"amount": 4}, **more}


def again(deployment: Deployment, fix: str = "") -> Replay:
    """Send all letters again, by the fix if there is one."""
    parsed: Fix | None = parse_fix(fix) if fix else None
    letters = dead_letters(
        deployment.settings, lambda one: parsed is None or parsed.concerns(one.dead.reason)
    )
    done = replay(deployment.settings, deployment.store, letters, fix=parsed)
    deployment.sent += done.sent
    return done


def test_events_whose_type_was_unknown_come_in_once_the_catalog_knows_it(deployment: Deployment):
    deployment.publish(BUYERS, OLD)
    deployment.send(event("purchase", number) for number in range(400))
    deployment.send(event("refund", number) for number in range(50))
    deployment.run()
    assert sum(report.counts.quarantined for report in deployment.reports) == 50
    deployment.publish(RULES, NEW)
    deployment.run(
        lambda report: report.pending_plan is None and report.header.handover is not None
    )
    assert again(deployment) == Replay(sent=50)
    deployment.run()
    # The reference reads what was sent at first, by the catalog of now.
    assert deployment.members() == deployment.expected()
    assert ("refunded", "u1") in deployment.members()


def test_once_more_changes_nothing(deployment: Deployment):
    members, duplicates = deployment.members(), told_duplicates(deployment)
    assert again(deployment) == Replay(before=50)
    # Who died between the broker's answer and Postgres's has sent them without a note of it.
    engine = sqlalchemy.create_engine(deployment.settings.postgres_url.get_secret_value())
    with engine.begin() as connection:
        table = f'"{deployment.settings.namespace}".replays'
        connection.execute(sqlalchemy.text(f"DELETE FROM {table}"))
    engine.dispose()
    assert again(deployment) == Replay(sent=50)
    deployment.run()
    assert told_duplicates(deployment) == duplicates + 50
    assert deployment.members() == members


def told_duplicates(deployment: Deployment) -> int:
    return sum(report.counts.duplicates for report in deployment.reports)


def test_broken_events_come_in_repaired_and_what_is_beyond_repair_is_named(deployment: Deployment):
    broken = [
        {
            "usr": f"r{number}", "type": "purchase", "ts": (NOW - DAY) / 1_000,
            "properties": {"amount": "6.50"},
        }
        for number in range(30)
    ]  # fmt: skip
    whole = [
        {**event("purchase", number), "event_id": f"whole-{number}", "user_id": f"r{number}"}
        for number in range(30)
    ]
    deployment.send([*map(orjson.dumps, broken), *whole, *garbage()])
    deployment.run()
    before = {member for member in deployment.members() if member[1].startswith("r")}
    assert before == set()
    # Everything but the refunds of before, which have been sent again.
    done = again(deployment, FIX.replace("where: {reason: [missing-user-id, wrong-type]}\n", ""))
    assert (done.sent, done.before) == (30, 50)
    assert set(done.unfixable.values()) == {"not JSON", "not an object"}
    assert len(done.unfixable) == len(garbage())
    deployment.run()
    found = {user for segment, user in deployment.members() if segment == "buyers"}
    assert {f"r{number}" for number in range(30)} <= found
    assert deployment.counted == deployment.sent
    assert again(deployment, FIX).sent == 0


def garbage() -> list[bytes]:
    """Bytes that no fix makes an event of."""
    return [b"\xff\xfe", b"{", b"[]", b"null", b'"text"', b"{}" * 2]


def test_the_commands_list_show_and_send(
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    settings = deployment.settings
    monkeypatch.setenv("HEADRACE_NAMESPACE", settings.namespace)
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", settings.kafka_bootstrap)
    monkeypatch.setenv("HEADRACE_POSTGRES_URL", settings.postgres_url.get_secret_value())
    monkeypatch.chdir(tmp_path)

    def said(*words: str, code: int = 0) -> str:
        capsys.readouterr()  # the stream has logged
        assert main(["dlq", *words]) == code
        return capsys.readouterr().out

    before = json.loads(said("list", "--output", "json"))
    deployment.send([b'{"usr": "x", "type": "purchase", "ts": 1, "event_id": "late"}'])
    deployment.run()
    waiting = {row["reason"]: row["waiting"] for row in before}
    listed = {row["reason"]: row for row in json.loads(said("list", "--output", "json"))}
    one = listed["missing-user-id"]
    assert one["waiting"] == waiting["missing-user-id"] + 1
    shown = json.loads(said("show", one["newest"], "--output", "json"))
    assert '"event_id": "late"' in shown[0]["text"] and not shown[0]["sent_again"]
    (tmp_path / "fix.yaml").write_text(FIX)
    assert "1 would be sent again" in said(
        "replay", one["newest"], "--fix", "fix.yaml", "--dry-run"
    )
    assert "1 sent again" in said("replay", one["newest"], "--fix", "fix.yaml")
    assert "0 sent again, 1 were before" in said("replay", one["newest"], "--fix", "fix.yaml")
    deployment.sent += 1
    said("show", "events.v1/9/9", code=1)
    (tmp_path / "fix.yaml").write_text(FIX.replace("rename", "renmae"))
    assert main(["dlq", "replay", "--fix", "fix.yaml"]) == 1
    assert "fix.yaml:4:1: unknown key 'renmae' in a fix (did you mean 'rename'?)" in (
        capsys.readouterr().err
    )
