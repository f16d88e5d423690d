"""``python -m headrace.embedded``: fetch every locked jar; silent when none is missing."""

import sys
import time

from headrace.embedded.jars import cache_folder, fetch, locked, missing
from headrace.errors import OperatorError
from headrace.settings import load_settings

try:
    settings = load_settings()
    count = len(missing(settings))
    started = time.monotonic()
    fetch(settings, locked())
except OperatorError as error:
    sys.exit(f"headrace: {error}")
if count:
    seconds = time.monotonic() - started
    sys.stderr.write(f"{count} jars fetched into {cache_folder(settings)} in {seconds:.1f} s\n")
