"""Who would enter and leave under rules that are not active: see `headrace plan --preview`."""

import argparse

from headrace.jobs.preview import run
from headrace.jobs.process import run_process
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--wanted", required=True, help="JSON: plan, catalog and segments")
parser.add_argument("--output", required=True, help="file for the answer, JSON")
arguments = parser.parse_args()

run_process(
    lambda: run(
        load_settings(arguments.target, flags={"home": arguments.home}),
        wanted=arguments.wanted,
        output=arguments.output,
    )
)
