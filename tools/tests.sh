#!/usr/bin/env bash
# tests.sh PYTEST MARKS [ARGUMENTS…]: run the tests that carry MARKS (empty: all of them).
# What talks to nobody runs on two cores at once. What is live runs alone: it keeps to the clock.
set -euo pipefail
pytest=$1 marks=$2
shift 2

run() {
  local status=0
  "$pytest" "$@" || status=$?
  # 5: no test is left in this half of what was asked for.
  [ $status = 0 ] || [ $status = 5 ] || failed=$status
}

for argument in "$@"; do
  # Whoever chooses marks gets one run, of what they chose.
  case $argument in -m | -m=*) exec "$pytest" "$@" ;; esac
done
failed=0
also=${marks:+ and ($marks)}
run -n 2 --dist loadfile -m "not live$also" "$@"
run -m "live$also" "$@"
exit $failed
