"""Whatever the order of arrival, repeats, crashes and hand-overs: Redis ends up right."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
import uuid
from collections.abc import Callable

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.cache.model import GenerationLost, LoaderStatus, Page
from headrace.cache.reads import CachedMemberships
from headrace.cache.writer import Standing, Writer
from headrace.embedded import Servers
from headrace.kafka.client import Bounds
from headrace.loader.loader import Loader
from headrace.messages.headers import DeadLetter
from loader.logs import PARTITIONS, LogConsumer, World

USERS = ["ann", "bob", "cy", "dee", "eve"]
SEGMENTS = ["big", "new"]

users = st.sampled_from(USERS)
segments = st.sampled_from(SEGMENTS)
moves = st.lists(st.tuples(users, segments, st.booleans()), min_size=1, max_size=4)
repeats = st.sampled_from([0, 0, 0, 1, 2, 9])
actions: st.SearchStrategy[Callable[[World], None]] = st.one_of(
    st.builds(lambda m, r: lambda world: world.change(m, r), moves, repeats),
    st.builds(lambda m, r: lambda world: world.change(m, r), moves, repeats),
    st.builds(lambda u, r: lambda world: world.see(u, r), users, repeats),
    st.builds(
        lambda s, m, r: lambda world: world.hand_over(s, m, r),
        segments,
        st.lists(st.tuples(users, st.booleans()), max_size=5),
        repeats,
    ),
    st.builds(lambda s, r: lambda world: world.retire(s, r), segments, repeats),
    st.builds(
        lambda u, i, r: lambda world: world.forget(u, i, r),
        users,
        st.none() | st.just("canonical"),
        repeats,
    ),
)
bites = st.lists(st.tuples(st.integers(0, PARTITIONS - 1), st.integers(1, 5)), max_size=30)


class Deaf:
    def applied(self, messages: int, skipped: int, delay: int | None) -> None: ...
    def rejected(self, letter: DeadLetter) -> None: ...
    def reported(self, status: LoaderStatus) -> None: ...


def load(writer: Writer, world: World, taken: list[tuple[int, int]], crash: int | None) -> None:
    stopping = threading.Event()
    consumer = LogConsumer(world.log, stopping, bites=list(taken), crash_after=crash)
    loader = Loader(
        lambda: consumer, writer, topic="t", bury=lambda _: None, witness=Deaf(), clock=lambda: 99
    )
    with contextlib.suppress(KeyboardInterrupt):
        loader.run(stopping)


async def seen(url: str, namespace: str) -> tuple[object, ...]:
    cache = CachedMemberships(url, namespace)
    try:
        found = await cache.users(USERS)
        sizes = await cache.sizes()
        listed = {}
        for segment in SEGMENTS:
            page = await cache.members(segment, after="", limit=100)
            listed[segment] = set(page.users) if isinstance(page, Page) else None
        return (
            {user: state and {m.segment for m in state.memberships}
             for user, state in zip(USERS, found.users, strict=True)},
            {name: (size.version, size.members) for name, size in sizes.segments.items()},
            listed,
        )  # fmt: skip
    finally:
        await cache.close()


def expected(world: World) -> tuple[object, ...]:
    return (
        {
            user: {s for s in world.active if user in world.members[s]}
            if user in world.known
            else None
            for user in USERS
        },
        {s: (version, len(world.members[s])) for s, version in world.active.items()},
        {s: world.members[s] if s in world.active else None for s in SEGMENTS},
    )


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(actions, min_size=1, max_size=14),
    taken=bites,
    crashes=st.lists(st.integers(0, 12), max_size=3),
    grows=st.integers(0, 14),
)
def test_any_delivery_gives_the_same_state(
    servers: Servers,
    steps: list[Callable[[World], None]],
    taken: list[tuple[int, int]],
    crashes: list[int],
    grows: int,
) -> None:
    namespace = f"t{uuid.uuid4().hex[:8]}."
    writer = Writer(servers.redis_url, namespace)
    world = World()
    try:
        # Some of it is there when the loader first starts, the rest comes while it runs.
        for step in steps[:grows]:
            step(world)
        load(writer, world, [], None)
        assert asyncio.run(seen(servers.redis_url, namespace)) == expected(world)
        for step in steps[grows:]:
            step(world)
        for crash in crashes:
            load(writer, world, taken, crash)
        load(writer, world, taken, None)
        assert asyncio.run(seen(servers.redis_url, namespace)) == expected(world)
    finally:
        writer.close()
        with redis.Redis.from_url(servers.redis_url) as plain:
            for key in plain.scan_iter(f"{namespace}*", count=1_000):
                plain.unlink(key)


@pytest.mark.parametrize("known", [True, False], ids=["with its topic", "with its topic cut"])
def test_an_emptied_cache_is_filled_again_or_says_so(
    servers: Servers, namespace: str, known: bool
) -> None:
    writer = Writer(servers.redis_url, namespace)
    world = World()
    world.see("ann", 0)
    world.hand_over("big", [("ann", True)], 0)
    load(writer, world, [], None)
    with redis.Redis.from_url(servers.redis_url) as plain:
        plain.delete(*plain.keys(f"{namespace}*"))
    assert writer.current() is None
    if known:
        load(writer, world, [], None)
        assert asyncio.run(seen(servers.redis_url, namespace)) == expected(world)
    else:
        world.log.start = 1
        told: list[LoaderStatus] = []
        stopping = threading.Event()

        class Ear(Deaf):
            def reported(self, status: LoaderStatus) -> None:
                told.append(status)
                stopping.set()

        Loader(
            lambda: LogConsumer(world.log, stopping), writer,
            topic="t", bury=lambda _: None, witness=Ear(),
        ).run(stopping)  # fmt: skip
        assert told[0].state == "needs reload" and "headrace reload" in told[0].detail
        assert writer.current() is None
    writer.close()


def test_another_loader_that_is_ahead_is_no_proof_of_a_loss(
    servers: Servers, namespace: str
) -> None:
    world, first = World(), Writer(servers.redis_url, namespace)
    world.see("ann", 0)
    load(first, world, [], None)
    generation = first.current()
    stopping, second = threading.Event(), Writer(servers.redis_url, namespace)

    class Slow(LogConsumer):
        """The other loader reads a message while this one hears how long the topic is."""

        def bounds(self) -> dict[int, Bounds]:
            ends = super().bounds()
            if len(world.known) < 3:
                world.see(USERS[len(world.known)], 0)
                load(first, world, [], None)
            return ends

    consumer = Slow(world.log, stopping)
    Loader(
        lambda: consumer, second, topic="t", bury=lambda _: None, witness=Deaf(), clock=lambda: 99
    ).run(stopping)
    assert second.current() == generation
    assert second.standing(str(generation)).is_complete
    first.close()
    second.close()


def test_a_generation_that_goes_while_it_is_taken_up_ends_no_loader(
    servers: Servers, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, writer = World(), Writer(servers.redis_url, namespace)
    world.see("ann", 0)
    load(writer, world, [], None)
    standing, gone = writer.standing, [True]

    def once_gone(generation: str) -> Standing:
        if gone:
            gone.clear()
            raise GenerationLost(generation)
        return standing(generation)

    monkeypatch.setattr(writer, "standing", once_gone)
    world.see("bob", 0)
    load(writer, world, [], None)
    assert asyncio.run(seen(servers.redis_url, namespace)) == expected(world)
    writer.close()


def ahead(writer: Writer, world: World) -> None:
    """Read all there is of partition 0 and nothing of partition 1, then die."""
    load(writer, world, [(0, 100)] * 20, 12)


def test_readers_see_the_old_until_the_last_partition_is_through(
    servers: Servers, namespace: str
) -> None:
    writer = Writer(servers.redis_url, namespace)
    world = World()
    for user in USERS:
        world.see(user, 0)
    world.hand_over("big", [("ann", True), ("cy", True)], 0)
    load(writer, world, [], None)
    before = copy.deepcopy(expected(world))
    world.hand_over("big", [(user, user not in ("ann", "cy")) for user in USERS], 0)
    ahead(writer, world)
    assert asyncio.run(seen(servers.redis_url, namespace)) == before
    load(writer, world, [], None)
    assert asyncio.run(seen(servers.redis_url, namespace)) == expected(world)
    writer.close()


def test_a_partition_does_not_run_ahead_into_the_next_hand_over(
    servers: Servers, namespace: str
) -> None:
    writer = Writer(servers.redis_url, namespace)
    world = World()
    for user in USERS:
        world.see(user, 0)
    world.hand_over("big", [], 0)
    load(writer, world, [], None)
    world.hand_over("big", [(user, True) for user in USERS], 0)
    world.hand_over("big", [(user, False) for user in USERS], 0)
    ahead(writer, world)
    load(writer, world, [], None)
    assert asyncio.run(seen(servers.redis_url, namespace)) == expected(world)
    writer.close()
