"""Judge the tables by suites of expectations: ./spark-submit.sh jobs/check_quality.py"""

import argparse
from pathlib import Path

from headrace.jobs.process import run_process
from headrace.jobs.quality import run
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--suites", default="conf/expectations", help="folder of suites as JSON")
parser.add_argument("--run-id", help="a run that has been done under this id is not done again")
arguments = parser.parse_args()

run_process(
    lambda: run(
        load_settings(arguments.target, flags={"home": arguments.home}),
        suites=Path(arguments.suites),
        run_id=arguments.run_id,
    )
)
