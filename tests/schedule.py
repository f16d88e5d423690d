"""Which tests of a run with several workers (`pytest -n`) stay on one of them."""

from __future__ import annotations

from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

# By folder: what shares a Spark session, or plays on a whole deployment of its own.
TOGETHER = {"tests/spark": "Spark", "tests/demo": "deployments", "tests/docs": "deployments"}


def scope(nodeid: str) -> str:
    """What ``nodeid`` is not to be torn from: its folder, if that is costly, or its file."""
    file = Path(nodeid.partition("::")[0])
    return TOGETHER.get(str(file.parent), str(file))


class Schedule(LoadScopeScheduling):
    """Gives a worker whole scopes."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)
