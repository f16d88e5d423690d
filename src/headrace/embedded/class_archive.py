"""Classes that Spark's JVM would load and verify one by one, kept in one file to map instead.

A restarted job processes a fifth sooner with it (decision 017). ``make setup`` makes the file once
for each Java and each set of Spark's jars; without it everything works, only later. See JEP 350.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from headrace.embedded.java import find_java

SCRIPT = Path(__file__).parents[1] / "spark" / "first_minute.py"
TIMEOUT_SECONDS = 300


def class_archive(spark_home: Path, java: str | None = None) -> Path:
    """Where the file is for this Java and these jars, or would be.

    It lies in the Python environment, since it holds for the jars in there and no others.
    """
    program = Path(java or find_java()).resolve()
    digest = hashlib.sha256(f"{program}\0{program.stat().st_mtime_ns}".encode())
    for jar in sorted((spark_home / "jars").glob("*.jar")):
        about = jar.stat()
        digest.update(f"\0{jar}\0{about.st_size}\0{about.st_mtime_ns}".encode())
    name = f"spark-{digest.hexdigest()[:16]}.jsa"
    return Path(sys.prefix) / "share" / "headrace" / name


def archive_option(spark_home: Path, java: str | None = None) -> tuple[str, ...]:
    """The JVM's option that uses the file; none when there is no file."""
    file = class_archive(spark_home, java)
    # Whatever does not fit makes a JVM go without: it never fails for that.
    return (f"-XX:SharedArchiveFile={file}", "-Xlog:cds=off") if file.is_file() else ()


def make_archive(spark_home: Path) -> str | None:
    """Make the file if it is missing; why it could not be made, or None.

    Files for other jars go: each has 200 MB.
    """
    file = class_archive(spark_home)
    if file.is_file():
        return None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return str(error)
    for old in file.parent.glob("spark-*.jsa*"):
        old.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="headrace-classes-") as folder:
        made = Path(folder) / file.name
        trouble = _first_minute(folder, made)
        if trouble is not None or not made.is_file():
            return trouble or "Java left no archive"
        partial = file.with_suffix(f".jsa{os.getpid()}")
        shutil.copyfile(made, partial)
        partial.replace(file)
    return None


def _first_minute(folder: str, made: Path) -> str | None:
    """Run the script under a JVM that leaves ``made``; why it ended early, or None."""
    # Read by spark-submit for the driver's JVM alone, beside whatever options it is given.
    dump = f"-XX:ArchiveClassesAtExit={made} -Xlog:cds=off -Xlog:cds+dynamic=off"
    words = [sys.executable, "-m", "headrace.embedded.submit", str(SCRIPT), f"{folder}/home"]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, "SPARK_SUBMIT_OPTS": dump},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
