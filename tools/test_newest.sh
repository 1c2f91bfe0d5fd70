#!/usr/bin/env bash
# Test with the newest Python that streamgate is for, without the slowest tests. The environment
# lies inside the usual one. Where there is no such Python, there is nothing to do.
set -euo pipefail
venv=$1

shopt -s nullglob
for python in "${NEWEST_PYTHON:-python3.13}" ~/.pyenv/versions/3.13.*/bin/python; do
  # It is run rather than looked up: a version manager answers for versions that are not in use.
  "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || continue
  exec make test PYTHON="$python" VENV="$venv/newest" ARGS="-m 'not slow'"
done
echo "newest: no Python 3.13 here (NEWEST_PYTHON names one); nothing was tested" >&2
