"""Members at a past instant: ./spark-submit.sh jobs/list_members.py --as-of 2026-01-31T09:30:00Z"""

import argparse

from headrace.jobs.listing import run
from headrace.jobs.process import run_process
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--as-of", required=True, help="instant (RFC 3339)")
parser.add_argument("--segments", type=lambda text: text.split(","), default=[], help="a,b: these")
parser.add_argument("--output", help="folder for the memberships as CSV")
arguments = parser.parse_args()

run_process(
    lambda: run(
        load_settings(arguments.target, flags={"home": arguments.home}),
        as_of=arguments.as_of,
        segments=arguments.segments,
        output=arguments.output,
    )
)
