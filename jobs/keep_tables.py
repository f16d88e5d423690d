"""Vacuum tables, forget old evaluations, logs, runs: ./spark-submit.sh jobs/keep_tables.py"""

import argparse

from headrace.jobs.keep import run
from headrace.jobs.process import run_process
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--run-id", help="a run that has been done under this id is not done again")
arguments = parser.parse_args()

run_process(
    lambda: run(
        load_settings(arguments.target, flags={"home": arguments.home}), run_id=arguments.run_id
    )
)
