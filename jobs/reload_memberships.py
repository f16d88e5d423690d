"""Rebuild Redis from the tables: ./spark-submit.sh jobs/reload_memberships.py"""

import argparse

from headrace.jobs.process import run_process
from headrace.jobs.reload import run
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
arguments = parser.parse_args()

run_process(lambda: run(load_settings(arguments.target, flags={"home": arguments.home})))
