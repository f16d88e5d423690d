#!/usr/bin/env bash
# Airflow on this machine for the DAGs in this folder: loopback only, two tasks at a time.
# `airflow standalone` also serves logs on every interface, so its parts are started one by one.
# AIRFLOW_PORT chooses the port (8080).
set -euo pipefail

project=$(cd "$(dirname "$0")/.." && pwd)
port=${AIRFLOW_PORT:-8080}
export PATH=$project/.airflow/venv/bin:$PATH
export AIRFLOW_HOME=$project/.airflow
export AIRFLOW__CORE__DAGS_FOLDER=$project/dags
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__CORE__PARALLELISM=2 # LocalExecutor forks 32 workers unless told
export AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT=30 # the usual 5 s are too few while all of it starts
# A schedule holds from the start: a cron line must not wait for somebody to press a switch.
export AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=False
export AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW__API__PORT=$port
export AIRFLOW__API__BASE_URL=http://127.0.0.1:$port

if [ ! -x "$project/.airflow/venv/bin/airflow" ]; then
    echo "no Airflow in .airflow/venv: run \`make airflow\`" >&2
    exit 1
fi

airflow db migrate
# One slot: of the jobs that write the tables, one runs at a time.
airflow pools set headrace_tables 1 "jobs that write Headrace's tables" > /dev/null
stop() {
    trap - EXIT INT TERM
    kill $(jobs -pr) 2> /dev/null
    # A scheduler told twice at once, as by Ctrl-C, has been seen to wait for its workers for good.
    for _ in {1..20}; do
        [ -z "$(jobs -pr)" ] && exit
        sleep 0.5
    done
    kill $(jobs -pr) 2> /dev/null
    wait
}
trap stop EXIT INT TERM
airflow scheduler --skip-serve-logs &
airflow dag-processor &
airflow api-server &
echo "http://127.0.0.1:$port (user admin, password in .airflow/simple_auth_manager_passwords.json.generated)"
wait -n # whichever ends first ends all
