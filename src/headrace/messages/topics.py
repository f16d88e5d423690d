"""The topics, in one table: they are created and docs/asyncapi.yaml is printed from it."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.clock import DAY

EVENTS = "events.v1"
DEAD = "events.dead.v1"
ACCEPTED = "events.accepted.v1"
MEMBERSHIPS = "memberships.v1"
SEGMENTS = "segments.v1"
CONTROL = "control.v1"
MESSAGES = "messages.v1"

FOREVER = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic: how it is cut, how long it lasts, what its key is."""

    name: str
    partitions: int
    retention_ms: int
    compacted: bool
    key: str
    description: str

    def named(self, namespace: str) -> str:
        """The topic's name on a broker that several namespaces may share."""
        return in_namespace(namespace, self.name)

    @property
    def config(self) -> dict[str, str]:
        """The broker's settings for the topic."""
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
        }


TOPICS: tuple[Topic, ...] = (
    Topic(
        name=EVENTS,
        partitions=4,
        retention_ms=7 * DAY,
        compacted=False,
        key="user id",
        description="Facts as producers send them: events, traits, aliases, deletions.",
    ),
    Topic(
        name=DEAD,
        partitions=1,
        retention_ms=30 * DAY,
        compacted=False,
        key="none",
        description="Rejected messages, byte for byte, with the reason in the headers.",
    ),
    Topic(
        name=ACCEPTED,
        partitions=4,
        retention_ms=7 * DAY,
        compacted=False,
        key="user id",
        description="Accepted events after their commit, once each, for types with `publish`.",
    ),
    Topic(
        # Not compacted: a loader can rebuild Redis from it as long as it begins at offset 0.
        name=MEMBERSHIPS,
        partitions=4,
        retention_ms=30 * DAY,
        compacted=False,
        key="user id; empty for markers, which stand in every partition",
        description="Who entered and left which segment: one message per user and batch.",
    ),
    Topic(
        name=SEGMENTS,
        partitions=4,
        retention_ms=FOREVER,
        compacted=True,
        key="segment/user",
        description="The latest membership of each user in each segment; empty once forgotten.",
    ),
    Topic(
        # One partition: commands are read in the order they were given.
        name=CONTROL,
        partitions=1,
        retention_ms=7 * DAY,
        compacted=False,
        key="kind",
        description="Notices to the streaming job: a new plan is active.",
    ),
    Topic(
        name=MESSAGES,
        partitions=4,
        retention_ms=7 * DAY,
        compacted=False,
        key="user id",
        description="Messages to be sent to users.",
    ),
)


def in_namespace(namespace: str, name: str) -> str:
    """``name`` behind the namespace's prefix (which says itself how it ends: ``acme.``)."""
    return namespace + name


def topic(name: str) -> Topic:
    """The row of the table with that name."""
    return next(row for row in TOPICS if row.name == name)
