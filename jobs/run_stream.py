"""The streaming job: ./spark-submit.sh jobs/run_stream.py [--home DIR] [--target NAME]"""

import argparse

from headrace.jobs.process import run_process
from headrace.jobs.stream import run
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument(
    "--accept-loss",
    action="store_true",
    help="go on at the first offsets Kafka still has: docs/runbooks/offsets-lost.md",
)
parser.add_argument(
    "--in-reserve",
    action="store_true",
    help="get warm, and go on in its place when the job that writes the tables is gone",
)
parser.add_argument("--metrics-port", type=int, help="serve Prometheus metrics on this port")
arguments = parser.parse_args()

run_process(
    lambda: run(
        load_settings(arguments.target, flags={"home": arguments.home}),
        accept_loss=arguments.accept_loss,
        in_reserve=arguments.in_reserve,
        metrics_port=arguments.metrics_port,
    )
)
