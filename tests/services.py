"""The API and the loader as processes of a test, asked over a real socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.settings import Settings

ROOT = Path(__file__).parents[1]
PATIENCE = 30.0


def environment(settings: Settings, port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HEADRACE_HOME": str(settings.home),
        "HEADRACE_NAMESPACE": settings.namespace,
        "HEADRACE_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "HEADRACE_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "HEADRACE_REDIS_URL": settings.redis_url.get_secret_value(),
        "HEADRACE_API_PORT": str(port),
        "HEADRACE_FRESHNESS_SECONDS": str(settings.freshness_seconds),
        "HEADRACE_API_HOST": settings.api_host,
        "HEADRACE_API_ANONYMOUS": settings.api_anonymous,
    }


@contextmanager
def process(name: str, settings: Settings, port: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(
        [sys.executable, f"jobs/{name}.py"],
        cwd=ROOT,
        env=environment(settings, port),
        stderr=subprocess.PIPE,
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        _, errors = started.communicate(timeout=PATIENCE)
        assert started.returncode in (0, 1), errors.decode()
        assert b"Traceback" not in errors, errors.decode()


def read(port: int, path: str, key: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def get(port: int, path: str, key: str = "") -> tuple[int, Any]:
    status, body = read(port, path, key)
    return status, json.loads(body)


def wait_for(port: int, path: str, status: int, key: str = "") -> Any:
    deadline = time.monotonic() + PATIENCE
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = get(port, path, key)
            if last[0] == status:
                return last[1]
        except (OSError, http.client.HTTPException) as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{path}: {last}")


def is_fresh(port: int) -> bool:
    """Does it answer, and is that not stale?"""
    try:
        status, body = get(port, "/v1/segments")
    except (OSError, http.client.HTTPException):
        return False
    return status == 200 and not body["stale"]


def wait_until_stale(port: int, target: float) -> None:
    """A stage stands still since a moment ago: the flags are up within twice the target."""
    deadline = time.monotonic() + 2 * target
    while not (listed := get(port, "/v1/segments")[1])["stale"]:
        assert time.monotonic() < deadline, f"not flagged within {2 * target} s: {listed}"
        time.sleep(0.05)
    segments = [row["id"] for row in listed["segments"]]
    assert segments and all(row["stale"] for row in listed["segments"])
    assert get(port, f"/v1/segments/{segments[0]}")[1]["stale"]
    ready = get(port, "/readyz")[1]
    assert (ready["status"], ready["stale_since"]) == ("ready", listed["as_of"])
    told = read(port, "/metrics")[1].decode().splitlines()
    assert f"headrace_stale_segments {float(len(segments))}" in told
    assert {f'headrace_segment_stale{{segment="{name}"}} 1.0' for name in segments} <= set(told)
    assert time.monotonic() < deadline
