#!/usr/bin/env bash
# Make a Python that has Triton's core (pytriton) for the tests: 450 MB, half a minute. Its stub is
# linked to Debian's own Python 3.11 and fails with any other, and it wants an older numpy, so it
# lies in an environment of its own.
# Elsewhere that test is skipped by name; where it can be made, CI=true fails without it.
set -euo pipefail
python=$(realpath -s "$1")
cd "$(dirname "$0")/../tests/servers"
[ -x triton/bin/python ] && exit 0
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || exit 0
system=/usr/bin/python3
[ "$("$system" -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null)" = "3 11" ] || exit 0
rm -rf triton.new
"$system" -m venv --without-pip triton.new
# Scripts of the environment would name the folder in which they were made; none is used.
if ! "$python" -m pip --python triton.new/bin/python install --quiet --quiet \
  'nvidia-pytriton==0.7.0' 'numpy<2' 'onnxruntime>=1.23,<2'; then
  echo "test server: pip could not install nvidia-pytriton" >&2
  rm -rf triton.new
  exit 0
fi
mv triton.new triton
