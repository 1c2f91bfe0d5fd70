#!/usr/bin/env bash
# Test with the newest Python that streamgate is for, without the slowest tests. It has an
# environment of its own beside the usual one. Where there is no such Python this does nothing.
set -euo pipefail
venv=$1

shopt -s nullglob
for python in "${NEWEST_PYTHON:-python3.13}" ~/.pyenv/versions/3.13.*/bin/python; do
  command -v "$python" >/dev/null || continue
  exec make test PYTHON="$python" VENV="$venv/newest" ARGS="-m 'not slow' ${ARGS:-}"
done
echo "newest: no Python 3.13 here, so its tests are left out (NEWEST_PYTHON names one)" >&2
