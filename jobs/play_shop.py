"""Send the seeded shop's traffic to a running system: jobs/play_shop.py [--for SECONDS]"""

import argparse

from headrace.jobs.play import run
from headrace.jobs.process import run_process
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--for", dest="seconds", type=float, help="stop after so long; default never")
parser.add_argument("--seed", type=int, default=1, help="another seed, other customers")
parser.add_argument("--users", type=int, default=20_000)
parser.add_argument("--events", type=int, default=0, help="of the last 40 days, sent first")
parser.add_argument("--rate", type=int, default=500, help="live events a second")
options = vars(parser.parse_args())

target, home = options.pop("target"), options.pop("home")

run_process(lambda: run(load_settings(target, flags={"home": home}), **options))
