"""Streams come and go: kept in Postgres, their topics on the broker, read by the streaming job."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from headrace.errors import OperatorError
from headrace.messages.topics import TOPICS, Topic
from headrace.rules.streams import Stream
from headrace.rules.streams.compatibility import losses
from headrace.runtime.publication import Publication, carry_out
from headrace.settings import Settings
from headrace.store import Edition, Store, StoredStream


def add_stream(
    store: Store,
    settings: Settings,
    stream: Stream,
    *,
    author: str,
    reason: str,
    incompatible: bool = False,
) -> int:
    """Keep a version of ``stream``, to be activated; its number.

    Raises OperatorError for a topic of our own and, unless ``incompatible``, for a version that
    would no longer bring what the one in force does.
    """
    if stream.topic in {row.named(settings.namespace) for row in TOPICS}:
        raise OperatorError(
            f"{stream.topic!r} is a topic of Headrace itself: events in our own form go to it "
            "without a stream",
            code="HR949",
        )
    with store.publishing() as edition:
        known = edition.every_stream()
        _require_same_rows(known, stream)
        if not incompatible:
            _require_compatible(known, stream)
        return edition.add_stream(stream, author=author, reason=reason)


def _require_same_rows(known: Sequence[StoredStream], stream: Stream) -> None:
    """OperatorError for a version of a stream in force that would read other rows.

    How far a connector has read, and what the database keeps for it, hold for one table.
    """
    for one in known:
        if one.id != stream.id or one.state not in ("active", "paused"):
            continue
        old = one.readable
        if old is not None and old.database is not None and old.database != stream.database:
            raise OperatorError(
                f"{one.id!r} is {one.state} and reads {old.database.table}: retire it, and add it"
                " anew, to read another table, another database or in another way",
                code="HR961",
            )


def _require_compatible(known: Sequence[StoredStream], stream: Stream) -> None:
    """OperatorError for each thing that the version in force brings and ``stream`` would not."""
    for one in known:
        if one.id == stream.id and one.state in ("active", "paused"):
            lost = losses(one.stream, stream)
            if lost:
                raise OperatorError(
                    f"this is not compatible with version {one.version} of {one.id!r}, which is"
                    f" {one.state}: {'; '.join(lost)}. Rules may rest on that; --incompatible, or"
                    " incompatible=true over HTTP, keeps it all the same",
                    code="HR961",
                )


def activate_stream(
    store: Store, settings: Settings, id: str, *, version: int | None, author: str, reason: str
) -> Publication:
    """Let the streaming job read a stream, whose topic is made if it is not there."""
    change = partial(
        Edition.move_stream, id=id, state="active", version=version, author=author, reason=reason
    )
    # Tried first: no topic is made for a stream that cannot be activated.
    wanted = carry_out(store, settings, change, author=author, dry_run=True).plan.streams
    _make_topic(settings, next(stream for stream in wanted if stream.id == id))
    return carry_out(store, settings, change, author=author)


def pause_stream(
    store: Store, settings: Settings, id: str, *, author: str, reason: str
) -> Publication:
    """Read a stream no further; activated again, it goes on where it was left."""
    change = partial(Edition.move_stream, id=id, state="paused", author=author, reason=reason)
    return carry_out(store, settings, change, author=author)


def retire_stream(
    store: Store, settings: Settings, id: str, *, author: str, reason: str
) -> Publication:
    """Read a stream no more. What it has brought stays, and so does its topic."""
    change = partial(Edition.move_stream, id=id, state="retired", author=author, reason=reason)
    return carry_out(store, settings, change, author=author)


def _make_topic(settings: Settings, stream: Stream) -> None:
    # Slow to import, and the supervisor, which shares this package, never speaks to Kafka.
    from headrace.kafka.kafka_python import KafkaPythonAdmin

    wanted = Topic(
        name=stream.topic,
        partitions=stream.partitions,
        retention_ms=stream.retention,
        compacted=False,
        key="",
        description=stream.description,
    )
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        admin.create_topics("", (wanted,))
