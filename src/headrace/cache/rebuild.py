"""A whole generation from rows of the profiles table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from headrace.cache.writer import Writer
from headrace.clock import Instant

# user, n, at, memberships (segment, version, entered at), traits as JSON text
Row: TypeAlias = tuple[str, int, Instant, Sequence[tuple[str, int, Instant]], str | None]

# joined id, n, at, the id it goes by
Joined: TypeAlias = tuple[str, int, Instant, str]

# Users a script writes at once: some 5 ms of Redis's time, during which nobody else is served.
USERS_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild wrote."""

    generation: str
    users: int
    memberships: int


def rebuild(
    writer: Writer,
    rows: Iterable[Row],
    end_offsets: Mapping[int, int],
    *,
    active: Mapping[str, int],
    as_of: Instant,
    joined: Iterable[Joined] = (),
    n: int | None = None,
) -> Rebuilt:
    """Fill a new generation and let everybody read it.

    ``end_offsets`` are those of memberships.v1 from *before* the rows were read: the loader goes
    on there, and what it reads twice it skips by n. ``active`` are the versions the rows were
    written under; a version that only the rows know is newer, and wins.
    ``joined`` ids lead to the ones they go by. Markers up to batch ``n`` are in the rows already.
    """
    generation = writer.begin_generation(end_offsets, as_of=as_of)
    newest = dict(active)
    oldest = dict(active)
    counts: Counter[str] = Counter()
    users: list[tuple[str, list[str], str | None]] = []
    members: dict[str, list[str]] = defaultdict(list)
    total = held = 0

    # Redis writes one batch while the next is read and packed here.
    pool = ThreadPoolExecutor(1, thread_name_prefix="rebuild")
    writing: Future[None] | None = None

    def write() -> None:
        nonlocal users, members, writing
        if writing is not None:
            writing.result()
        writing = pool.submit(writer.load, generation, users, members)
        users, members = [], defaultdict(list)

    for user, n, at, memberships, traits in rows:
        fields = ["_n", str(n), "_at", str(at)]
        for segment, version, entered in memberships:
            field = f"{segment}@{version}"
            fields += (field, f"+{entered}")
            counts[field] += 1
            members[segment].append(user)
            newest[segment] = max(version, newest.get(segment, version))
            oldest[segment] = min(version, oldest.get(segment, version))
        users.append((user, fields, traits))
        total += 1
        held += len(memberships)
        if len(users) >= USERS_AT_ONCE:
            write()
    for user, n, at, canonical in joined:
        fields = ["_n", str(n), "_at", str(at), "_gone", "1", "_to", canonical]
        users.append((user, fields, None))
        if len(users) >= USERS_AT_ONCE:
            write()
    write()
    pool.shutdown()
    assert writing is not None
    writing.result()
    writer.finish_generation(
        generation,
        active=newest,
        # No older version is in there, so none need be looked for.
        floor={segment: version - 1 for segment, version in oldest.items()},
        counts=_by_active(counts, newest),
        as_of=as_of,
        activated=n,
    )
    return Rebuilt(generation, total, held)


def _by_active(counts: Mapping[str, int], active: Mapping[str, int]) -> dict[str, int]:
    """Members per segment, whichever version each entered by, under the active version."""
    sums: Counter[str] = Counter()
    for field, count in counts.items():
        segment = field.rpartition("@")[0]
        sums[f"{segment}@{active[segment]}"] += count
    return dict(sums)
