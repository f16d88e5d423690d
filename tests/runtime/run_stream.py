"""The driver of the fake: named as the real job's script, by which the runtime finds it."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).with_name("fake_submit.py")), run_name="__main__")
