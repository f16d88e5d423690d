"""``headrace lists``, to a real Kafka; what it sends is what rules ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.cli import main
from headrace.clock import system_clock
from headrace.kafka.confluent import ConfluentConsumer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import EVENTS, in_namespace, topic
from headrace.rules.catalog import Catalog
from headrace.rules.model import InList, Segment
from headrace.rules.reference import reference_members
from headrace.settings import Settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def headrace(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        admin.create_topics(settings.namespace, (topic(EVENTS),))
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", settings.kafka_bootstrap)
    monkeypatch.setenv("HEADRACE_NAMESPACE", settings.namespace)

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["lists", *words])
        return code, *capfd.readouterr()

    return run


def lines(settings: Settings) -> list[bytes]:
    """What lies on the events' topic."""
    name = in_namespace(settings.namespace, EVENTS)
    with ConfluentConsumer(settings.kafka_bootstrap, name, "test") as consumer:
        bounds = consumer.bounds()
        consumer.start_at({part: bound.start for part, bound in bounds.items()})
        left = sum(bound.end - bound.start for bound in bounds.values())
        found: list[bytes] = []
        while len(found) < left:
            found += [record.value or b"" for record in consumer.poll(1_000, 1.0)]
    return found


def on_list(settings: Settings, name: str) -> set[str]:
    segment = Segment(id="on", name="On", condition=InList(name))
    members = reference_members(lines(settings), (segment,), Catalog(), system_clock() + 1)
    return {user for _, user in members}


def test_story_of_a_list(headrace: Run, settings: Settings, tmp_path: Path) -> None:
    users, gone = tmp_path / "users.csv", tmp_path / "gone.jsonl"
    users.write_text("name,user_id\nAnn,ann\nBen,ben\nNobody,\nCem,cem\n")
    gone.write_text('{"user_id": "ben"}\n')
    code, out, said = headrace("add", "vip", str(users), "--dry-run")
    assert (code, out, lines(settings)) == (1, "", [])
    assert "3 users would be put on" in said
    code, out, said = headrace("add", "vip", str(users))
    assert code == 1
    assert "1 lines name nobody: no-id (lines 4)" in said and "3 users put on" in said
    assert on_list(settings, "vip") == {"ann", "ben", "cem"}
    code, out, said = headrace("remove", "vip", str(gone), "--output", "json")
    assert (code, said) == (0, "")
    assert json.loads(out) == {"list": "vip", "on": False, "dry_run": False, "sent": 1, "bad": {}}
    assert on_list(settings, "vip") == {"ann", "cem"}
    assert on_list(settings, "other") == set()


def test_what_cannot_be_is_told(headrace: Run, tmp_path: Path) -> None:
    users = tmp_path / "users.csv"
    users.write_text("a,b\n1,2\n")
    for words, told in (
        (("add", "no name", str(users)), "a list is named with"),
        (("add", "vip", str(users)), "no column 'user_id'"),
        (("add", "vip", str(tmp_path / "none.csv")), "none.csv"),
    ):
        code, out, said = headrace(*words)
        assert (code, out) == (1, "")
        assert told in said and "Traceback" not in said
