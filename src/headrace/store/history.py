"""The versions of one segment, and which of them is meant."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from headrace.errors import OperatorError
from headrace.rules.source import did_you_mean
from headrace.store import versions
from headrace.store.versions import StoredVersion


@dataclass(frozen=True, slots=True)
class History:
    """Every version of a segment, oldest first; there is at least one."""

    segment_id: str
    versions: tuple[StoredVersion, ...]

    @property
    def active(self) -> StoredVersion | None:
        """The version in force; None for a segment that is a draft so far, or retired."""
        return next((one for one in self.versions if one.state == "active"), None)

    def in_force(self) -> StoredVersion:
        """The active version."""
        if self.active is None:
            raise OperatorError(f"segment {self.segment_id!r} is not active", code="HR932")
        return self.active

    def numbered(self, version: int) -> StoredVersion:
        """The version of that number."""
        found = next((one for one in self.versions if one.version == version), None)
        if found is None:
            there = ", ".join(str(one.version) for one in self.versions)
            raise OperatorError(
                f"segment {self.segment_id!r} has no version {version} (it has {there})",
                code="HR932",
            )
        return found

    def draft(self) -> StoredVersion:
        """The newest draft."""
        drafts = [one for one in self.versions if one.state == "draft"]
        if not drafts:
            raise OperatorError(
                f"segment {self.segment_id!r} has no draft; `headrace apply RULES --draft` makes "
                "one, and --version names any other version",
                code="HR932",
            )
        return drafts[-1]

    def before(self) -> StoredVersion:
        """What was active before: the newest other text; of a retired segment, its last."""
        active = self.active
        earlier = [
            one
            for one in self.versions
            if one.activated_at is not None and (active is None or one.text != active.text)
        ]
        if not earlier:
            raise OperatorError(
                f"segment {self.segment_id!r} never said anything else", code="HR932"
            )
        return earlier[-1]


def history_of(connection: Connection, segment_id: str) -> History:
    """Every version of a segment; OperatorError when it never had one."""
    found = versions.all_of(connection, segment_id)
    if not found:
        hint = did_you_mean(segment_id, versions.known_ids(connection))
        raise OperatorError(
            f"there is no segment {segment_id!r}{f' ({hint})' if hint else ''}", code="HR931"
        )
    return History(segment_id, tuple(found))
