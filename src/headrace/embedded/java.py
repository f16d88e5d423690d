"""The Java that runs Spark and the embedded broker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from headrace.errors import OperatorError

OLDEST = 17  # Spark 4 and Kafka 4 brokers are built for it

ADVICE = "on Debian: apt install openjdk-17-jre-headless, on macOS: brew install openjdk@17"


def find_java() -> str:
    """The program ``java``: of JAVA_HOME, as Spark does it, else on PATH."""
    home = os.environ.get("JAVA_HOME")
    if home:
        program = Path(home) / "bin" / "java"
        if program.exists():
            return str(program)
        raise OperatorError(f"JAVA_HOME is {home}, but {program} does not exist; {ADVICE}")
    on_path = shutil.which("java")
    if on_path is None:
        raise OperatorError(f"Java is missing (neither JAVA_HOME nor `java` on PATH); {ADVICE}")
    return on_path


def java_version(program: str) -> int:
    """The major version, as ``program`` itself says."""
    try:
        said = subprocess.run(
            [program, "-version"], capture_output=True, text=True, check=False, timeout=30
        ).stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OperatorError(f"{program} does not run: {error}; {ADVICE}") from error
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None:
        raise OperatorError(f"{program} does not say its version; {ADVICE}")
    return int(found.group(1))


def good_java() -> str:
    """``find_java``, refused if it is too old."""
    program = find_java()
    version = java_version(program)
    if version < OLDEST:
        raise OperatorError(f"{program} is Java {version}, but {OLDEST} is needed; {ADVICE}")
    return program
