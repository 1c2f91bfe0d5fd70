#!/usr/bin/env bash
# Test with the newest Python that streamgate is for, without the slowest tests, and measure
# coverage by the way: what the slowest ones run is mostly processes of their own. The environment
# lies inside the usual one. Where there is no such Python, the usual one is measured.
set -euo pipefail
venv=$1
fast="-m 'not slow' ${ARGS:-}"

shopt -s nullglob
for python in "${NEWEST_PYTHON:-python3.13}" ~/.pyenv/versions/3.13.*/bin/python; do
  # It is run rather than looked up: a version manager answers for versions that are not in use.
  "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || continue
  exec make coverage PYTHON="$python" VENV="$venv/newest" ARGS="$fast"
done
echo "newest: no Python 3.13 here (NEWEST_PYTHON names one); the usual one is tested again" >&2
exec make coverage VENV="$venv" ARGS="$fast"
