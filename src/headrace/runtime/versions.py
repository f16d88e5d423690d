"""The life of versions that are stored: active, active again, retired; each one publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.runtime.publication import Publication, carry_out
from headrace.settings import Settings
from headrace.store import Applied, Edition, Store


def activate(
    store: Store,
    settings: Settings,
    wanted: Mapping[str, int | None],
    *,
    author: str,
    reason: str = "",
    dry_run: bool = False,
) -> Publication:
    """Make stored texts active, by segment: that of a version, or (None) of the newest draft."""

    def change(edition: Edition, *, retention: int) -> Applied:
        histories = {segment: edition.history(segment) for segment in wanted}
        chosen = [
            history.draft() if number is None else history.numbered(number)
            for history, number in zip(histories.values(), wanted.values(), strict=True)
        ]
        return edition.activate(chosen, author=author, reason=reason, retention=retention)

    return carry_out(store, settings, change, author=author, dry_run=dry_run)


def roll_back(
    store: Store,
    settings: Settings,
    segment: str,
    *,
    to: int | None = None,
    author: str,
    reason: str = "",
    dry_run: bool = False,
) -> Publication:
    """Make an earlier text active, under a new number: that of version ``to``, or the last other.

    A retired segment comes back with it.
    """

    def change(edition: Edition, *, retention: int) -> Applied:
        history = edition.history(segment)
        chosen = history.before() if to is None else history.numbered(to)
        why = reason or f"back to version {chosen.version}"
        return edition.activate([chosen], author=author, reason=why, retention=retention)

    return carry_out(store, settings, change, author=author, dry_run=dry_run)


def retire(
    store: Store,
    settings: Settings,
    segments: Sequence[str],
    *,
    author: str,
    reason: str = "",
    dry_run: bool = False,
) -> Publication:
    """End segments: their members leave in one batch, and then the segments are gone."""

    def change(edition: Edition, *, retention: int) -> Applied:
        return edition.retire(segments, author=author, reason=reason, retention=retention)

    return carry_out(store, settings, change, author=author, dry_run=dry_run)
