"""Who would enter and leave under rules that are not active yet: asked of Spark, and printed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import typer

from headrace.cli.invocation import Invocation
from headrace.rules.printer import print_catalog, print_segment
from headrace.runtime import Publication

MIB = 1 << 20


def previewed(run: Invocation, wanted: Publication) -> dict[str, Any]:
    """What the batch job says of ``wanted``; exit with its code when it fails."""
    loaded = run.loaded
    with tempfile.TemporaryDirectory(prefix="headrace-preview-") as name:
        asked, answer = Path(name) / "wanted.json", Path(name) / "answer.json"
        asked.write_bytes(question(wanted))
        command = [
            str(loaded.root / "spark-submit.sh"), "jobs/preview_rules.py",
            "--home", str(loaded.settings.home), "--target", loaded.target,
            "--wanted", str(asked), "--output", str(answer),
        ]  # fmt: skip
        # What Spark says of itself is nobody's answer.
        done = subprocess.run(command, cwd=loaded.root, stdout=sys.stderr, check=False)
        if done.returncode:
            raise typer.Exit(done.returncode)
        told: dict[str, Any] = orjson.loads(answer.read_bytes())
        return told


def question(wanted: Publication) -> bytes:
    """What the job is asked, as it reads it."""
    applied = wanted.applied
    return orjson.dumps(
        {
            "plan": wanted.plan.to_json(),
            "catalog": print_catalog(applied.catalog),
            "segments": [print_segment(one.segment) for one in applied.active],
        }
    )


def as_text(told: Mapping[str, Any]) -> str:
    """The preview for people."""
    lines = [f"as of {told['as_of']}, if it took over then:"]
    for one in told["segments"]:
        lines.append(
            f"  {one['segment']}  {one['now']} -> {one['then']} members:"
            f" {one['enter']} enter, {one['leave']} leave"
        )
        for word, users in (("enters", one["entering"]), ("leaves", one["leaving"])):
            lines += [f"    {user} {word}{_why(one['why'][user])}" for user in users]
    history = told["history"]
    if history["slots"]:
        lines.append(
            f"history: {history['slots']} slots from {history['rows']} events"
            f" ({history['bytes'] / MIB:.0f} MiB), about {history['seconds']:.0f} s"
        )
    return "\n".join(lines) + "\n"


def _why(leaves: list[dict[str, Any]]) -> str:
    said = "; ".join(
        f"{leaf['condition']} {'holds' if leaf['holds'] else 'fails'}, found {leaf['value']}"
        for leaf in leaves
    )
    return f": {said}" if said else ""
