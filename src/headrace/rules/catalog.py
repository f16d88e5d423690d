"""The catalog: which event types, properties and traits exist, and of what type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from headrace.rules.model import Measure

FieldType = Literal["string", "integer", "decimal", "boolean", "timestamp", "array<string>"]
Mode = Literal["freeze", "evolve", "quarantine"]


LIST: Final = "list:"
"""Names of traits that begin so are lists: who is on one has it as true."""


@dataclass(frozen=True, slots=True)
class Field:
    """One property or trait: its type, unit and whether it identifies a person."""

    type: FieldType
    unit: str = ""
    pii: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Computed:
    """A trait that nobody states: what ``measure`` comes to for the user, at any instant."""

    measure: Measure
    description: str = ""


@dataclass(frozen=True, slots=True)
class EventType:
    """One kind of fact and the properties it may carry.

    Those to ``publish`` leave again for other systems, once they are accepted.
    """

    properties: Mapping[str, Field] = field(default_factory=dict)
    description: str = ""
    publish: bool = False


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything rules may refer to.

    A name is that of a trait or of a computed one.
    ``properties_mode`` and ``events_mode`` say what happens to names the catalog lacks:
    ``freeze`` rejects the event, ``evolve`` keeps it, ``quarantine`` sets it aside.
    """

    events: Mapping[str, EventType] = field(default_factory=dict)
    traits: Mapping[str, Field] = field(default_factory=dict)
    computed: Mapping[str, Computed] = field(default_factory=dict)
    properties_mode: Mode = "evolve"
    events_mode: Mode = "evolve"
