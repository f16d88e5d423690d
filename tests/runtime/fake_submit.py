#!/usr/bin/env python3
"""Stands in for spark-submit: a launcher with the driver as its child, as the real one has.

Usage: fake_submit.py DIARY BEHAVIOUR [--in-reserve]. Each driver writes a line to DIARY when it
starts and ends, and whether another driver was at work.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

diary, behaviour = Path(sys.argv[1]), Path(sys.argv[2]).read_text().strip()


def note(text: str) -> None:
    with diary.open("a") as file:
        file.write(f"{text} {os.getpid()}\n")


if os.environ.get("FAKE_ROLE") == "driver":
    lock = os.open(diary.with_suffix(".lock"), os.O_CREAT | os.O_RDWR)
    in_reserve = "--in-reserve" in sys.argv
    if in_reserve:
        note("reserve")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if in_reserve else fcntl.LOCK_NB))
    except OSError:
        note("TWO-WRITERS")
    if behaviour == "crash":
        note("crash")
        sys.exit(7)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: (note("end"), sys.exit(0)))
    note("start")
    while True:
        time.sleep(0.05)

driver = subprocess.Popen(
    [sys.executable, str(Path(__file__).with_name("run_stream.py")), *sys.argv[1:]],
    env={**os.environ, "FAKE_ROLE": "driver"},
)
sys.exit(driver.wait())
