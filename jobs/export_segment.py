"""Write a segment's members to files: ./spark-submit.sh jobs/export_segment.py --segment ID"""

import argparse

from headrace.jobs.export import run
from headrace.jobs.process import run_process
from headrace.settings import load_settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--home", help="data folder; default .headrace or HEADRACE_HOME")
parser.add_argument("--target", help="settings of conf/TARGET.toml; default local")
parser.add_argument("--segment", required=True, help="its id")
parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
parser.add_argument("--output", required=True, help="folder or URL; what is there is replaced")
parser.add_argument("--run-id", help="a run that has been done under this id is not done again")
arguments = parser.parse_args()

run_process(
    lambda: run(
        load_settings(arguments.target, flags={"home": arguments.home}),
        segment=arguments.segment,
        format=arguments.format,
        output=arguments.output,
        run_id=arguments.run_id,
    )
)
