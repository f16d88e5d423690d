"""The embedded servers, for real."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
import redis
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from headrace.embedded import Servers, down, running, status, up
from headrace.embedded.children import Children
from headrace.embedded.ports import choose_port, free_port, is_free
from headrace.embedded.servers import NAMES
from headrace.errors import OperatorError
from headrace.settings import Settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own, beside the one of the whole run."""
    home = tmp_path_factory.mktemp("second") / "a home with spaces"
    with running(home):
        yield home


@pytest.fixture(scope="module")
def started(home: Path) -> Servers:
    return up(home, Settings(home=home))


def pids(home: Path) -> dict[str, int | None]:
    return {row.name: row.pid for row in status(home, Settings(home=home))}


def gone(pid: int) -> None:
    """Wait until a killed process has ended."""
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)


def remember(servers: Servers) -> None:
    with psycopg2.connect(plain(servers.postgres_url)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS memory (word text)")
        cursor.execute("INSERT INTO memory VALUES ('here')")
    connection.close()
    with redis.Redis.from_url(servers.redis_url) as client:
        client.set("memory", "here")
    admin = KafkaAdminClient(bootstrap_servers=servers.kafka_bootstrap)
    admin.create_topics([NewTopic("memory", 1, 1)])
    admin.close()


def memories(servers: Servers) -> list[bool]:
    with psycopg2.connect(plain(servers.postgres_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT word FROM memory")
        in_postgres = cursor.fetchall() == [("here",)]
    connection.close()
    with redis.Redis.from_url(servers.redis_url) as client:
        in_redis = client.get("memory") == b"here"
    admin = KafkaAdminClient(bootstrap_servers=servers.kafka_bootstrap)
    in_kafka = "memory" in admin.list_topics()
    admin.close()
    return [in_postgres, in_redis, in_kafka]


def plain(url: str) -> str:
    return url.replace("+psycopg2", "", 1)


def test_up_twice_is_up_once(home: Path, started: Servers) -> None:
    before = pids(home)
    assert up(home, Settings(home=home)) == started
    assert pids(home) == before
    assert None not in before.values()


def test_two_homes_do_not_meet(servers: Servers, started: Servers, home: Path) -> None:
    ours = {started.kafka_bootstrap, *(urlsplit(u).netloc for u in urls(started))}
    theirs = {servers.kafka_bootstrap, *(urlsplit(u).netloc for u in urls(servers))}
    assert not ours & theirs
    assert not set(pids(home).values()) & set(pids(servers.home).values())


def urls(servers: Servers) -> tuple[str, str]:
    return servers.postgres_url, servers.redis_url


def test_all_listen_on_loopback_alone(started: Servers, home: Path) -> None:
    for pid in pids(home).values():
        assert pid is not None
        listening = [
            line.laddr.ip
            for line in psutil.Process(pid).net_connections()
            if line.status == psutil.CONN_LISTEN
        ]
        assert set(listening) <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_a_password_is_asked_for(started: Servers) -> None:
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(plain(started.postgres_url).replace(":" + password(started), ":x"))
    with (
        redis.Redis.from_url(started.redis_url.replace(password(started), "x")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    assert password(started) not in repr(started)


def password(servers: Servers) -> str:
    found = urlsplit(servers.postgres_url).password
    assert found is not None
    return found


def test_killed_servers_come_back_where_they_were_with_what_they_knew(
    home: Path, started: Servers
) -> None:
    remember(started)
    before = pids(home)
    for pid in before.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    for pid in before.values():
        assert pid is not None
        gone(pid)
    assert [row.is_running for row in status(home, Settings(home=home))] == [False] * len(NAMES)
    assert up(home, Settings(home=home)) == started
    assert memories(started) == [True, True, True]
    assert not set(pids(home).values()) & set(before.values())


@pytest.mark.parametrize("name", NAMES)
def test_one_that_was_killed_answers_when_up_returns(
    home: Path, started: Servers, name: str
) -> None:
    pid = pids(home)[name]
    assert pid is not None
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    # At once: what dies still has its port, which its clients know.
    assert up(home, Settings(home=home)) == started
    psycopg2.connect(plain(started.postgres_url)).close()
    with redis.Redis.from_url(started.redis_url) as client:
        client.ping()
    KafkaAdminClient(bootstrap_servers=started.kafka_bootstrap).close()


def test_down_ends_its_own_and_nothing_else(home: Path, started: Servers, servers: Servers) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    others = pids(servers.home)
    try:
        ours = [pid for pid in pids(home).values() if pid is not None]
        assert set(down(home)) == set(NAMES)
        assert not any(psutil.pid_exists(pid) for pid in ours)
        assert stranger.poll() is None
        assert pids(servers.home) == others
        assert down(home) == ()
    finally:
        stranger.kill()
        stranger.wait()


def test_down_of_no_home_is_nothing(tmp_path: Path) -> None:
    assert down(tmp_path / "nowhere") == ()


def test_configured_servers_are_not_started(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = Settings(
        home=home,
        postgres_url="postgresql+psycopg2://ann:secret@db:5432/x",
        kafka_bootstrap="k:9092",
        redis_url="redis://:secret@r:6379/0",
    )
    assert up(home, settings).kafka_bootstrap == "k:9092"
    rows = status(home, settings)
    assert [(row.kind, row.pid) for row in rows] == [("configured", None)] * len(NAMES)
    assert "secret" not in repr(rows)


def test_a_server_that_cannot_start_shows_its_log_and_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin" / "redis-server"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no luck today\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    home = tmp_path / "home"
    settings = Settings(home=home, postgres_url="postgresql+psycopg2://x/y", kafka_bootstrap="k:1")
    with pytest.raises(OperatorError) as error:
        up(home, settings)
    assert "redis ended with exit code 3" in str(error.value)
    assert "no luck today" in str(error.value)
    assert "HEADRACE_REDIS_URL" in str(error.value)
    assert Children(home).alive("redis") is None


def test_ports() -> None:
    wish = free_port()
    assert is_free(wish)
    assert choose_port(None, wish) == wish
    import socket

    with socket.create_server(("127.0.0.1", wish)):
        assert not is_free(wish)
        assert choose_port(wish) != wish
