"""A disk that fills up under the stream: docs/runbooks/disk-full.md as a test."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deployment import Deployment
from headrace.errors import OperatorError
from headrace.spark.recompute import Audit
from headrace.spark.session import Session
from headrace.spark.start import newest_batch

CATALOG = (Path(__file__).resolve().parents[2] / "rules" / "catalog.yaml").read_text()
SMALL = 64 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this user may not mount a small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def purchases(number: int) -> list[dict[str, object]]:
    now = time.time_ns() // 1_000_000
    about = {"type": "purchase", "ts": now, "properties": {"amount": 5}}
    return [{**about, "event_id": f"{number}-{i}", "user_id": f"user-{i}"} for i in range(200)]


def test_a_full_disk_stops_the_stream_by_name_and_costs_nothing(
    deployment: Deployment, spark: Session, disk: Path
) -> None:
    settings = deployment.settings.model_copy(
        update={
            "tables_root": str(disk / "tables"),
            "checkpoint_root": str(disk / "checkpoints"),
        }
    )
    here = Deployment(
        spark, settings, deployment.rules, deployment.store, deployment.producer, deployment.lines
    )
    here.publish({"buyers": "{event: purchase, count: true, within: 30 days, gte: 2}"}, CATALOG)
    here.sent = len(here.lines)
    here.send(purchases(1))
    here.run()
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    assert shutil.disk_usage(disk).free == 0
    here.send(purchases(2))
    with pytest.raises(OperatorError, match=f"on the disk of {disk}") as stopped:
        here.run()
    assert stopped.value.code == "HR925"
    ballast.unlink()
    here.run()
    assert here.members() == here.expected()
    parity = Audit(spark, here.lake, newest_batch(spark, here.lake)).parity()
    assert (parity.differences, parity.states) == (0, 0)
