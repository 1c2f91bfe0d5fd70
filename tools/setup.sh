#!/usr/bin/env bash
# Make the virtual environment and install streamgate into it; running it again changes nothing.
set -euo pipefail
python=$1 venv=$2 kind=$3

if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
  echo "setup: $("$python" --version 2>&1) found; wanted Python 3.11 to 3.13 (make PYTHON=python3.12 …)" >&2
  exit 1
fi
if [ ! -x "$venv/bin/python" ]; then
  "$python" -m venv "$venv" || {
    echo "setup: cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
    exit 1
  }
fi
extras=all
[ "$kind" = dev ] && extras=all,dev
echo "setup: installing streamgate[$extras] into $venv (a few minutes and 6 GB the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e ".[$extras]"

# opencv-python links against libGL, which slim images do not have.
if ! "$venv/bin/python" -c 'import cv2' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends libgl1 libglib2.0-0 >/dev/null
  fi
  "$venv/bin/python" -c 'import cv2' || {
    echo "setup: OpenCV needs libGL; on Debian: apt-get install libgl1 libglib2.0-0" >&2
    exit 1
  }
fi

# The gate never downloads anything while it runs. Without an index that has them, the rest works.
"$venv/bin/streamgate" models pull >/dev/null ||
  echo "setup: the models were not fetched; later: $venv/bin/streamgate models pull" >&2
