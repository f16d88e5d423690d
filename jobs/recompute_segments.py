"""The active plan in batch over stored events: ./spark-submit.sh jobs/recompute_segments.py"""

import argparse

from headrace.jobs.process import run_process
from headrace.jobs.recompute import run
from headrace.jobs.runs import run_once
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--at", help="instant (RFC 3339); default: now of the newest batch, compared")
parser.add_argument("--segments", nargs="*", default=[], help="only these segments")
parser.add_argument("--output", help="folder for the memberships as CSV")
parser.add_argument("--report-only", action="store_true", help="do not correct what differs")
parser.add_argument("--keep", action="store_true", help="members into the table batch_members")
parser.add_argument("--run-id", help="a run that has been done under this id is not done again")
arguments = parser.parse_args()


def recompute() -> int:
    """What this script does, once for each run id."""
    settings = load_settings(arguments.target, flags={"home": arguments.home})
    return run_once(
        settings,
        "recompute",
        arguments.run_id,
        lambda _: run(
            settings,
            at=arguments.at,
            segments=arguments.segments,
            output=arguments.output,
            correct=not arguments.report_only,
            keep=arguments.keep,
        ),
    )


run_process(recompute)
