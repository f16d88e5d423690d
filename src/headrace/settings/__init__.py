"""Settings: read in one place, frozen, handed down as values.

flag > environment ``HEADRACE_…`` (nested by ``__``) > ``.env`` > ``conf/<target>.toml`` > addresses
of the embedded servers > default.
"""

from headrace.settings.loading import Loaded, Origin, load, load_settings
from headrace.settings.tree import (
    Cache,
    Connect,
    Embedded,
    Ingest,
    Retention,
    Settings,
    Stream,
)

__all__ = [
    "Cache",
    "Connect",
    "Embedded",
    "Ingest",
    "Loaded",
    "Origin",
    "Retention",
    "Settings",
    "Stream",
    "load",
    "load_settings",
]
