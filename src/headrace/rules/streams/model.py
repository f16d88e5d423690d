"""A stream as frozen values: a topic, the form of its messages, and what each becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from headrace.clock import DAY

PARTITIONS: Final = 4
RETENTION: Final = 7 * DAY

Format = Literal["headrace", "json", "cloudevents", "avro", "debezium"]
Begin = Literal["earliest", "latest"]
Conversion = Literal["text", "number", "boolean", "seconds", "milliseconds", "instant"]
Scalar: TypeAlias = str | Decimal | bool


@dataclass(frozen=True, slots=True)
class At:
    """What stands at a path: keys of objects and places of lists, from the message down."""

    path: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """The same for every message."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class Converted:
    """A value as another type; what cannot be converted is a reason to reject the message."""

    of: Expression
    to: Conversion


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a table says of a value; ``default`` (or nothing) where it says nothing."""

    of: Expression
    table: Mapping[str, Scalar]
    default: Scalar | None = None


@dataclass(frozen=True, slots=True)
class First:
    """The first of several that is there."""

    of: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """Texts one after the other; nothing if one is missing."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Lower:
    """A text in small letters, without spaces around it."""

    of: Expression


@dataclass(frozen=True, slots=True)
class Computed:
    """A sum or product of numbers, exactly; nothing if one is missing."""

    how: Literal["sum", "product"]
    of: tuple[Expression, ...]


Expression: TypeAlias = At | Constant | Converted | Lookup | First | Joined | Lower | Computed


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What a message becomes: each field of an event by where it is found.

    ``properties`` are laid over the object at ``all_properties``, if that is given.
    """

    fields: Mapping[str, Expression] = field(default_factory=dict)
    properties: Mapping[str, Expression] = field(default_factory=dict)
    all_properties: At | None = None


@dataclass(frozen=True, slots=True)
class Database:
    """The table of which a connector of Kafka Connect sends the changes to a stream's topic.

    ``url`` is ``postgresql://user@host:port/name``, never with a password; ``table`` is named with
    its schema. With ``inserts_only`` rows that change or go are not sent again. With ``watermark``
    there is no connector: every so often a job reads the rows whose column of that name has grown.
    """

    url: str
    table: str
    inserts_only: bool = False
    watermark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A source of events: the messages of ``topic``.

    ``types`` are the event types it may carry (any, if none is named); those that come in over
    HTTP from one of ``sources`` are sent to its topic. ``enrich`` adds properties
    to the event once it has the form of ours. A topic that is not there is made with ``partitions``
    that are kept for ``retention`` ms. ``schema`` is a JSON text: the JSON Schema that messages
    must satisfy, or the one that Avro was written by, with ``schema_id`` if a registry numbers it.
    A stream that brings nothing for ``silent_after`` ms is silent. Of changes of rows, ``key`` are
    the columns that name a row, and ``database`` says whose rows, if it is us who fetch them.
    """

    id: str
    topic: str
    owner: str = ""
    description: str = ""
    format: Format = "json"
    types: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    begin: Begin = "earliest"
    partitions: int = PARTITIONS
    retention: int = RETENTION
    silent_after: int | None = None
    schema: str = ""
    schema_id: int | None = None
    key: tuple[str, ...] = ()
    database: Database | None = None
    map: Mapped = field(default_factory=Mapped)
    enrich: Mapping[str, Expression] = field(default_factory=dict)

    @property
    def is_connected(self) -> bool:
        """Does a connector of Kafka Connect bring it?"""
        return self.database is not None and not self.database.watermark

    @property
    def is_pulled(self) -> bool:
        """Does a job bring it, every so often?"""
        return self.database is not None and bool(self.database.watermark)
