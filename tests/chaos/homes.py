"""A home of its own for each trial."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from page import KEPT

from headrace import embedded
from headrace.embedded.services import stop_services


@contextmanager
def trial_home(trial: str) -> Iterator[tuple[Path, ExitStack]]:
    """A home, and what is to be done before it goes.

    Whatever runs in it is ended. When the trial breaks off, what its processes said is kept.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"headrace-{trial}-"))
    home = folder / "home"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(embedded.down, home)
        stack.callback(stop_services, home)
        stack.push(lambda kind, *_: _keep_logs(trial, home) if kind else None)
        yield home, stack


def _keep_logs(trial: str, home: Path) -> None:
    kept = KEPT / f"{trial}-logs"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(home / "logs", kept)
    print(f"what its processes said: {kept}")
