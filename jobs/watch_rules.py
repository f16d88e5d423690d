"""Keep the streaming job equal to the active rules: python jobs/watch_rules.py [--home DIR]"""

import argparse
import signal
import threading

from headrace.jobs.process import run_process
from headrace.runtime import supervise
from headrace.runtime.connectors import keep_connectors
from headrace.settings import Settings, load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--metrics-port", type=int, help="serve Prometheus metrics on this port")
arguments = parser.parse_args()

stop = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())


def settings() -> Settings:
    """As they are now: a worker of Kafka Connect may have come."""
    return load_settings(arguments.target, flags={"home": arguments.home})


# A daemon: one that waits for a worker or a database holds up nobody's end.
threading.Thread(target=keep_connectors, args=(settings, stop), daemon=True).start()
run_process(
    lambda: supervise(
        settings(),
        stop,
        target=arguments.target,
        metrics_port=arguments.metrics_port,
    )
)
