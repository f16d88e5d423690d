"""The loader: python jobs/load_memberships.py [--home DIR] [--target NAME] [--metrics-port PORT]"""

import argparse

from headrace.jobs.load import run
from headrace.jobs.process import run_process
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--metrics-port", type=int, help="serve Prometheus metrics on this port")
arguments = parser.parse_args()

run_process(
    lambda: run(
        load_settings(arguments.target, flags={"home": arguments.home}),
        metrics_port=arguments.metrics_port,
    )
)
