"""One streaming job writes the tables of a home; the next has them once the first is gone."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from headrace.errors import OperatorError
from headrace.jobs.table_lock import TableLock

HOLD = """
import sys, time
from pathlib import Path
from headrace.jobs.table_lock import TableLock
TableLock(Path(sys.argv[1])).require()
print("held", flush=True)
time.sleep(60)
"""


def test_another_job_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    lock = TableLock(tmp_path)
    assert not lock.is_held()
    with pytest.raises(OperatorError, match="another streaming job writes the tables") as refusal:
        lock.require()
    assert refusal.value.code == "HR913"
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert lock.is_held() and lock.is_held()
    assert not TableLock(tmp_path).is_held()
    lock.release()
    assert TableLock(tmp_path).is_held()


@pytest.mark.parametrize("is_the_same", [True, False])
def test_the_jvm_of_a_driver_that_died_is_ended_first(tmp_path: Path, is_the_same: bool) -> None:
    java = tmp_path / "java"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", java)
    jvm = subprocess.Popen([str(java), "60"])
    try:
        started = psutil.Process(jvm.pid).create_time() - (0 if is_the_same else 100)
        told = json.dumps({"jvm": jvm.pid, "started": started})
        (tmp_path / "stream.lock").write_text(told)
        begun = time.monotonic()
        assert TableLock(tmp_path).is_held()
        assert (jvm.poll() is not None) is is_the_same, "a pid that is another's is left alone"
        assert time.monotonic() - begun < 5
    finally:
        jvm.kill()
        jvm.wait()
