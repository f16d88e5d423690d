"""Writing and reading the cache on a real Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import redis

from headrace.cache.model import (
    CacheDown,
    GenerationLost,
    Incomplete,
    LoaderStatus,
    Membership,
    Moved,
    NoPage,
    Page,
    Size,
    UserState,
)
from headrace.cache.reads import CachedMemberships
from headrace.cache.rebuild import Row, rebuild
from headrace.cache.writer import ABANDONED_AFTER, Step, Writer
from headrace.embedded import Servers
from headrace.messages.memberships import Activated, Activation, Change, UserChanges

Answer = TypeVar("Answer")
Ask = Callable[[CachedMemberships], Awaitable[Answer]]
ODD = "a:b@1 {x}*?[é]\n日本"


@pytest.fixture
def plain(servers: Servers, namespace: str) -> Iterator[Any]:
    with redis.Redis.from_url(servers.redis_url, decode_responses=True) as connection:
        yield connection
        for key in connection.scan_iter(f"{namespace}*", count=5_000):
            connection.unlink(key)


@pytest.fixture
def writer(servers: Servers, namespace: str, plain: Any) -> Iterator[Writer]:
    made = Writer(servers.redis_url, namespace)
    yield made
    made.close()


@pytest.fixture
def ask(servers: Servers, namespace: str) -> Callable[[Ask[Any]], Any]:
    def asked(question: Ask[Any]) -> Any:
        async def run() -> Any:
            cache = CachedMemberships(servers.redis_url, namespace)
            try:
                return await question(cache)
            finally:
                await cache.close()

        return asyncio.run(run())

    return asked


def message(user: str, n: int, *changes: tuple[str, int, bool], **more: Any) -> UserChanges:
    made = tuple(
        Change(
            id="0" * 16, segment=segment, version=version, entered=enters, reason="event", at=n,
            effective_at=n * 10, measures={"count(e)": str(n), "avg(e.x)": None},
        )
        for segment, version, enters in changes
    )  # fmt: skip
    return UserChanges(user=user, n=n, at=n, changes=made, **more)


def filled(writer: Writer, rows: list[Row], **active: int) -> str:
    return rebuild(writer, rows, {0: 0}, active=active, as_of=1_000).generation


def test_nothing_is_incomplete(ask: Callable[[Ask[Any]], Any], writer: Writer) -> None:
    for question in (
        lambda cache: cache.user("ann"),
        lambda cache: cache.users(["ann"]),
        lambda cache: cache.sizes(),
        lambda cache: cache.members("big", after="", limit=1),
    ):
        with pytest.raises(Incomplete):
            ask(question)
    generation = writer.begin_generation({0: 0}, as_of=0)
    writer.apply(generation, [message("ann", 1)], [Step(0, 0, 1)])
    with pytest.raises(Incomplete):
        ask(lambda cache: cache.user("ann"))
    writer.finish_generation(generation, as_of=7)
    state, as_of = ask(lambda cache: cache.user("ann"))
    assert state.id == "ann" and state.memberships == () and as_of == 7


def test_a_message_counts_once_and_never_backwards(
    ask: Callable[[Ask[Any]], Any], writer: Writer
) -> None:
    generation = filled(writer, [], big=1)
    new = message("ann", 5, ("big", 1, True), traits='{"x":[]}')
    assert writer.apply(generation, [new], [Step(0, 0, 1)]).applied == 1
    old = message("ann", 4, ("big", 1, False))
    done = writer.apply(generation, [new, old], [Step(0, 1, 3)])
    assert (done.applied, done.skipped) == (0, 2)
    state, _ = ask(lambda cache: cache.user("ann"))
    assert state.memberships == (Membership("big", 1, 50),)
    assert state.traits == '{"x":[]}' and state.measures["count(e)"].value == "5"
    assert state.measures["avg(e.x)"].value is None
    assert ask(lambda cache: cache.sizes()).segments == {"big": Size(1, 1)}


def test_a_reader_from_before_sees_what_the_very_first_batch_activates(
    ask: Callable[[Ask[Any]], Any], writer: Writer
) -> None:
    generation = writer.begin_generation({0: 0}, as_of=0)
    writer.finish_generation(generation, as_of=1)

    async def read_twice(cache: CachedMemberships) -> Any:
        before, _ = await cache.user("ann")
        writer.apply(generation, [message("ann", 0, ("big", 1, True))], [Step(0, 0, 1)])
        marker = Activation(n=0, segments=(Activated("big", 1),))
        writer.activate(generation, marker, Step(0, 1, 2), partitions=1)
        after, _ = await cache.user("ann")
        return before, after.memberships

    assert ask(read_twice) == (None, (Membership("big", 1, 0),))


def test_any_id_is_kept_apart(ask: Callable[[Ask[Any]], Any], writer: Writer) -> None:
    ids = [ODD, "a:b", "a", "_n", "user:a", "a@1", "x" * 256]
    generation = filled(writer, [], big=1)
    for offset, user in enumerate(ids):
        writer.apply(
            generation, [message(user, 1, ("big", 1, True))], [Step(0, offset, offset + 1)]
        )
    found = ask(lambda cache: cache.users([*ids, "b"]))
    assert [state and state.id for state in found.users] == [*ids, None]
    page = ask(lambda cache: cache.members("big", after="", limit=100))
    assert set(page.users) == set(ids)


def test_fifty_changes_of_a_rule_leave_two_entries_of_a_user(
    ask: Callable[[Ask[Any]], Any], writer: Writer, plain: Any, namespace: str
) -> None:
    generation = filled(writer, [("ann", 1, 1, [("big", 1, 5)], None)], big=1)
    key = f"{namespace}hr:{generation}:user:ann"
    for version in range(2, 52):
        n, enters = version, version % 2 == 1
        step = 2 * version
        writer.apply(
            generation, [message("ann", n, ("big", version, enters))], [Step(0, step - 4, step - 3)]
        )
        marker = Activation(n=n, segments=(Activated("big", version, version - 1),))
        writer.activate(generation, marker, Step(0, step - 3, step - 2), partitions=1)
        assert bool(ask(lambda cache: cache.user("ann"))[0].memberships) == enters
        assert len([name for name in plain.hkeys(key) if name.startswith("big@")]) <= 2
    assert ask(lambda cache: cache.sizes()).segments == {"big": Size(51, 1)}


def test_a_segment_ends_for_all_its_members_at_once_and_leaves_nothing(
    ask: Callable[[Ask[Any]], Any], writer: Writer, plain: Any, namespace: str
) -> None:
    rows: list[Row] = [
        (user, 1, 1, [("big", 2, 5), ("old", 3, 5)], None) for user in ("ann", "bob")
    ]
    generation = filled(writer, rows, big=2, old=4)

    def members() -> set[str]:
        found = ask(lambda cache: cache.users(["ann", "bob"])).users
        return {user.id for user in found if "old" in {part.segment for part in user.memberships}}

    exits = [
        replace(told, changes=tuple(replace(change, ends=True) for change in told.changes))
        for told in (message("ann", 2, ("old", 4, False)), message("bob", 2, ("old", 4, False)))
    ]
    writer.apply(generation, exits[:1], [Step(0, 0, 1)])
    assert members() == {"ann", "bob"} and ask(lambda c: c.sizes()).segments["old"].members == 2
    writer.apply(generation, exits[1:], [Step(0, 1, 2)])
    assert members() == {"ann", "bob"}
    writer.activate(generation, Activation(n=2, retired=("old",)), Step(0, 2, 3), partitions=1)
    assert members() == set() and ask(lambda c: c.sizes()).segments.keys() == {"big"}
    assert ask(lambda c: c.members("old", after="", limit=1)) == NoPage(False, 1_000)
    writer.sweep()
    for user in ("ann", "bob"):
        fields = plain.hkeys(f"{namespace}hr:{generation}:user:{user}")
        assert sorted(fields) == ["_at", "_n", "big@2"]
    writer.apply(generation, [message("ann", 3, ("old", 5, True))], [Step(0, 3, 4)])
    back = Activation(n=3, segments=(Activated("old", 5),))
    writer.activate(generation, back, Step(0, 4, 5), partitions=1)
    assert members() == {"ann"} and ask(lambda c: c.sizes()).segments["old"] == Size(5, 1)


def test_pages(ask: Callable[[Ask[Any]], Any], writer: Writer) -> None:
    everyone = [f"u{n:03d}" for n in range(25)]
    filled(writer, [(user, 1, 1, [("big", 1, 5)], None) for user in everyone], big=1)
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page: Page = ask(lambda cache, after=after: cache.members("big", after=after, limit=10))
        seen += page.users
        after = page.next_after
    assert seen == everyone
    assert ask(lambda cache: cache.members("none", after="", limit=1)) == NoPage(False, 1_000)


def test_members_need_not_be_kept(
    ask: Callable[[Ask[Any]], Any], servers: Servers, namespace: str, plain: Any
) -> None:
    writer = Writer(servers.redis_url, namespace, members=False)
    generation = filled(writer, [("ann", 1, 1, [("big", 1, 5)], None)], big=1)
    writer.apply(generation, [message("bob", 2, ("big", 1, True))], [Step(0, 0, 1)])
    assert ask(lambda cache: cache.sizes()).segments["big"].members == 2
    assert ask(lambda cache: cache.members("big", after="", limit=1)) == NoPage(True, 1_000)
    assert not plain.keys(f"{namespace}*:members:*")
    writer.close()


def test_members_that_were_not_kept_up_are_not_shown(
    ask: Callable[[Ask[Any]], Any], writer: Writer, servers: Servers, namespace: str
) -> None:
    generation = filled(writer, [("ann", 1, 1, [("big", 1, 5)], None)], big=1)
    without = Writer(servers.redis_url, namespace, members=False)
    without.apply(generation, [message("bob", 2, ("big", 1, True))], [Step(0, 0, 1)])
    without.close()
    assert ask(lambda cache: cache.members("big", after="", limit=9)) == NoPage(True, 1_000)
    # Kept up again, they would still lack bob.
    writer.apply(generation, [message("cy", 3, ("big", 1, True))], [Step(0, 1, 2)])
    assert ask(lambda cache: cache.members("big", after="", limit=9)) == NoPage(True, 1_000)
    assert ask(lambda cache: cache.sizes()).segments["big"].members == 3


def test_the_forgotten_are_unknown_but_their_n_stays(
    ask: Callable[[Ask[Any]], Any], writer: Writer, plain: Any, namespace: str
) -> None:
    generation = filled(writer, [("ann", 1, 1, [("big", 1, 5)], "{}")], big=1)
    gone = message("ann", 3, ("big", 1, False), deleted=True)
    writer.apply(generation, [gone], [Step(0, 0, 1)])
    assert ask(lambda cache: cache.user("ann"))[0] is None
    assert ask(lambda cache: cache.sizes()).segments["big"].members == 0
    key = f"{namespace}hr:{generation}:user:ann"
    assert plain.hget(key, "_n") == "3" and plain.pttl(key) > 0
    assert writer.apply(generation, [message("ann", 2)], [Step(0, 1, 2)]).applied == 0
    writer.apply(generation, [message("ann", 4, ("big", 1, True))], [Step(0, 2, 3)])
    assert ask(lambda cache: cache.user("ann"))[0].memberships == (Membership("big", 1, 40),)
    assert plain.pttl(key) == -1


def test_a_joined_id_leads_to_the_canonical_one(
    ask: Callable[[Ask[Any]], Any], writer: Writer, plain: Any, namespace: str
) -> None:
    generation = filled(writer, [("anon", 1, 1, [("big", 1, 5)], None)], big=1)
    key = f"{namespace}hr:{generation}:user:anon"
    batch = [message("anon", 2, merged_into="ann"), message("ann", 2, ("big", 1, True))]
    writer.apply(generation, batch, [Step(0, 0, 2)])
    state, _ = ask(lambda cache: cache.user("anon"))
    assert isinstance(state, UserState) and state.id == "ann" and state.memberships
    assert plain.pttl(key) == -1, "somebody may remember that id for good"
    assert ask(lambda cache: cache.sizes()).segments["big"].members == 1
    loop = [message("ann", 3, merged_into="anon"), message("anon", 3, merged_into="ann")]
    writer.apply(generation, loop, [Step(0, 2, 4)])
    assert ask(lambda cache: cache.user("anon"))[0] is None


def test_offsets_must_follow_on(writer: Writer) -> None:
    generation = filled(writer, [])
    writer.apply(generation, [message("ann", 1)], [Step(0, 0, 5)])
    with pytest.raises(Moved) as caught:
        writer.apply(generation, [message("bob", 1)], [Step(0, 6, 7)])
    assert caught.value.offset == 5
    with pytest.raises(Moved):
        writer.activate(generation, Activation(n=1), Step(0, 6, 7), partitions=1)


def test_an_emptied_redis_takes_no_more(
    ask: Callable[[Ask[Any]], Any], writer: Writer, plain: Any, namespace: str
) -> None:
    generation = filled(writer, [])
    plain.unlink(*plain.keys(f"{namespace}*"))
    with pytest.raises(GenerationLost):
        writer.apply(generation, [message("ann", 1)], [Step(0, 0, 1)])
    with pytest.raises(GenerationLost):
        writer.finish_generation(generation)
    assert plain.keys(f"{namespace}*") == [] and writer.current() is None
    with pytest.raises(Incomplete):
        ask(lambda cache: cache.user("ann"))


def test_data_of_another_layout_is_not_believed(
    ask: Callable[[Ask[Any]], Any], writer: Writer, plain: Any, namespace: str
) -> None:
    generation = filled(writer, [("ann", 1, 1, [], None)])
    plain.set(f"{namespace}hr:{generation}:epoch", "9.abc:0")
    assert writer.current() is None
    with pytest.raises(Incomplete):
        ask(lambda cache: cache.user("ann"))


def test_what_was_condemned_is_not_read(ask: Callable[[Ask[Any]], Any], writer: Writer) -> None:
    writer.condemn(filled(writer, [("ann", 1, 1, [], None)]))
    with pytest.raises(Incomplete):
        ask(lambda cache: cache.user("ann"))


def test_a_rebuild_holds_what_the_rows_say(ask: Callable[[Ask[Any]], Any], writer: Writer) -> None:
    rows: list[Row] = [
        ("ann", 7, 70, [("big", 1, 5), ("vip", 2, 6)], '{"country":"DE"}'),
        ("bob", 6, 60, [("big", 2, 8)], None),
        ("idle", 5, 50, [], None),
    ]
    done = rebuild(
        writer,
        iter(rows),
        {0: 3, 1: 4},
        active={"big": 1, "none": 1},
        as_of=9,
        joined=[("anon", 7, 70, "ann")],
    )
    assert (done.users, done.memberships) == (3, 3)
    standing = writer.standing(done.generation)
    assert standing.offsets == {0: 3, 1: 4} and standing.is_complete and standing.as_of == 9
    sizes = ask(lambda cache: cache.sizes()).segments
    # bob's row knows version 2 of big: it was written after the plan that the caller looked up.
    assert sizes == {"big": Size(2, 2), "none": Size(1, 0), "vip": Size(2, 1)}
    state, _ = ask(lambda cache: cache.user("ann"))
    assert state.memberships == (Membership("big", 1, 5), Membership("vip", 2, 6))
    assert state.traits == '{"country":"DE"}' and state.updated_at == 70
    assert ask(lambda cache: cache.user("anon"))[0] == state
    assert writer.apply(done.generation, [message("ann", 7)], [Step(0, 3, 4)]).skipped == 1


def test_markers_that_the_rows_already_know_are_passed_by(
    ask: Callable[[Ask[Any]], Any], writer: Writer
) -> None:
    # Segment s ended with batch 4 and is back since batch 6; the rows are of batch 7.
    rows: list[Row] = [("ann", 6, 60, [("s", 4, 5)], None)]
    done = rebuild(writer, iter(rows), {0: 3, 1: 9}, active={"s": 4}, as_of=9, n=7)
    ended = Activation(n=4, retired=("s",))
    back = Activation(n=6, segments=(Activated("s", 4),))
    for partition, marker, at in ((0, ended, 3), (0, back, 4), (1, back, 9)):
        step = Step(partition, at, at + 1)
        assert writer.activate(done.generation, marker, step, partitions=2) == "again"
    assert ask(lambda cache: cache.sizes()).segments == {"s": Size(4, 1)}
    state, _ = ask(lambda cache: cache.user("ann"))
    assert state.memberships == (Membership("s", 4, 5),)


def test_a_redis_that_came_back_within_a_rebuild_is_not_believed(
    writer: Writer, plain: Any, servers: Servers, namespace: str
) -> None:
    def user(number: int) -> list[tuple[str, list[str], str | None]]:
        return [(f"u{number}", ["_n", "1", "_at", "1"], None)]

    generation = writer.begin_generation({0: 0}, as_of=1)
    writer.load(generation, user(1), {})
    with redis.Redis.from_url(servers.redis_url) as raw:
        before = {key: raw.dump(key) for key in raw.keys(f"{namespace}*")}
        writer.load(generation, user(2), {})
        raw.delete(*raw.keys(f"{namespace}*"))
        for key, value in before.items():
            raw.restore(key, 0, value)
    with pytest.raises(GenerationLost):
        writer.load(generation, user(3), {})
    with pytest.raises(GenerationLost):
        writer.finish_generation(generation)
    # Emptied, and begun by somebody else under the same number.
    plain.delete(*plain.keys(f"{namespace}*"))
    mine = writer.begin_generation({0: 0}, as_of=1)
    plain.delete(*plain.keys(f"{namespace}*"))
    other = Writer(servers.redis_url, namespace)
    assert other.begin_generation({0: 0}, as_of=1) == mine
    with pytest.raises(GenerationLost):
        writer.load(mine, user(1), {})
    other.close()


def test_old_generations_are_swept_and_their_neighbours_are_not(
    servers: Servers, namespace: str, writer: Writer, plain: Any
) -> None:
    now = [1_000]
    writer = Writer(servers.redis_url, namespace, clock=lambda: now[0])
    old = filled(writer, [(f"u{n}", 1, 1, [("big", 1, 5)], "{}") for n in range(300)], big=1)
    current = filled(writer, [("ann", 1, 1, [], None)])
    building = writer.begin_generation({0: 0}, as_of=0)
    plain.set(f"{namespace}x:{old}:y", "another's")
    assert writer.sweep() > 600
    kept = set(plain.keys(f"{namespace}*"))
    assert not [key for key in kept if key.startswith(f"{namespace}hr:{old}:")]
    assert f"{namespace}x:{old}:y" in kept and f"{namespace}hr:{building}:epoch" in kept
    now[0] += ABANDONED_AFTER + 1
    writer.sweep()
    with pytest.raises(GenerationLost):
        writer.standing(building)
    assert writer.standing(current).is_complete
    writer.close()


def test_a_hand_over_is_seen_whole_or_not_at_all(
    servers: Servers, namespace: str, writer: Writer
) -> None:
    users = [f"u{n:03d}" for n in range(200)]
    halves = [set(users[:100]), set(users[100:])]
    rows: list[Row] = [
        (user, 1, 1, [("big", 1, 5)] if user in halves[0] else [], None) for user in users
    ]
    generation = filled(writer, rows, big=1)
    seen: set[tuple[int, ...]] = set()

    async def read(cache: CachedMemberships, done: asyncio.Event) -> None:
        while not done.is_set():
            found = await cache.users(users)
            inside = {s.id for s in found.users if s is not None and s.memberships}
            assert inside in halves, f"a blend of {len(inside)}"
            sizes = await cache.sizes()
            assert sizes.segments["big"].members == 100
            page = await cache.members("big", after="", limit=300)
            assert isinstance(page, Page) and set(page.users) in halves
            assert (set(page.users) == halves[0]) == (page.version % 2 == 1)
            seen.add((page.version,))

    async def hand_over(done: asyncio.Event) -> None:
        offset = 0
        for version in range(2, 12):
            new = halves[(version + 1) % 2]
            shuffled = random.Random(version).sample(users, len(users))
            for start in range(0, 200, 20):
                batch = [
                    message(user, version, ("big", version, user in new))
                    for user in shuffled[start : start + 20]
                ]
                step = Step(0, offset, offset + 20)
                offset += 20
                await asyncio.to_thread(writer.apply, generation, batch, [step])
            marker = Activation(n=version, segments=(Activated("big", version, version - 1),))
            step = Step(0, offset, offset + 1)
            offset += 1
            await asyncio.to_thread(writer.activate, generation, marker, step, partitions=1)
        done.set()

    async def both() -> None:
        caches = [CachedMemberships(servers.redis_url, namespace) for _ in range(3)]
        done = asyncio.Event()
        await asyncio.gather(hand_over(done), *(read(cache, done) for cache in caches))
        for cache in caches:
            await cache.close()

    asyncio.run(both())
    assert len(seen) > 3


def test_users_asked_for_together_are_answered_each(
    ask: Callable[[Ask[Any]], Any], writer: Writer
) -> None:
    filled(writer, [(f"u{n}", 1, n, [], None) for n in range(0, 900, 2)])

    async def many(cache: CachedMemberships) -> list[Any]:
        return list(await asyncio.gather(*(cache.user(f"u{n}") for n in range(900))))

    answers = ask(many)
    assert [state and state.updated_at for state, _ in answers] == [
        n if n % 2 == 0 else None for n in range(900)
    ]


def test_words_for_others(
    ask: Callable[[Ask[Any]], Any], writer: Writer, plain: Any, namespace: str
) -> None:
    assert ask(lambda cache: cache.loader()) is None
    status = LoaderStatus(
        state="loading", at=5, as_of=4, generation="0", lag=1, partitions={"0": {"offset": 1}}
    )
    writer.report(status)
    assert ask(lambda cache: cache.loader()) == status
    plain.set(f"{namespace}hr:loader", '{"state": "loading", "at": 5, "of": "a later release"}')
    assert ask(lambda cache: cache.loader()) == LoaderStatus(state="loading", at=5)
    plain.set(f"{namespace}hr:loader", "[1]")
    assert ask(lambda cache: cache.loader()) is None
    ask(lambda cache: cache.keep_definitions("text"))
    assert ask(lambda cache: cache.kept_definitions()) == "text"


@pytest.mark.parametrize("url", ["redis://:hush@127.0.0.1:9/0", "", "nonsense"])
def test_a_redis_that_is_down_is_named_without_its_password(url: str) -> None:
    with pytest.raises(CacheDown, match="HEADRACE_REDIS_URL") as caught:
        Writer(url).current()
    assert "hush" not in str(caught.value)

    async def read() -> None:
        await CachedMemberships(url).user("ann")

    with pytest.raises(CacheDown, match="HEADRACE_REDIS_URL"):
        asyncio.run(read())
