"""Plans, targets, executions and progress rows."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from headrace.store import Store
from headrace.store.connection import Database

TEXT = '{"b":1,"a":[2,"ü"]}'
HASH = hashlib.sha256(TEXT.encode()).hexdigest()


def test_a_plan_comes_back_byte_for_byte(store: Store) -> None:
    with store.publishing() as edition:
        assert edition.aim("stream", TEXT, author="ann")
        assert not edition.aim("stream", TEXT, author="ann"), "already aimed at"
    assert store.target_plan("stream") == (HASH, TEXT)
    assert store.target_hash("stream") == HASH
    assert store.plan(HASH[:8]) == (HASH, TEXT)
    assert store.plan("%") is None
    assert store.target_plan("load") is None


def test_a_plan_must_match_its_hash_and_stay(store: Store, database_url: str) -> None:
    with store.publishing() as edition:
        edition.aim("stream", TEXT, author="ann")
    database = Database(database_url)
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(text("UPDATE headrace.plans SET text = '{}'"))
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(
            text("INSERT INTO headrace.plans (hash, text, body) VALUES ('no', '{}', '{}')")
        )


def test_since_which_batch(store: Store) -> None:
    with store.publishing() as edition:
        edition.aim("stream", TEXT, author="ann")
        edition.aim("stream", "{}", author="ann")
    other = store.target_hash("stream")
    assert other is not None
    assert store.running_plan("stream") is None
    for plan, batch in [(HASH, 5), (HASH, 5), (HASH, 7), (other, 9 + (1 << 40))]:
        store.record_execution("stream", plan, batch)
    running = store.running_plan("stream")
    assert running is not None and (running.plan_hash, running.since_batch) == (
        other,
        9 + (1 << 40),
    )
    earlier = store.execution_of("stream", HASH)
    assert earlier is not None and earlier.since_batch == 5


def test_story_of_a_launch(store: Store) -> None:
    assert not store.heartbeat("stream", {"n": 1}), "nothing was launched"
    number = store.begin_progress("stream", "launch", details={"home": "/h"})
    store.started(number, pid=42, log_path="/h/logs/stream-1.log", details={"token": "t"})
    assert store.heartbeat("stream", {"n": 7})
    [row] = store.live_progress("stream")
    assert (row.state, row.pid, row.log_path) == ("running", 42, "/h/logs/stream-1.log")
    assert row.details == {"home": "/h", "token": "t", "n": 7}
    store.end_progress(number, "failed", exit_code=-9)
    store.end_progress(number, "stopped", exit_code=0)
    [row] = store.progress("stream")
    assert (row.state, row.exit_code, row.is_alive) == ("failed", -9, False)
    assert row.ended_at is not None
    assert not store.heartbeat("stream", {"n": 8})
