"""Beside ours: the jobs people write by hand, and our own batch evaluation, on the same input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from stage import ROOT, Stage
from truth import Ranked, measures, members
from workload import (
    DAY,
    TYPES,
    Events,
    Ints,
    Rules,
    catalog_document,
    encode,
    rule_document,
    rule_name,
    rule_number,
    user_number,
)

from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import EVENTS, Topic

SINK = Topic(
    name="by-hand.v1",
    partitions=4,
    retention_ms=DAY,
    compacted=False,
    key="user id",
    description="What jobs written by hand publish.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """What a job written by hand did in the time it was given."""

    kind: str
    rules: int
    events: int
    wanted: int
    seconds: float
    batches: int
    failure: str | None
    wrong: int | None  # memberships that differ from the truth at its last instant, if it finished
    right: int | None

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds if self.seconds else 0.0


def by_hand(stage: Stage, kind: str, events: Events, rules: Rules, seconds: float) -> ByHand:
    """Run ``by_hand.py KIND`` against the topic."""
    root = stage.home / "by-hand"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with KafkaPythonAdmin(stage.bootstrap) as admin:
        admin.create_topics(topics=[SINK])
    parts = [
        [[m.function, TYPES[m.type], m.days, constant] for m, constant in rules.conjuncts(number)]
        for number in range(len(rules))
    ]
    (root / "rules.json").write_text(json.dumps(parts))
    result = root / "result.json"
    with (root / "log").open("wb") as log:
        subprocess.run(
            [
                *("./spark-submit.sh", "tests/bench/by_hand.py", kind),
                *("--bootstrap", stage.bootstrap, "--topic", EVENTS, "--sink", SINK.name),
                *("--rules", str(root / "rules.json"), "--root", str(root)),
                *("--result", str(result), "--events", str(len(events))),
                *("--seconds", str(seconds)),
            ],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            check=False,
            timeout=seconds * 10 + 600,
        )
    if not result.exists():
        return _result(kind, events, rules, {"failure": f"crashed; see {root / 'log'}"})
    return _result(kind, events, rules, orjson.loads(result.read_bytes()))


def _result(kind: str, events: Events, rules: Rules, told: dict[str, object]) -> ByHand:
    wrong = right = None
    if "members" in told:
        true = members(Ranked.of(measures(events, int(told["now"]))), rules)  # type: ignore[call-overload]
        found = np.array(
            [user_number(user) * len(rules) + k for user, k in told["members"]],  # type: ignore[attr-defined]
            dtype=np.int64,
        )
        wrong, right = len(np.setxor1d(true, found)), len(true)
    return ByHand(
        kind=kind,
        rules=len(rules),
        events=int(told.get("events", 0)),  # type: ignore[call-overload]
        wanted=len(events),
        seconds=float(told.get("seconds", 0.0)),  # type: ignore[arg-type]
        batches=int(told.get("batches", 0)),  # type: ignore[call-overload]
        failure=str(told["failure"]) if told.get("failure") else None,
        wrong=wrong,
        right=right,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """One `headrace evaluate` over a file of all events."""

    engine: str
    users: int
    rules: int
    events: int
    seconds: float
    wrong: int
    right: int

    @property
    def rate(self) -> float:
        """Users times rules a second, start-up included."""
        return self.users * self.rules / self.seconds


def write_files(folder: Path, events: Events, rules: Rules) -> tuple[Path, Path]:
    """The events as JSON lines and the rules as files; their places."""
    segments = folder / "rules" / "segments"
    segments.mkdir(parents=True, exist_ok=True)
    (folder / "rules" / "catalog.yaml").write_bytes(orjson.dumps(catalog_document()))
    for number in range(len(rules)):
        text = orjson.dumps(rule_document(rules, number))
        (segments / f"{rule_name(number)}.json").write_bytes(text)
    lines = folder / "events.jsonl"
    with lines.open("w", encoding="utf-8") as file:
        for rows in encode(events):
            file.writelines(f"{value}\n" for _, _, value in rows)
    return folder / "rules", lines


def evaluate(engine: str, rules_at: Path, lines: Path, events: Events, rules: Rules) -> Evaluated:
    """Run `headrace evaluate` at the present instant and hold its answer against the truth."""
    at = time.time_ns() // 1_000_000
    moment = f"{np.datetime64(at, 'ms')}Z"
    output = lines.parent / f"members-{engine}.csv"
    started = time.monotonic()
    with output.open("wb") as file:
        subprocess.run(
            [
                *(sys.executable, "-m", "headrace.cli", "evaluate", str(rules_at)),
                *("--events", str(lines), "--at", moment, "--engine", engine, "--output", "csv"),
            ],
            cwd=ROOT,
            stdout=file,
            check=True,
        )
    seconds = time.monotonic() - started
    true = members(Ranked.of(measures(events, at)), rules)
    found = _read(output, len(rules))
    return Evaluated(
        engine=engine,
        users=events.users,
        rules=len(rules),
        events=len(events),
        seconds=seconds,
        wrong=len(np.setxor1d(true, found)),
        right=len(true),
    )


def _read(output: Path, rules: int) -> Ints:
    rows = [line.split(",") for line in output.read_text(encoding="utf-8").splitlines()[1:]]
    numbers = [user_number(user) * rules + rule_number(segment) for segment, user in rows]
    return np.array(numbers, dtype=np.int64)
