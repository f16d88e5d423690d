"""The key that tombstones and receipts are made with: as it is set, or kept under home."""

from __future__ import annotations

import os
import secrets

from headrace.errors import OperatorError
from headrace.settings.tree import Settings


def tombstone_key(settings: Settings) -> str:
    """The key that is set, or the one kept under home, made when first asked for."""
    given = settings.tombstone_key.get_secret_value()
    if given:
        return given
    kept = settings.home / "tombstone.key"
    if not kept.exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        file = os.open(kept, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(file, "w") as text:
            text.write(secrets.token_hex(32))
    return kept.read_text()


def known_tombstone_key(settings: Settings) -> str:
    """The key of a stream that has run; raises OperatorError where it is not known."""
    kept = settings.home / "tombstone.key"
    if not settings.tombstone_key.get_secret_value() and not kept.exists():
        raise OperatorError(
            f"the key of tombstones is not here: {kept} is missing; run this where the streaming "
            "job runs, once it has started, or set HEADRACE_TOMBSTONE_KEY",
            code="HR918",
        )
    return tombstone_key(settings)
