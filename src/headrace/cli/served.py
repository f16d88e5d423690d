"""The demo as a client of the API: plain HTTP, what any application would send."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from headrace.clock import Instant, parse_instant
from headrace.errors import OperatorError

USERS_AT_ONCE = 1_000
REQUESTS_AT_ONCE = 4
TIMEOUT_SECONDS = 15.0
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Api:
    """The API at ``base``, such as ``http://127.0.0.1:8080``."""

    base: str
    key: str = field(default="", repr=False)

    def segments(self) -> tuple[dict[str, int], Instant | None]:
        """Members by segment, and the instant that is true for; nothing while it is not ready."""
        answer = self._ask("/v1/segments")
        if answer is None:
            return {}, None
        sizes = {row["id"]: row["size"] or 0 for row in answer["segments"]}
        return sizes, parse_instant(answer["as_of"])

    def some_member(self, segment: str) -> str | None:
        """A member of ``segment``, if it has any."""
        answer = self._ask(f"/v1/segments/{segment}/members?limit=1")
        users = answer["users"] if answer else []
        return str(users[0]) if users else None

    def memberships(self, users: Sequence[str]) -> set[tuple[str, str]]:
        """All (segment, user) among ``users``; joined ones under their canonical id."""
        parts = [users[i : i + USERS_AT_ONCE] for i in range(0, len(users), USERS_AT_ONCE)]
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            return {pair for pairs in pool.map(self._batch, parts) for pair in pairs}

    def _batch(self, users: Sequence[str]) -> list[tuple[str, str]]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := self._ask("/v1/memberships:batch", {"users": list(users)})) is None:
            if time.monotonic() > deadline:
                raise OperatorError(f"the API at {self.base} is still not ready")
            time.sleep(0.2)
        return list(_pairs(answer))

    @property
    def _shown(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    def _ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The answer as JSON; None while the API cannot answer yet (503)."""
        request = urllib.request.Request(
            self.base + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", **self._shown},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            raise OperatorError(
                f"{self.base}{path} answers {error.code}: {error.read()!r}"
            ) from error
        except ValueError as error:
            raise OperatorError(
                f"{self.base}{path} answers something that is not JSON: is another server there?"
            ) from error
        except OSError as error:
            raise OperatorError(f"the API at {self.base} does not answer: {error}") from error


def _pairs(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for user in answer["users"]:
        for segment in user["segments"]:
            yield segment, user["canonical_id"]
