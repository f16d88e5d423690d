"""Postgres, Kafka and Redis for one machine, where no address of such a server is configured.

Everything is kept under one home: data in ``data/``, output in ``logs/``, records of what was
started in ``run/``. Two homes never meet.
"""

from headrace.embedded.servers import (
    Servers,
    ServerStatus,
    down,
    running,
    status,
    up,
    up_connect,
)

__all__ = ["ServerStatus", "Servers", "down", "running", "status", "up", "up_connect"]
