"""What a new version of a stream would no longer bring, or not as it did."""

from __future__ import annotations

from headrace.rules.streams.carriers import carried
from headrace.rules.streams.model import Constant, Stream
from headrace.rules.streams.schemas import covers

FIELDS = {
    "type": "of what type an event is",
    "user_id": "whose events they are",
    "ts": "when an event happened",
    "event_id": "the event's id",
    "from": "who is joined",
    "to": "whom he is joined with",
}


def losses(old: Stream, new: Stream) -> tuple[str, ...]:
    """A sentence for each thing that rules may rest on and ``new`` does not bring as ``old`` did.

    Backward compatible is a version without any: whatever became an event still does, with the
    properties it had, found where they were, of the user it was of, and once.
    """
    found = []
    if new.topic != old.topic:
        found.append(f"the topic {old.topic!r} would be read no more")
    if new.format != old.format:
        found.append(f"messages in the form {old.format!r} would be read as {new.format!r}")
        return tuple(found)
    if new.key != old.key:
        found.append("rows would be told apart by other columns, and repeats not be known")
    if new.database != old.database and old.database is not None:
        found.append(f"the changes of {old.database.table} would come no more, or not all of them")
    if not _allows_what_came(old, new):
        found.append("messages may be rejected that its schema has allowed so far")
    found += _types(old, new)
    found += [
        f"{what} would be found elsewhere, or not at all"
        for field, what in FIELDS.items()
        if field in old.map.fields
        and old.map.fields[field] != new.map.fields.get(field)
        # Constants are types by name: what is said of those is said above.
        and not (field == "type" and isinstance(old.map.fields[field], Constant))
    ]
    if old.map.all_properties is not None and new.map.all_properties != old.map.all_properties:
        found.append("properties that no expression names would come no more")
    for before, after in ((old.map.properties, new.map.properties), (old.enrich, new.enrich)):
        for name, expression in before.items():
            if name not in after:
                found.append(f"the property {name!r} would come no more")
            elif after[name] != expression:
                found.append(f"the property {name!r} would be found elsewhere, or not at all")
    return tuple(found)


def _allows_what_came(old: Stream, new: Stream) -> bool:
    """May every message of ``old``, as its schema says, be one of ``new``?"""
    if new.format == "avro":
        return (new.schema, new.schema_id) == (old.schema, old.schema_id)
    return not new.schema or covers(new.schema, old.schema or "{}")


def _types(old: Stream, new: Stream) -> list[str]:
    before, after = carried(old), carried(new)
    if after is None:
        return []
    if before is None:
        return [f"event types other than {', '.join(sorted(after))} would come no more"]
    gone = sorted(before - after)
    return [f"the event types {', '.join(gone)} would come no more"] if gone else []
