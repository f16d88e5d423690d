"""Tables of a real Postgres, carried to Kafka by a real Kafka Connect, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import psycopg2
import pytest

from databases import drop_database, fresh_database
from headrace import embedded
from headrace.databases.proposal import proposed
from headrace.databases.tables import look_at, parted
from headrace.databases.worker import Worker
from headrace.embedded import Servers, passwords
from headrace.embedded.children import Children
from headrace.engine.mapping import Mapper
from headrace.errors import OperatorError
from headrace.kafka.confluent import ConfluentConsumer
from headrace.rules.streams import Stream
from headrace.runtime import streams
from headrace.runtime.connectors import NO_WORKER, Keeper
from headrace.settings import Connect, Settings
from headrace.store import Store
from headrace.store.streams import NOT_ENDED

PATIENCE = 90.0
ROWS = 30_000
Event = dict[str, Any]


def until(so: Callable[[], Any], patience: float = PATIENCE) -> Any:
    deadline = time.monotonic() + patience
    while not (found := so()):
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(0.1)
    return found


@dataclass
class Source:
    """A database with a table of customers, and a worker that may be killed."""

    url: str
    home: Path
    settings: Settings
    store: Store
    keeper: Keeper = field(init=False)

    def __post_init__(self) -> None:
        self.keeper = Keeper(self.store)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            rows = list(cursor.fetchall()) if cursor.description else []
            connection.commit()
        return rows

    def up(self) -> None:
        """Start the worker if it does not run, where it was."""
        place = self.home / "run" / "servers.json"
        url = embedded.up_connect(self.home, Settings(home=self.home, kafka_bootstrap=self.kafka))
        assert place.exists()
        self.settings = self.settings.model_copy(update={"connect": Connect(url=url)})

    @property
    def kafka(self) -> str:
        return self.settings.kafka_bootstrap

    def kill_the_worker(self) -> None:
        record = Children(self.home).record("connect")
        assert record is not None
        os.kill(record.pid, signal.SIGKILL)
        until(lambda: not record.is_alive)

    def look(self) -> None:
        self.keeper.look(lambda: self.settings)

    def added(self, only: tuple[str, ...] = (), **options: str) -> Stream:
        """The stream of the customers, active."""
        url, password = parted(self.url)
        table = look_at(url, password, "customers")
        stream = proposed(
            table, url, id="customers", namespace=self.settings.namespace, **options
        ).stream
        if only:
            kept = {name: stream.map.properties[name] for name in only}
            stream = replace(stream, map=replace(stream.map, properties=kept))
        streams.add_stream(self.store, self.settings, stream, author="test", reason="")
        passwords.keep(self.settings, stream.id, password)
        streams.activate_stream(
            self.store, self.settings, stream.id, version=None, author="test", reason=""
        )
        return stream

    def runs(self) -> bool:
        """Look, and say whether the connector works."""
        self.look()
        status = Worker(self.settings.connect.url).statuses().get(self.name)
        return status is not None and status.is_running

    @property
    def name(self) -> str:
        return f"{self.settings.namespace}customers"

    def trouble(self) -> str:
        self.look()
        return "".join(row.trouble for row in self.store.streams())

    def events(self, stream: Stream) -> list[Event]:
        """What has come so far, mapped as the streaming job maps it."""
        mapper = Mapper(stream)
        return [
            orjson.loads(mapper.mapped(value, partition=0, offset=0))
            for value in self.messages(stream)
        ]

    def messages(self, stream: Stream) -> list[bytes | None]:
        """What has come so far, as it was written."""
        found: list[bytes | None] = []
        with ConfluentConsumer(self.kafka, stream.topic, f"{stream.topic}-test") as consumer:
            bounds = consumer.bounds()
            consumer.start_at({number: bound.start for number, bound in bounds.items()})
            wanted = sum(bound.end - bound.start for bound in bounds.values())
            while len(found) < wanted:
                found += [record.value for record in consumer.poll(10_000, 0.5)]
        return found

    def rows(self) -> dict[str, Any]:
        return {str(id): plan for id, plan in self.run("SELECT id, plan FROM customers")}


def traits(events: list[Event]) -> dict[str, Any]:
    """The plan of each user as traits go: the latest instant wins."""
    latest: dict[str, tuple[int, str, Any]] = {}
    for event in events:
        value = event["traits"]["plan"]
        told = (event["ts"], orjson.dumps(value).decode(), value)
        latest[event["user_id"]] = max(
            latest.get(event["user_id"], told), told, key=lambda of: of[:2]
        )
    return {user: plan for user, (_, _, plan) in latest.items() if plan is not None}


@pytest.fixture
def source(
    servers: Servers, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Source]:
    # The worker is the run's, and may read passwords from under the servers' home only.
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    store.migrate()
    database = fresh_database(servers)
    secrets = settings.model_copy(update={"home": servers.home})
    ready = Source(database.replace("+psycopg2", "", 1), servers.home, secrets, store)
    ready.run(
        "CREATE TABLE customers (id bigint PRIMARY KEY, plan text, ltv numeric(12, 4), born date)"
    )
    ready.up()
    yield ready
    with suppress(OperatorError):
        streams.retire_stream(store, ready.settings, "customers", author="test", reason="")
    ready.up()
    until(lambda: ready.trouble() == "")
    store.close()
    drop_database(servers, database)


def test_rows_become_traits_and_a_retired_stream_leaves_nothing(source: Source) -> None:
    source.run(
        "INSERT INTO customers VALUES (1, 'pro', 12.5000, '2000-01-02'), (2, 'free', 0, NULL)"
    )
    stream = source.added()
    until(source.runs)
    until(lambda: len(source.events(stream)) == 2)
    first = next(one for one in source.events(stream) if one["user_id"] == "1")
    assert first["type"] == "traits"
    assert first["traits"] == {"plan": "pro", "ltv": 12.5, "born": 946_771_200_000}
    source.run("UPDATE customers SET plan = 'free' WHERE id = 1")
    source.run("DELETE FROM customers WHERE id = 2", "INSERT INTO customers VALUES (3, 'pro')")
    until(lambda: len(source.events(stream)) == 5)
    assert traits(source.events(stream)) == {"1": "free", "3": "pro"} == source.rows()
    assert len({one["event_id"] for one in source.events(stream)}) == 5

    (slot,) = source.run("SELECT slot_name FROM pg_replication_slots WHERE active AND database ="
                         " current_database()")  # fmt: skip
    streams.retire_stream(source.store, source.settings, stream.id, author="test", reason="")
    assert source.store.streams()[0].trouble == NOT_ENDED
    with pytest.raises(OperatorError, match="not ended yet"):
        source.added()
    until(lambda: source.trouble() == "")
    assert source.name not in Worker(source.settings.connect.url).statuses()
    assert source.run(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{slot[0]}'") == []
    assert source.run("SELECT 1 FROM pg_publication") == []
    assert source.run("SELECT 1 FROM pg_publication") == []
    # Whoever comes back begins with a snapshot.
    source.added()
    until(source.runs)
    until(lambda: len(source.events(stream)) == 7)


@pytest.mark.timeout(300)
def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(source: Source) -> None:
    source.run(f"INSERT INTO customers SELECT n, 'plan ' || n FROM generate_series(1, {ROWS}) n")
    stream = source.added()
    until(lambda: source.runs())
    until(lambda: len(source.events(stream)) > 1_000)
    source.kill_the_worker()
    amid = len(source.events(stream))
    assert amid < ROWS, "killed while it read the table for the first time"
    # Between the deaths the table goes on.
    source.run("UPDATE customers SET plan = 'changed' WHERE id % 1000 = 0")
    source.run(f"INSERT INTO customers VALUES ({ROWS + 1}, 'new')")
    source.up()
    until(source.runs)
    until(lambda: len(traits(source.events(stream))) == ROWS + 1)
    count = len(source.events(stream))
    source.run("UPDATE customers SET plan = 'again' WHERE id % 10 = 1")
    until(lambda: len(source.events(stream)) > count)
    source.kill_the_worker()
    source.run("DELETE FROM customers WHERE id % 1000 = 2")
    source.up()
    until(source.runs)
    until(lambda: traits(source.events(stream)) == source.rows())
    events = source.events(stream)
    told: dict[str, Event] = {}
    for event in events:
        assert told.setdefault(event["event_id"], event) == event, "an id says one thing"
    print(f"killed after {amid} of {ROWS} rows; {len(events)} messages, {len(told)} facts")


def test_new_rows_become_events_once(source: Source) -> None:
    source.run(
        "ALTER TABLE customers ADD user_id text, ADD at timestamptz",
        "INSERT INTO customers VALUES (1, 'pro', 1, NULL, 'ann', '2026-11-01 10:00:00.5+02')",
    )
    stream = source.added(type="order", user="user_id", time="at")
    until(source.runs)
    source.run("UPDATE customers SET plan = 'free'", "DELETE FROM customers")
    source.run("INSERT INTO customers VALUES (2, 'pro', 1, NULL, 'bob', '2026-11-01')")
    until(lambda: len(source.events(stream)) == 2)
    found = {one["user_id"]: one for one in source.events(stream)}
    assert found["ann"] == {
        "type": "order",
        "user_id": "ann",
        "ts": 1_793_520_000_500,
        "event_id": "public.customers:1",
        "properties": {"plan": "pro", "ltv": 1, "born": None},
    }
    assert found["bob"]["event_id"] == "public.customers:2"


def test_only_what_is_read_leaves_the_database_and_its_log_is_cleared(source: Source) -> None:
    source.run("CREATE TABLE busy (n int)", "INSERT INTO customers VALUES (1, 'pro', 77.25)")
    stream = source.added(only=("plan",))
    until(source.runs)
    (message,) = until(lambda: source.messages(stream))
    assert orjson.loads(message)["after"] == {"id": 1, "plan": "pro"}
    # What concerns other tables must not pile up behind a table at rest.
    ((written,),) = source.run("INSERT INTO busy VALUES (1) RETURNING pg_current_wal_lsn()")
    confirmed = "SELECT 1 FROM pg_replication_slots WHERE active AND confirmed_flush_lsn > "
    until(lambda: source.run(f"{confirmed} '{written}' AND database = current_database()"))
    assert len(source.messages(stream)) == 1
    # Other rows are another stream's.
    other = replace(stream, database=replace(stream.database, table="public.busy"))
    with pytest.raises(OperatorError, match="retire it"):
        streams.add_stream(
            source.store, source.settings, other, author="test", reason="", incompatible=True
        )


def test_what_keeps_a_connector_from_working_is_said(source: Source) -> None:
    stream = source.added()
    worker = source.settings.connect
    source.settings = source.settings.model_copy(update={"connect": Connect()})
    assert source.trouble() == NO_WORKER
    source.settings = source.settings.model_copy(update={"connect": Connect(url="http://[::1]:9")})
    assert "does not answer" in source.trouble()
    source.settings = source.settings.model_copy(update={"connect": worker})
    user = urlsplit(source.url).username
    passwords.keep(source.settings, stream.id, "a wrong one")
    said = until(source.trouble)
    assert "password authentication failed" in said and str(user) in said
    passwords.keep(source.settings, stream.id, str(urlsplit(source.url).password))
    until(source.runs)
    assert source.trouble() == ""
    # One that goes on trying says that it runs: whether the database lets us in says more.
    passwords.keep(source.settings, stream.id, "changed meanwhile")
    until(lambda: "password authentication failed" in source.trouble())
    passwords.keep(source.settings, stream.id, str(urlsplit(source.url).password))
    until(lambda: source.trouble() == "")
    # Somebody ends the connector's session: it comes back by itself, or is started again.
    source.run(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
        " WHERE active AND database = current_database()"
    )
    source.run("INSERT INTO customers VALUES (1, 'pro')")
    until(lambda: source.look() or len(source.events(stream)) == 1)


@pytest.mark.parametrize(
    "password",
    ["simple", "with space ", "ümläut=:#!\\", "\t'\"$", "🐘", "${file:x}"],
)
def test_a_password_is_kept_as_it_is(tmp_path: Path, password: str) -> None:
    settings = Settings(home=tmp_path)
    passwords.keep(settings, "one", password)
    passwords.keep(settings, "other", "x")
    assert passwords.known(settings, "one") == password
    assert (tmp_path / passwords.FILE).stat().st_mode & 0o077 == 0
