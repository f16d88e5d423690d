"""`headrace` in this process: (exit code, output, errors)."""

from __future__ import annotations

from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]
