"""From a folder of rules to the stream's target, through the command line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from commands import Run
from headrace.kafka.kafka_python import KafkaPythonConsumer
from headrace.messages.control import NewPlan, decode_control
from headrace.messages.topics import CONTROL, in_namespace
from headrace.plan.model import Plan
from headrace.settings import Settings
from headrace.store import Store
from rule_folders import CATALOG, spenders, write_rules

FRENCH = "{trait: country, eq: FR}"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return write_rules(tmp_path / "rules", {"big": spenders(100), "french": FRENCH})


def test_plan_then_apply_then_nothing_to_do(run: Run, rules: Path, store: Store) -> None:
    code, out, _ = run("plan", rules, "--detailed-exitcode")
    assert code == 3 and "+ big  version 1" in out and "+ french  version 1" in out
    with pytest.raises(Exception, match="no tables"):
        store.target_plan("stream")  # a plan changes nothing, not even on an empty database
    code, out, _ = run("apply", rules, "--author", "ann", "--reason", "launch")
    assert code == 0 and "+ big  version 1" in out
    assert run("plan", rules, "--detailed-exitcode")[0] == 0
    code, out, _ = run("apply", rules)
    assert code == 0 and "no changes" in out and "2 unchanged" in out
    assert [(v.segment_id, v.author) for v in store.active_versions()] == [
        ("big", "ann"),
        ("french", "ann"),
    ]


def test_the_dry_run_says_what_apply_then_does(run: Run, rules: Path, store: Store) -> None:
    run("apply", rules)
    write_rules(rules, {"big": spenders(200), "new": "{did: purchase, within: 7 days}"})
    words = (rules, "--prune", "--output", "json")
    _, said, _ = run("plan", *words)
    _, done, _ = run("apply", *words)
    assert json.loads(said) == json.loads(done)
    told = json.loads(done)
    assert told["created"] == [
        {"segment": "big", "version": 2, "replaces": 1},
        {"segment": "new", "version": 1, "replaces": None},
    ]
    assert told["retired"] == ["french"]
    assert len(told["plan"]["needs_history"]) == 1, "big's sum is folded already"
    assert store.target_hash("stream") == told["plan"]["hash"]


def test_the_stored_plan_is_canonical_and_shown(run: Run, rules: Path, store: Store) -> None:
    run("apply", rules)
    code, out, err = run("plan", "show")
    text = out.rstrip("\n")
    hash = hashlib.sha256(text.encode()).hexdigest()
    assert code == 0 and hash == store.target_hash("stream") and hash in err
    assert Plan.from_json(text).to_json() == text
    assert "has yet to take it up" in err
    store.record_execution("stream", hash, 7)
    assert "runs since batch 7" in run("plan", "show", hash[:10])[2]
    write_rules(rules, {"big": spenders(300)})
    run("apply", rules)
    assert "runs since batch 7" in run("plan", "show", hash)[2], "until it takes up the next"
    later = store.target_hash("stream")
    assert later is not None
    store.record_execution("stream", later, 9)
    assert "ran from batch 7" in run("plan", "show", hash)[2]
    code, out, _ = run("plan", "show", "--output", "text")
    assert code == 0 and "big" in out
    code, _, err = run("plan", "show", "ffff")
    assert code == 1 and "ffff" in err


def test_a_broken_rule_is_refused_whole(run: Run, rules: Path, store: Store) -> None:
    run("apply", rules)
    before = store.target_plan("stream")
    write_rules(rules, {"big": "{event: purchase, sum: amuont, gt: 5}", "german": "{did: visit}"})
    for command in ("plan", "apply"):
        code, out, err = run(command, rules)
        assert code == 1 and out == ""
        assert "big.yaml:5:" in err and "amuont" in err and "visit" in err
    assert store.target_plan("stream") == before
    assert [v.segment_id for v in store.active_versions()] == ["big", "french"]


def test_settings_of_the_job_alone_make_a_new_plan(
    run: Run, rules: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("apply", rules)
    before = store.target_hash("stream")
    monkeypatch.setenv("HEADRACE_STREAM__TRIGGER_MS", "3000")
    told = json.loads(run("apply", rules, "--output", "json")[1])
    assert (told["created"], told["changed"], told["plan"]["before"]) == ([], True, before)
    found = store.target_plan("stream")
    assert found is not None and Plan.from_json(found.text).job.trigger_ms == 3000


def test_the_stream_is_told(run: Run, rules: Path, store: Store, settings: Settings) -> None:
    run("apply", rules)
    run("apply", rules)
    name = in_namespace(settings.namespace, CONTROL)
    with KafkaPythonConsumer(settings.kafka_bootstrap, name, "test") as consumer:
        consumer.start_at({0: 0})
        heard = [decode_control(record.value) for record in consumer.poll(10, 10.0)]
    assert heard == [NewPlan(store.target_hash("stream") or "")], "once: nothing changed later"


def test_kafka_down_is_a_warning(
    run: Run, rules: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    code, out, err = run("apply", rules)
    assert code == 0 and "+ big" in out
    assert "HEADRACE_KAFKA_BOOTSTRAP" in err and store.target_hash("stream") is not None


def test_postgres_down_is_a_sentence(
    run: Run, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES_URL", "postgresql+psycopg2://ann:secret@127.0.0.1:1/x")
    for words in (("apply", rules), ("plan", rules), ("plan", "show")):
        code, _, err = run(*words)
        assert code == 1 and "HEADRACE_POSTGRES_URL" in err
        assert "Traceback" not in err and "secret" not in err


def test_without_segments_nothing_is_aimed_at(run: Run, tmp_path: Path, store: Store) -> None:
    code, _, _ = run("apply", write_rules(tmp_path / "none", {}, CATALOG))
    assert code == 0 and store.target_hash("stream") is None


def test_a_segment_in_batch_only_is_active_and_no_part_of_the_plan(
    run: Run, tmp_path: Path, store: Store
) -> None:
    weekly = f"{FRENCH}\n  refresh: 0 3 * * 1"
    rules = write_rules(tmp_path / "rules", {"weekly": weekly})
    code, out, _ = run("apply", rules)
    assert code == 0 and "+ weekly  version 1  batch only (cron)" in out
    assert store.target_plan("stream") is None, "there is nothing to stream"
    write_rules(rules, {"weekly": weekly, "big": spenders(100)})
    code, out, _ = run("plan", rules)
    assert code == 0 and "batch only (cron), not in this plan:\n  weekly  0 3 * * 1\n" in out
    _, out, _ = run("plan", rules, "--explain")
    assert out.endswith("weekly  0 3 * * 1\n")
    _, out, _ = run("apply", rules, "--output", "json")
    assert json.loads(out)["batch_only"] == {"weekly": "0 3 * * 1"}
    target = store.target_plan("stream")
    assert target is not None
    plan = Plan.from_json(target.text)
    assert [program.segment for program in plan.programs] == ["big"]
    assert [version.segment_id for version in store.active_versions()] == ["big", "weekly"]
