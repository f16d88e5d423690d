"""Where a project lies on disk: found from the working folder, so commands work from below it."""

from __future__ import annotations

import os
from pathlib import Path

# The repository, when Headrace runs from a checkout (editable install); else site-packages' parent,
# which holds neither jars.lock nor conf/ and is then passed over.
CHECKOUT = Path(__file__).resolve().parents[3]


def project_root(start: Path | None = None) -> Path:
    """The nearest folder at or above ``start`` with ``conf/local.toml`` or ``.headrace/``.

    Else the checkout Headrace runs from, else ``start`` itself.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "conf" / "local.toml").is_file() or (folder / ".headrace").is_dir():
            return folder
    return CHECKOUT if (CHECKOUT / "jars.lock").is_file() else here


def user_cache() -> Path:
    """The folder for downloads of this user, as desktops agree on it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "headrace"
