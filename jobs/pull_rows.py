"""Rows of databases without a readable log, to Kafka: ./spark-submit.sh jobs/pull_rows.py"""

import argparse

from headrace.jobs.process import run_process
from headrace.jobs.pull import run
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--streams", nargs="*", default=[], help="only these; default: all active")
parser.add_argument("--run-id", help="a run that has been done under this id is not done again")
arguments = parser.parse_args()

run_process(
    lambda: run(
        load_settings(arguments.target, flags={"home": arguments.home}),
        streams=arguments.streams,
        run_id=arguments.run_id,
    )
)
