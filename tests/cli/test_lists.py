"""``headrace lists``, to a real Kafka; what it sends is what rules ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from headrace.cli import main
from headrace.clock import system_clock
from headrace.engine.families import FAMILY_SCHEMA
from headrace.engine.state import STATE_SCHEMA
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


@pytest.fixture
def tables(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables as the stream would have left them: four users on the list, one of them by a joined
    id, one who was taken off, one who is gone, and one on another list."""
    root = Path(settings.tables_root)
    monkeypatch.setenv("HEADRACE_TABLES_ROOT", str(root))

    def on(value: bool | None, name: str = "vip") -> str:
        return json.dumps({f"list:{name}": {"ts": 5, "v": value}}, separators=(",", ":"))

    rows = [
        {"user_id": user, "n": n, "layout": layout, "traits": traits, "bucket": n % 2}
        for user, n, layout, traits in (
            ("ann", 1, 1, on(True)), ("ann", 2, 1, on(True)), ("ben", 1, 1, on(True)),
            ("cem", 1, 1, on(True)), ("dan", 1, 1, on(True)), ("off", 1, 1, on(True)),
            ("off", 2, 1, on(None)), ("gone", 1, 1, on(True)), ("gone", 3, 2, None),
            ("other", 1, 1, on(True, "vip2")), ("plain", 1, 1, None),
        )
    ]  # fmt: skip
    schema = STATE_SCHEMA.append(pa.field("bucket", pa.int32()))
    write_deltalake(str(root / "profiles"), pa.Table.from_pylist(rows, schema))
    links = [{"user_id": "phone-7", "family": "cem", "canonical": "cem", "links": "[]", "n": 1}]
    schema = FAMILY_SCHEMA.append(pa.field("n", pa.int64()))
    write_deltalake(str(root / "identities"), pa.Table.from_pylist(links, schema))
    return root


def test_a_list_is_replaced(
    headrace: Run, settings: Settings, tables: Path, tmp_path: Path
) -> None:
    users = tmp_path / "users.csv"
    users.write_text("user_id\nann\nphone-7\nnew\n")
    told = json.loads(headrace("replace", "vip", str(users), "--dry-run", "--output", "json")[1])
    assert (told["on"], told["off"], lines(settings)) == (3, 2, [])
    code, _, said = headrace("replace", "vip", str(users))
    assert code == 0 and "3 users put on the list vip, 2 taken off" in said
    sent = {
        (fact["user_id"], fact["traits"]["list:vip"]) for fact in map(json.loads, lines(settings))
    }
    assert sent == {
        ("ann", True), ("phone-7", True), ("new", True), ("ben", None), ("dan", None),
    }  # fmt: skip


def test_a_file_that_may_mean_others_replaces_nothing(
    headrace: Run, settings: Settings, tables: Path, tmp_path: Path
) -> None:
    users = tmp_path / "users.csv"
    for text, told in (
        ("name,user_id\nAnn,ann\nNobody,\n", "lines 3"),
        ("user_id\n", "nobody in it"),
    ):
        users.write_text(text)
        code, _, said = headrace("replace", "vip", str(users))
        assert code == 1 and told in said and "nothing was sent" in said, said
    assert lines(settings) == []


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
