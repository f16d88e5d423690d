"""The event API: python jobs/serve_ingest.py [--home DIR] [--target NAME]"""

import argparse

from headrace.jobs.process import run_process
from headrace.serving.ingest.process import serve_ingest
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
arguments = parser.parse_args()

run_process(lambda: serve_ingest(load_settings(arguments.target, flags={"home": arguments.home})))
