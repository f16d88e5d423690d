"""Rules that change, roll back and end while events stream in: readers see old or new.

Stream, loader and Redis are real; readers ask in threads of their own all the while.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest

from deployment import Deployment
from headrace.cache.model import Incomplete, Page, UserState
from headrace.cache.reads import CachedMemberships
from headrace.cache.writer import Writer
from headrace.clock import format_instant
from headrace.errors import OperatorError
from headrace.jobs.listing import run
from headrace.jobs.load import Ledger
from headrace.kafka.client import Record
from headrace.kafka.confluent import ConfluentConsumer
from headrace.loader import loader
from headrace.loader.loader import Loader
from headrace.messages.topics import MEMBERSHIPS, in_namespace
from headrace.rules.folder import load_rules
from headrace.runtime import activate, keep_drafts, retire, roll_back
from headrace.spark.as_of import members_as_of
from headrace.spark.session import Session
from rule_folders import write_rules
from swaps import (
    BLEND,
    CATALOG,
    GONE,
    GROUPS,
    LEFT,
    SEGMENTS,
    Crowd,
    Sight,
    Step,
    Watch,
    Watcher,
    rules,
)

USERS = [(f"user-{number:04d}", number % GROUPS) for number in range(1_500)]
WATCHED = Crowd.of(USERS[:150])
PATIENCE = 120.0


def now() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """``work`` in a thread, until the block ends; what it raised is raised then."""
    stopping, failures = threading.Event(), []

    def run() -> None:
        try:
            work(stopping)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(PATIENCE)
    if failures:
        raise failures[0]


class Gate(ConfluentConsumer):
    """A consumer that reads nothing while the gate is shut: a loader that is behind."""

    opened = threading.Event()

    def poll(self, limit: int, seconds: float) -> list[Record]:
        assert self.opened.wait(PATIENCE)
        return super().poll(limit, seconds)


class Cache:
    """The cache as the API reads it, for one thread."""

    def __init__(self, deployment: Deployment) -> None:
        self._loop = asyncio.new_event_loop()
        settings = deployment.settings
        self._reads = CachedMemberships(settings.redis_url.get_secret_value(), settings.namespace)

    def users(self) -> Sight:
        """Both segments of those watched, in one answer."""
        asked = sorted(WATCHED.users)
        found = self._loop.run_until_complete(self._reads.users(asked)).users
        assert None not in found
        states = [state for state in found if isinstance(state, UserState)]
        of = {state.id: {part.segment for part in state.memberships} for state in states}
        return WATCHED.seen(*([user for user in of if name in of[user]] for name in SEGMENTS))

    def page(self) -> Sight:
        """The members of one segment, in one answer."""
        page = self._loop.run_until_complete(self._reads.members("wave", after="", limit=2_000))
        return WATCHED.seen_page(page.version, page.users) if isinstance(page, Page) else LEFT

    def sizes(self) -> Sight:
        """How many are in each segment: together always everybody."""
        sizes = self._loop.run_until_complete(self._reads.sizes()).segments
        if not sizes.keys() & set(SEGMENTS):
            return LEFT
        wave, shore = (sizes[name] for name in SEGMENTS)
        is_whole = wave.members + shore.members == len(USERS)
        return Sight(version=wave.version) if is_whole else BLEND


@pytest.fixture(scope="module", autouse=True)
def first(deployment: Deployment) -> None:
    deployment.publish(rules(0), CATALOG)
    deployment.send(tells(user, group) for user, group in USERS)
    deployment.run()


def tells(user: str, group: int) -> dict[str, object]:
    return {"user_id": user, "type": "traits", "ts": now(), "traits": {"group": group}}


def test_readers_see_old_or_new_while_a_rule_changes_rolls_back_and_ends(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In small bites, so that readers get a look in between: a blend would last long enough.
    monkeypatch.setattr(loader, "BATCH", 20)
    store, settings = deployment.store, deployment.settings
    readers = [Cache(deployment) for _ in range(3)]
    watch = Watch(
        [
            Watcher("users", readers[0].users),
            Watcher("page", readers[1].page),
            Watcher("sizes", readers[2].sizes),
        ]
    )

    def drafted(group: int) -> None:
        found = load_rules(write_rules(deployment.rules, rules(group), CATALOG))
        keep_drafts(store, settings, found, author="test")

    @contextmanager
    def loader_behind() -> Iterator[None]:
        """The loader meets all that a change means at once, not as the stream sends it."""
        before = handed_over(deployment)
        Gate.opened.clear()
        try:
            yield
            wait_until(lambda: handed_over(deployment) > before)
        finally:
            Gate.opened.set()

    Gate.opened.set()
    with (
        beside(partial(load_cache, deployment)),
        beside(partial(stream, deployment)),
        beside(partial(visit, deployment)),
    ):
        wait_until(partial(answers, readers[0]))
        with watch:
            watch.expect(Step(0, 1), PATIENCE)
            with loader_behind():
                deployment.publish(rules(1), CATALOG)
            watch.expect(Step(1, 2), PATIENCE)
            drafted(2)
            activate(store, settings, {"wave": None}, author="test")
            watch.expect(Step(2, 3), PATIENCE)
            with loader_behind():
                roll_back(store, settings, "wave", author="test")
            watch.expect(Step(1, 4), PATIENCE)
            roll_back(store, settings, "wave", to=1, author="test")
            watch.expect(Step(0, 5), PATIENCE)
            with loader_behind():
                retire(store, settings, SEGMENTS, author="test")
            watch.expect(Step(GONE, GONE), PATIENCE)
    assert watch.blends() == []
    assert max(watch.seconds()) < 1.0
    assert min(watcher.answers for watcher in watch.watchers) > 100


def test_members_as_of_any_instant_are_those_the_stream_had_then(
    deployment: Deployment, spark: Session
) -> None:
    changes = [one.header.now for one in deployment.reports if one.header.handover is not None]
    assert watched(spark, deployment, changes[1] - 1) == 0
    assert watched(spark, deployment, changes[1]) == 1
    assert watched(spark, deployment, changes[2]) == 2
    last = deployment.last.header.now
    found = {(row[0], row[1]) for row in members_as_of(spark, deployment.lake, last).collect()}
    assert found == deployment.members()


def test_the_job_lists_members_as_of_an_instant(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = [one.header.now for one in deployment.reports if one.header.handover][:2]
    at = format_instant(second - 1)
    run(deployment.settings, as_of=at, segments=["wave"], output=str(tmp_path / "out"))
    count, total = capsys.readouterr().out.splitlines()
    (rows,) = (tmp_path / "out").glob("*.csv")
    head, *members = rows.read_text().splitlines()
    assert head == "segment,user_id" and members == sorted(members)
    assert count == f"wave\t{len(members)}" and total == f"{len(members)} memberships at {at}"
    at = format_instant(first - 1)
    run(deployment.settings, as_of=at, segments=["wave"], output=None)
    assert capsys.readouterr().out == f"wave\t0\n0 memberships at {at}\n"
    with pytest.raises(OperatorError, match="did you mean 'wave'"):
        run(deployment.settings, as_of=at, segments=["waves"], output=None)
    with pytest.raises(OperatorError, match="--as-of 'noon' is no instant"):
        run(deployment.settings, as_of="noon", segments=[], output=None)


def watched(spark: Session, deployment: Deployment, at: int) -> int | None:
    """The group that ``wave`` was at ``at``, by those watched."""
    rows = members_as_of(spark, deployment.lake, at, segments=SEGMENTS).collect()
    held = {name: {row[1] for row in rows if row[0] == name} for name in SEGMENTS}
    assert len(held["wave"] | held["shore"]) == len(USERS)
    return WATCHED.seen(*(held[name] & WATCHED.users for name in SEGMENTS)).group


def load_cache(deployment: Deployment, stopping: threading.Event) -> None:
    """The loader."""
    settings = deployment.settings
    topic = in_namespace(settings.namespace, MEMBERSHIPS)
    writer = Writer(settings.redis_url.get_secret_value(), settings.namespace)
    Loader(
        lambda: Gate(settings.kafka_bootstrap, topic, f"{settings.namespace}load"),
        writer,
        topic=topic,
        bury=lambda letters: pytest.fail(f"bad messages: {letters}"),
        witness=Ledger(),
    ).run(stopping)
    writer.close()


def stream(deployment: Deployment, stopping: threading.Event) -> None:
    """The streaming job."""
    deployment.run(lambda _: stopping.is_set())


def visit(deployment: Deployment, stopping: threading.Event) -> None:
    """Everybody looks at pages; some of those not watched change their group."""
    random = Random(7)
    while not stopping.wait(0.2):
        lookers = [user for user, _ in random.sample(USERS, 40)]
        movers = [user for user, _ in random.sample(USERS[150:], 10)]
        deployment.send(
            [
                *(
                    {
                        "event_id": f"{user}-{now()}-{turn}",
                        "user_id": user,
                        "type": "page_view",
                        "ts": now(),
                        "properties": {"page": "/"},
                    }
                    for user in lookers
                    for turn in range(2)
                ),
                *(tells(user, random.randrange(GROUPS)) for user in movers),
            ]
        )


def handed_over(deployment: Deployment) -> int:
    """How many plans the stream has taken over so far."""
    return sum(one.header.handover is not None for one in deployment.reports)


def answers(cache: Cache) -> bool:
    """Is there a whole generation to read?"""
    try:
        return cache.users().is_whole
    except Incomplete:
        return False


def wait_until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)
