"""A worker of Kafka Connect, by its REST API."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from headrace.errors import OperatorError

SECONDS: Final = 20.0
NEW: Final[Mapping[str, Any]] = {"connector": {"state": "UNASSIGNED"}, "tasks": []}


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """How a connector is: ``trouble`` is what has failed in it, or empty.

    One that ``is_stopped`` was told to rest, and does until it is told otherwise.
    """

    name: str
    is_running: bool
    is_stopped: bool
    trouble: str


class Worker:
    """The worker at ``url``; raises OperatorError while it does not answer."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def statuses(self) -> Mapping[str, ConnectorStatus]:
        """Every connector by its name."""
        # One that has just been made has no status yet, and would be left out.
        told = self._ask("GET", "/connectors?expand=status&expand=info")
        return {name: _status(name, one.get("status", NEW)) for name, one in told.items()}

    def configuration(self, name: str) -> Mapping[str, str]:
        """The settings of a connector."""
        found: Mapping[str, str] = self._ask("GET", f"/connectors/{quote(name)}/config")
        return found

    def put(self, name: str, configuration: Mapping[str, str]) -> None:
        """Make a connector, or give it other settings."""
        self._ask("PUT", f"/connectors/{quote(name)}/config", configuration)

    def restart(self, name: str) -> None:
        """Start again what has failed of a connector."""
        query = "includeTasks=true&onlyFailed=true"
        self._ask("POST", f"/connectors/{quote(name)}/restart?{query}")

    def resume(self, name: str) -> None:
        """Let a connector that was stopped go on."""
        self._ask("PUT", f"/connectors/{quote(name)}/resume")

    def stop(self, name: str) -> None:
        """End what runs of a connector, soon after."""
        self._ask("PUT", f"/connectors/{quote(name)}/stop")

    def delete(self, name: str) -> None:
        """Forget a connector that was stopped, and how far it has read."""
        self._ask("DELETE", f"/connectors/{quote(name)}/offsets")
        self._ask("DELETE", f"/connectors/{quote(name)}")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise OperatorError(
                f"Kafka Connect at {self._url} refuses: {_told(error)}", code="HR971"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise OperatorError(
                f"Kafka Connect at {self._url} does not answer: {error}", code="HR971"
            ) from error
        return json.loads(content) if content else None


def _told(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"HTTP {error.code}"


def _status(name: str, told: Mapping[str, Any]) -> ConnectorStatus:
    parts = [told["connector"], *told["tasks"]]
    traces = [part.get("trace") or "" for part in parts if part["state"] == "FAILED"]
    running = all(part["state"] == "RUNNING" for part in parts) and len(parts) > 1
    resting = told["connector"]["state"] in ("STOPPED", "PAUSED")
    return ConnectorStatus(name, running, resting, _cause(traces[0]) if traces else "")


def _cause(trace: str) -> str:
    """What lies at the bottom of a Java trace, without the names of its classes."""
    lines = trace.strip().splitlines() or ["it has failed, and says not why"]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    said = (causes or lines)[-1]
    kind, colon, message = said.partition(": ")
    return message.strip() if colon and "." in kind and " " not in kind else said.strip()
