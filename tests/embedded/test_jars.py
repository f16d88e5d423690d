"""Jars: only those of the lock, and only once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headrace.embedded.jars import Jar, default_repository, fetch, locked, missing
from headrace.errors import OperatorError
from headrace.settings import Settings

CONTENT = b"not really a jar"
JAR = Jar("spark", "org.example:thing:1.0", hashlib.sha256(CONTENT).hexdigest())


class Repository(ThreadingHTTPServer):
    """A Maven repository on this machine that notes what it was asked for."""

    def __init__(self, root: Path) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(root)))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/maven2"


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        assert isinstance(self.server, Repository)
        self.server.asked.append(self.path)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    root = tmp_path / "served"
    (root / "maven2" / "org/example/thing/1.0").mkdir(parents=True)
    (root / "maven2" / JAR.path).write_bytes(CONTENT)
    server = Repository(root)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(tmp_path: Path, repository: Repository) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", maven_repository=repository.address)


def test_a_jar_is_fetched_once(settings: Settings, repository: Repository) -> None:
    assert missing(settings, [JAR]) == (JAR,)
    (path,) = fetch(settings, [JAR])
    assert path.read_bytes() == CONTENT
    assert fetch(settings, [JAR]) == (path,)
    assert repository.asked == [f"/maven2/{JAR.path}"]
    assert missing(settings, [JAR]) == ()


def test_a_tampered_jar_is_refused_and_left_alone(
    settings: Settings, repository: Repository
) -> None:
    (path,) = fetch(settings, [JAR])
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(OperatorError, match=r"thing-1\.0\.jar is not the jar in jars\.lock"):
        fetch(settings, [JAR])
    assert path.read_bytes() == CONTENT + b"!"
    assert len(repository.asked) == 1


def test_a_tampered_repository_leaves_nothing_behind(settings: Settings) -> None:
    other = Jar("spark", JAR.coordinate, "0" * 64)
    with pytest.raises(OperatorError, match="it was not kept"):
        fetch(settings, [other])
    assert list((settings.cache_dir / "jars").iterdir()) == []


def test_a_jar_the_repository_lacks_is_named(settings: Settings) -> None:
    with pytest.raises(OperatorError, match=r"cannot fetch org\.example:none:1.*HTTP 404"):
        fetch(settings, [Jar("spark", "org.example:none:1", "0" * 64)])


def test_a_line_that_is_no_jar_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "jars.lock"
    lock.write_text("# fine\nspark a:b 12\n")
    with pytest.raises(OperatorError, match=r"jars\.lock:2: not"):
        locked(lock)


def test_the_lock_holds_what_spark_and_the_broker_need() -> None:
    spark = {jar.coordinate.split(":")[1] for jar in locked(group="spark")}
    assert {"delta-spark_4.2_2.13", "delta-storage", "spark-sql-kafka-0-10_2.13"} <= spark
    assert "kafka_2.13" in {jar.coordinate.split(":")[1] for jar in locked(group="broker")}
    names = [jar.file_name for jar in locked()]
    assert len(names) == len(set(names))


def test_the_default_repository_is_the_one_ivy_knows() -> None:
    assert default_repository().startswith("https://")
