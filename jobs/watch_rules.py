"""Keep the streaming job equal to the active rules: python jobs/watch_rules.py [--home DIR]"""

import argparse
import signal
import threading

from headrace.jobs.process import run_process
from headrace.runtime import supervise
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--metrics-port", type=int, help="serve Prometheus metrics on this port")
arguments = parser.parse_args()

stop = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())
run_process(
    lambda: supervise(
        load_settings(arguments.target, flags={"home": arguments.home}),
        stop,
        target=arguments.target,
        metrics_port=arguments.metrics_port,
    )
)
