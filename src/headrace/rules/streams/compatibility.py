"""What a new version of a stream would no longer bring."""

from __future__ import annotations

from headrace.rules.streams.carriers import carried
from headrace.rules.streams.model import Stream


def losses(old: Stream, new: Stream) -> tuple[str, ...]:
    """A sentence for each thing that rules may rest on and ``new`` does not bring as ``old`` did.

    Backward compatible is a version without any: whatever became an event still does, with the
    properties it had, of the user it was of, and once.
    """
    found = []
    if new.topic != old.topic:
        found.append(f"the topic {old.topic!r} would be read no more")
    before, after = carried(old), carried(new)
    if after is not None:
        gone = sorted(before - after) if before is not None else []
        if before is None:
            found.append(f"event types other than {', '.join(sorted(after))} would come no more")
        elif gone:
            found.append(f"the event types {', '.join(gone)} would come no more")
    found += [
        f"{what} would be found elsewhere, or not at all"
        for field, what in (("user_id", "whose events they are"), ("event_id", "the event's id"))
        if field in old.map.fields and old.map.fields[field] != new.map.fields.get(field)
    ]
    if old.map.all_properties is not None and new.map.all_properties != old.map.all_properties:
        found.append("properties that no expression names would come no more")
    if new.map.all_properties is None:
        named = {*new.map.properties, *new.enrich}
        lost = sorted({*old.map.properties, *old.enrich} - named)
        found += [f"the property {name!r} would come no more" for name in lost]
    return tuple(found)
