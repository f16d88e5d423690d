#!/usr/bin/env bash
# Everything Headrace needs beside Python 3.11+, Java 17+ and make, into .venv and the user's cache.
# Quick and silent when it is all there.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

fail() {
  echo "setup: $*" >&2
  exit 1
}

# A uv on PATH is used if it is not too old; else one is installed into a folder of its own.
oldest_uv=0.12 # older ones read uv.lock as out of date
find_uv() {
  if command -v uv > /dev/null &&
    printf '%s\n' "$oldest_uv" "$(uv --version | cut -d' ' -f2)" | sort -V -C; then
    uv=uv
    return
  fi
  uv=.cache/uv/bin/uv
  [[ -x $uv ]] && return
  python=$(find_python) || fail "Python 3.11 or newer is missing." \
    "Debian: apt install python3 python3-venv; macOS: brew install python@3.12"
  echo "setup: installing uv into .cache/uv"
  rm -rf .cache/uv
  mkdir -p .cache
  "$python" -m venv .cache/uv 2> .cache/uv.log || {
    cat .cache/uv.log >&2
    fail "$python cannot make virtual environments; Debian: apt install python3-venv"
  }
  .cache/uv/bin/pip install --quiet --disable-pip-version-check "uv>=$oldest_uv,<1" ||
    fail "cannot install uv; install it yourself (it is then found on PATH)"
}

find_python() {
  for name in python3 python3.13 python3.12 python3.11; do
    if command -v "$name" > /dev/null &&
      "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
      echo "$name"
      return
    fi
  done
  return 1
}

# An interpreter that uv would download is no part of what was asked for; a clear error is better.
# A virtual environment that happens to be active is not ours.
sync() {
  env -u VIRTUAL_ENV UV_PYTHON_DOWNLOADS="${UV_PYTHON_DOWNLOADS:-never}" \
    "$uv" sync --locked --quiet --compile-bytecode "$@"
}

# Behind a proxy that signs with a certificate of its own, only the system's store knows it.
install() {
  sync "$@" || {
    echo "setup: once more, with the system's certificates"
    UV_SYSTEM_CERTS=true UV_NATIVE_TLS=true sync "$@"
  } || fail "uv could not install what uv.lock names"
}

find_uv
# `./setup.sh airflow`: Airflow into an environment of its own, and nothing else.
if [[ ${1:-} == airflow ]]; then
  UV_PROJECT_ENVIRONMENT=.airflow/venv install --only-group airflow
  exit
fi
install
.venv/bin/python -m headrace.embedded
