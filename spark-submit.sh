#!/usr/bin/env bash
# spark-submit with Headrace's jars, package and defaults. Options before the script are
# spark-submit's own (--master, --driver-memory, --conf …); what follows the script is the script's.
#
#   ./spark-submit.sh jobs/run_stream.py --help
#   ./spark-submit.sh --master 'local[4]' --driver-memory 4g jobs/run_stream.py
set -euo pipefail
here=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
python=$here/.venv/bin/python
if [[ ! -x $python ]]; then
  echo "spark-submit.sh: $python is missing; run \`make setup\` first" >&2
  exit 1
fi
exec "$python" -m headrace.embedded.submit "$@"
