"""A Postgres that is not there is a sentence with its place and its setting, and soon."""

from __future__ import annotations

import os
import signal
import socket
import time

import psutil
import pytest
from sqlalchemy import text

from headrace.errors import OperatorError
from headrace.store import Store, StoreDown
from headrace.store.connection import Database


def refused() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def test_nobody_listens() -> None:
    store = Store(f"postgresql://ann:secret@127.0.0.1:{refused()}/shop")
    with pytest.raises(StoreDown) as down:
        store.target_plan("stream")
    said = str(down.value)
    assert "127.0.0.1" in said and "/shop" in said and "HEADRACE_POSTGRES_URL" in said
    assert "secret" not in said


def test_somebody_listens_and_says_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        store = Store(f"postgresql://ann@127.0.0.1:{silent.getsockname()[1]}/shop")
        begun = time.monotonic()
        with pytest.raises(StoreDown, match="does not answer"):
            store.target_plan("stream")
        assert time.monotonic() - begun < 8


@pytest.mark.parametrize("url", ["", "not a url", "mysql://ann:secret@host/shop"])
def test_a_wrong_setting_is_named(url: str) -> None:
    with pytest.raises(OperatorError, match="HEADRACE_POSTGRES_URL") as refusal:
        Store(url)
    assert "secret" not in str(refusal.value)


def test_a_cut_connection_is_replaced(store: Store, database_url: str) -> None:

    store.target_plan("stream")
    with Database(database_url).begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    assert store.target_plan("stream") is None


def test_a_server_that_hangs_is_down_soon_and_back_at_once(database_url: str) -> None:
    store = Store(database_url, patience=1.0)
    store.migrate()
    with Database(database_url).begin() as connection:
        hanging = connection.execute(
            text(
                "SELECT pid FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalar_one()
    everything = (psutil.Process(hanging).ppid(), hanging)
    for pid in everything:
        os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(StoreDown, match=r"does not answer \(no answer within 1"):
            store.target_plan("stream")
        assert 0.9 < time.monotonic() - begun < 3
        # Who has other work to do is not kept from it by every question.
        begun = time.monotonic()
        with pytest.raises(StoreDown, match="silent"):
            store.target_plan("stream")
        assert time.monotonic() - begun < 0.2
    finally:
        for pid in everything:
            os.kill(pid, signal.SIGCONT)
    time.sleep(1)
    assert store.target_plan("stream") is None
    store.close()


def test_without_patience_a_slow_answer_is_waited_for(database_url: str) -> None:
    with Database(database_url).begin() as connection:
        connection.execute(text("SELECT pg_sleep(1.5)"))
    with (
        pytest.raises(StoreDown),
        Database(database_url, patience=0.5).begin() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(1.5)"))
