"""``headrace streams``, on a real Postgres and Kafka."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from headrace.cli import main
from headrace.databases.tables import parted
from headrace.kafka.confluent import ConfluentConsumer, ConfluentProducer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import Topic
from headrace.rules.streams import parse_stream
from headrace.rules.streams.model import At, Constant, Converted, Joined
from headrace.settings import Settings
from headrace.store import Store

Run = Callable[..., tuple[int, str, str]]
ORDERS = """
apiVersion: headrace/v1
kind: Stream
metadata: {id: %s, owner: shop}
spec:
  topic: %s
  partitions: 2
  map: {type: purchase, user_id: $.customer, ts: $.at, event_id: $.number, \
properties: {amount: $.total}}
"""


@pytest.fixture
def headrace(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.setenv("HEADRACE_POSTGRES_URL", settings.postgres_url.get_secret_value())
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", settings.kafka_bootstrap)
    monkeypatch.setenv("HEADRACE_NAMESPACE", settings.namespace)

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["streams", *words])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def store(settings: Settings) -> Store:
    opened = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    opened.migrate()
    return opened


def written(folder: Path, id: str, topic: str) -> str:
    file = folder / f"{id}.yaml"
    file.write_text(ORDERS % (id, topic))
    return str(file)


def test_story_of_a_stream(headrace: Run, store: Store, settings: Settings, tmp_path: Path) -> None:
    topic = f"{settings.namespace}shop.orders"
    file = written(tmp_path, "orders", topic)
    assert "version 1 is kept" in headrace("add", file)[2]
    assert "version 1 is kept" in headrace("add", file)[2], "the same text is the same version"
    (draft,) = store.streams()
    assert (draft.state, draft.version, draft.stream.topic) == ("draft", 1, topic)

    code, _, said = headrace("pause", "orders")
    assert code == 1 and "is draft" in said and "[HR948]" in said
    assert headrace("activate", "orders")[0] == 0
    with ConfluentConsumer(settings.kafka_bootstrap, topic, "test") as consumer:
        assert len(consumer.bounds()) == 2, "its topic was made"
    other = written(tmp_path, "more_orders", topic)
    code, _, said = headrace("add", other, "--activate")
    assert code == 1 and "read as the stream 'orders' already" in said
    assert [one.state for one in store.streams()] == ["draft", "active"]

    text = Path(file).read_text()
    Path(file).write_text(text.replace("amount: $.total", "total: $.total"))
    code, _, said = headrace("add", file)
    assert code == 1 and "the property 'amount' would come no more" in said and "[HR961]" in said
    Path(file).write_text(text.replace("$.total", "$.price"))
    assert "[HR961]" in headrace("add", file)[2], "it is found elsewhere"
    assert "version 2 is kept" in headrace("add", file, "--incompatible")[2]
    assert {one.id: one.version for one in store.streams()} == {"orders": 1, "more_orders": 1}
    assert headrace("activate", "orders", "--version", "3")[0] == 1
    assert headrace("activate", "orders")[0] == 0
    shown = json.loads(headrace("show", "orders", "--output", "json")[1])
    assert (shown["version"], shown["state"]) == (2, "active")
    assert shown["document"]["spec"]["map"]["properties"] == {"amount": "$.price"}

    assert headrace("pause", "orders")[0] == 0
    assert headrace("retire", "orders")[0] == 0
    code, _, said = headrace("activate", "orders")
    assert code == 1 and "is retired" in said
    rows = json.loads(headrace("list", "--output", "json")[1])
    assert [(row["stream"], row["state"]) for row in rows] == [
        ("more_orders", "draft"),
        ("orders", "retired"),
    ]
    assert "orders" in headrace("list")[1]
    code, _, said = headrace("pause", "order")
    assert code == 1 and "did you mean 'orders'?" in said
    assert store.verify_audit().broken_at is None


def test_messages_are_tried_and_nothing_is_kept(
    headrace: Run, store: Store, settings: Settings, tmp_path: Path
) -> None:
    topic = f"{settings.namespace}shop.orders"
    file = written(tmp_path, "orders", topic)
    good = {"customer": 7, "at": "2026-05-01T09:00:00Z", "number": 1, "total": 19.99}
    sample = tmp_path / "sample.jsonl"
    sample.write_text(f"{json.dumps(good)}\nnonsense\n\n{json.dumps({**good, 'at': 'today'})}\n")
    code, told, said = headrace("try", file, "--sample", str(sample))
    assert code == 1 and "1 would be accepted" in said
    assert "1 rejected: not-json (messages 2)" in said and "1 rejected: bad-ts" in said
    assert json.loads(told) == {
        "type": "purchase", "user_id": "7", "ts": "2026-05-01T09:00:00Z", "event_id": "1",
        "properties": {"amount": 19.99},
    }  # fmt: skip
    assert store.streams() == []

    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        made = Topic(
            name=topic, partitions=2, retention_ms=1 << 40, compacted=False, key="", description=""
        )
        admin.create_topics("", (made,))
    with ConfluentProducer(settings.kafka_bootstrap) as producer:
        for number in range(30):
            line = json.dumps({**good, "number": number}).encode()
            producer.send(topic, value=line, partition=number % 2)
        producer.flush()
    code, told, _ = headrace("try", file, "--newest", "10", "--output", "json")
    assert code == 0 and json.loads(told)["accepted"] == 10


def test_a_schema_from_a_file_is_kept_and_its_breaches_are_shown(
    headrace: Run, store: Store, settings: Settings, tmp_path: Path
) -> None:
    topic = f"{settings.namespace}shop.orders"
    file = Path(written(tmp_path, "orders", topic))
    file.write_text(file.read_text() + "  schema: order.schema.json\n")
    code, _, said = headrace("add", str(file))
    assert code == 1 and "order.schema.json" in said and "[HR113]" in said
    total = {"type": "object", "properties": {"total": {"type": "number"}}}
    (tmp_path / "order.schema.json").write_text(json.dumps(total))
    sample = tmp_path / "sample.jsonl"
    good = {"customer": 7, "at": "2026-05-01T09:00:00Z", "number": 1, "total": 19.99}
    sample.write_text(f"{json.dumps(good)}\n{json.dumps({**good, 'total': 'much'})}\n")
    code, _, said = headrace("try", str(file), "--sample", str(sample))
    assert code == 1 and "1 rejected: wrong-schema (messages 2)" in said
    assert '2: /total: "much" is not of type "number"' in said
    assert headrace("add", str(file))[0] == 0
    assert json.loads(store.streams()[0].stream.schema) == total

    (tmp_path / "order.avsc").write_text(
        '{"type": "record", "name": "Order", "fields": [{"name": "customer", "type": "string"}]}'
    )
    text = file.read_text().replace("order.schema.json", "order.avsc\n  format: avro")
    file.write_text(text)
    code, _, said = headrace("try", str(file), "--sample", str(sample))
    assert code == 1 and "--newest" in said and "[HR962]" in said


def test_what_a_source_sends_goes_to_one_stream(
    headrace: Run, store: Store, settings: Settings, tmp_path: Path
) -> None:
    for name, types in (("clicks", "[click, view]"), ("views", "[view]"), ("rest", "[]")):
        (tmp_path / f"{name}.yaml").write_text(
            "apiVersion: headrace/v1\nkind: Stream\n"
            f"metadata: {{id: {name}}}\nspec:\n  topic: {settings.namespace}{name}\n"
            f"  format: headrace\n  types: {types}\n  sources: [web]\n"
        )
    assert headrace("add", str(tmp_path / "clicks.yaml"), "--activate")[0] == 0
    assert headrace("add", str(tmp_path / "rest.yaml"), "--activate")[0] == 0
    code, _, said = headrace("add", str(tmp_path / "views.yaml"), "--activate")
    assert code == 1 and "'view' of 'web' goes to the stream 'clicks' already" in said
    assert headrace("pause", "clicks")[0] == 0
    assert headrace("activate", "views")[0] == 0
    assert "[HR949]" in headrace("activate", "clicks")[2]
    code, _, said = headrace("retire", "views")
    assert code == 1 and "events of web still go to the stream 'views'" in said
    views = tmp_path / "views.yaml"
    views.write_text(views.read_text().replace("  sources: [web]\n", ""))
    assert headrace("add", str(views), "--activate")[0] == headrace("retire", "views")[0] == 0


def test_a_broken_document_is_told_with_its_place(headrace: Run, tmp_path: Path) -> None:
    file = tmp_path / "orders.yaml"
    file.write_text((ORDERS % ("orders", "shop")).replace("user_id:", "user:"))
    code, _, said = headrace("add", str(file))
    assert code == 1 and "orders.yaml:8:25" in said and "did you mean 'user_id'?" in said
    code, _, said = headrace("add", str(tmp_path / "nowhere.yaml"))
    assert code == 1 and "[HR100]" in said


def test_our_own_topics_are_no_streams(
    headrace: Run, store: Store, settings: Settings, tmp_path: Path
) -> None:
    file = written(tmp_path, "ours", f"{settings.namespace}memberships.v1")
    code, _, said = headrace("add", file)
    assert code == 1 and "a topic of Headrace itself" in said


def test_rules_that_wait_for_an_idle_stream_are_named(
    headrace: Run,
    store: Store,
    settings: Settings,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    rules = tmp_path / "rules"
    (rules / "segments").mkdir(parents=True)
    (rules / "catalog.yaml").write_text(
        "apiVersion: headrace/v1\nkind: Catalog\nevents: {purchase: {}, login: {}}\n"
    )
    for name, event in (("buyers", "purchase"), ("visitors", "login")):
        (rules / "segments" / f"{name}.yaml").write_text(
            "apiVersion: headrace/v1\nkind: Segment\n"
            f"metadata: {{id: {name}}}\nspec: {{match: {{did: {event}}}}}\n"
        )
    assert headrace("add", written(tmp_path, "orders", f"{settings.namespace}shop.orders"))[0] == 0
    sentence = "no active stream brings 'purchase' (orders is {}), which buyers needs"
    assert main(["plan", str(rules)]) == 0
    assert sentence.format("draft") in capfd.readouterr().err
    assert main(["apply", str(rules), "--output", "json"]) == 0
    assert json.loads(capfd.readouterr().out)["warnings"] == [sentence.format("draft")]
    assert headrace("activate", "orders")[0] == 0
    assert main(["plan", str(rules)]) == 0
    assert "no active stream" not in capfd.readouterr().err
    assert sentence.format("paused") in headrace("pause", "orders")[2]
    assert headrace("retire", "orders")[0] == 0
    assert main(["plan", str(rules)]) == 0
    assert "no active stream" not in capfd.readouterr().err, "nobody expects it any more"


def test_a_document_is_proposed_tried_and_kept(
    headrace: Run, store: Store, settings: Settings, tmp_path: Path
) -> None:
    sample = tmp_path / "sample.jsonl"
    orders = [
        {"customer": {"id": f"c{one % 3}"}, "created_at": f"2026-05-01T09:00:{one:02}Z",
         "order_id": f"o{one}", "total": 9.5}
        for one in range(20)
    ]  # fmt: skip
    sample.write_text("\n".join(map(json.dumps, orders)))
    topic = f"{settings.namespace}orders"
    words = ("infer", "orders", "--topic", topic, "--sample", str(sample))
    code, told, said = headrace(*words)
    assert code == 1 and "nothing looks like 'type'" in said
    code, told, said = headrace(*words, "--type", "purchase")
    assert code == 0, said
    file = tmp_path / "orders.yaml"
    file.write_text(told)
    assert "20 would be accepted" in headrace("try", str(file), "--sample", str(sample))[2]
    assert headrace("add", str(file))[0] == 0


@pytest.fixture
def shop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database with tables, its password in PGPASSWORD."""
    monkeypatch.setenv("HEADRACE_HOME", str(settings.home))
    full = settings.postgres_url.get_secret_value().replace("+psycopg2", "", 1)
    with closing(psycopg2.connect(full)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE customers (id int PRIMARY KEY, plan text, ltv numeric, born date,"
            " tags text[], vip boolean);"
            "CREATE TABLE orders (number uuid, line int, customer_id int, amount numeric,"
            " created_at timestamptz, PRIMARY KEY (number, line));"
            "CREATE TABLE loose (id int)"
        )
        connection.commit()
    url, password = parted(full)
    monkeypatch.setenv("PGPASSWORD", password)
    return url


def test_a_table_is_a_stream_without_a_document(headrace: Run, store: Store, shop: str) -> None:
    code, printed, said = headrace("add", "--database", shop, "--table", "customers")
    assert code == 0, said
    assert "left out, of a type that rules cannot read: tags" in said
    assert "users are named by the column 'id'" in said
    (draft,) = store.streams()
    assert parse_stream(printed) == draft.stream
    assert draft.stream.map.properties == {
        "plan": At(("plan",)),
        "ltv": Converted(At(("ltv",)), "number"),
        "born": Converted(At(("born",)), "instant"),
        "vip": At(("vip",)),
    }
    assert os.environ["PGPASSWORD"] not in printed + said + draft.text

    code, printed, said = headrace(
        "add", "--database", shop, "--table", "orders", "--type", "order", "--user", "customer_id"
    )
    assert code == 0, said
    orders = parse_stream(printed)
    assert orders.key == ("number", "line") and orders.database is not None
    assert orders.database.inserts_only
    assert orders.map.fields["ts"] == Converted(At(("created_at",)), "instant")
    assert orders.map.fields["event_id"] == Joined(
        (Constant("public.orders:"), At(("number",)), Constant(","), At(("line",)))
    )
    code, printed, _ = headrace(
        "add", "--database", shop, "--table", "orders", "--id", "pulled", "--user", "customer_id",
        "--watermark", "created_at",
    )  # fmt: skip
    assert code == 0 and parse_stream(printed).is_pulled


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--table", "customers"), "HR973", "--database and --table"),
        (("--database", "{shop}"), "HR973", "--database and --table"),
        (("x.yaml", "--database", "{shop}", "--table", "orders"), "HR973", "FILE, or"),
        (("--database", "mysql://a@b/c", "--table", "t"), "HR973", "only databases of Postgres"),
        (("--database", "{shop}", "--table", "custommers"), "HR970", "did you mean 'customers'"),
        (("--database", "{shop}", "--table", "loose"), "HR970", "has no primary key"),
        (("--database", "{shop}", "--table", "orders", "--user", "customer"), "HR970",
            "did you mean 'customer_id'"),
        (("--database", "{shop}", "--table", "customers", "--type", "order"), "HR970", "--time"),
        (("--database", "{shop}", "--table", "customers", "--watermark", "plan"), "HR970",
            "'plan' is no instant"),
        (("--database", "postgresql://nobody@{place}", "--table", "orders"), "HR970",
            "password authentication failed"),
        (("--database", "postgresql://a@127.0.0.1:1/b", "--table", "orders"), "HR970", "refused"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_said(
    headrace: Run, store: Store, shop: str, words: tuple[str, ...], code: str, said: str
) -> None:
    place = shop.rpartition("@")[2]
    exit_code, _, told = headrace("add", *(word.format(shop=shop, place=place) for word in words))
    assert exit_code == 1 and f"[{code}]" in told and said in told.replace("\n", " "), told
    assert "Traceback" not in told and os.environ["PGPASSWORD"] not in told
    assert store.streams() == []
