"""The active plan in batch over stored events: ./spark-submit.sh jobs/recompute_segments.py"""

import argparse

from headrace.jobs.process import run_process
from headrace.jobs.recompute import run
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--at", help="instant (RFC 3339); default: now of the newest batch, compared")
parser.add_argument("--segments", nargs="*", default=[], help="only these segments")
parser.add_argument("--output", help="folder for the memberships as CSV")
arguments = parser.parse_args()

run_process(
    lambda: run(
        load_settings(arguments.target, flags={"home": arguments.home}),
        at=arguments.at,
        segments=arguments.segments,
        output=arguments.output,
    )
)
