"""``python -m headrace.embedded``: fetch every locked jar, and make what Spark starts faster with.

Silent when nothing is missing.
"""

import sys
import time

from headrace.embedded.class_archive import class_archive, make_archive
from headrace.embedded.jars import cache_folder, fetch, locked, missing, spark_home
from headrace.errors import OperatorError
from headrace.settings import load_settings


def say(text: str, started: float) -> None:
    """A line on what was done, and how long it took."""
    sys.stderr.write(f"{text} in {time.monotonic() - started:.1f} s\n")


try:
    settings = load_settings()
    count = len(missing(settings))
    started = time.monotonic()
    fetch(settings, locked())
    if count:
        say(f"{count} jars fetched into {cache_folder(settings)}", started)
    if not class_archive(spark_home()).is_file():
        started = time.monotonic()
        trouble = make_archive(spark_home())
        if trouble is None:
            say("Spark's classes archived: jobs start faster", started)
        else:
            sys.stderr.write(f"Spark's classes not archived, jobs start slower: {trouble}\n")
except OperatorError as error:
    sys.exit(f"headrace: {error}")
