#!/usr/bin/env bash
# Check every file under deploy/, and the container file, by the tool that will read it.
# A tool that is missing is named and its files are skipped; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:-.venv/bin}
# In tenths: 3.0 of the 10 that an unconfined service has.
most_exposure=30
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

fail() { echo "deploy: $1" >&2; failed=1; }

have() {
  command -v "$1" >/dev/null && return 0
  if [ "${CI:-}" = true ]; then fail "$1 is missing, and CI must have it: $2"; else
    echo "deploy: skipped $3, because $1 is missing: $2" >&2
  fi
  return 1
}

# systemd-analyze verify exits with 0 whatever it finds; what it says counts.
check_unit() {
  local said
  said=$(SYSTEMD_UNIT_PATH="$1:" systemd-analyze verify "$1/$3" 2>&1) || true
  [ -z "$said" ] || fail "$2: $said"
  SYSTEMD_UNIT_PATH="$1:" systemd-analyze security --offline=yes --no-pager \
    --threshold=$most_exposure "$1/$3" >"$folder/exposure" ||
    fail "$2 is too exposed: $(tail -1 "$folder/exposure")"
  echo "deploy: $2: $(sed -n 's/.*Overall exposure level[^:]*: //p' "$folder/exposure")"
}

if have systemd-analyze "apt-get install systemd" deploy/systemd; then
  for drop_in in none deploy/systemd/drop-ins/*.conf; do
    units=$folder/$(basename "$drop_in")
    mkdir -p "$units/streamgate@.service.d"
    cp deploy/systemd/streamgate@.service deploy/systemd/streamgate-scorer.service "$units"
    [ "$drop_in" = none ] || cp "$drop_in" "$units/streamgate@.service.d"
    check_unit "$units" "streamgate@.service with drop-in $(basename "$drop_in")" \
      streamgate@.service
  done
  check_unit "$units" streamgate-scorer.service streamgate-scorer.service
fi

if have logrotate "apt-get install logrotate" deploy/logrotate; then
  # It wants files that only root may write, as they will be.
  install -m 0644 deploy/logrotate/streamgate "$folder/logrotate"
  logrotate --debug --state "$folder/state" "$folder/logrotate" >"$folder/said" 2>&1 || true
  ! grep -i '^error' "$folder/said" >&2 || fail "deploy/logrotate/streamgate"
fi

if have "$bin/hadolint" "make setup-dev" Containerfile; then
  "$bin/hadolint" --failure-threshold style Containerfile || fail Containerfile
fi

compose=(docker compose)
docker compose version >/dev/null 2>&1 || compose=(docker-compose)
if have "${compose[0]}" "apt-get install docker-compose" deploy/compose; then
  CAMERA_URL=rtsp://192.0.2.10/stream1 "${compose[@]}" -f deploy/compose/compose.yaml config \
    >/dev/null 2>"$folder/said" || fail "deploy/compose/compose.yaml"
  [ ! -s "$folder/said" ] || fail "$(cat "$folder/said")"
fi

if have promtool "apt-get install prometheus" deploy/compose/prometheus.yml; then
  cp deploy/compose/prometheus.yml dashboards/streamgate.rules.yml "$folder"
  promtool check config "$folder/prometheus.yml" >"$folder/said" 2>&1 || fail "$(cat "$folder/said")"
fi

if have "$bin/kubernetes-validate" "make setup-dev" deploy/kubernetes; then
  for file in kubernetes/camera.yaml kubernetes/scorers/scorer.yaml kubernetes/scorers/camera.yaml \
    kubernetes-lease/rbac.yaml; do
    "$bin/kubernetes-validate" --strict --quiet "deploy/$file" || fail "deploy/$file"
  done
fi
if command -v kubectl >/dev/null; then
  cp -r deploy/kubernetes deploy/kubernetes-lease "$folder"
  for set in kubernetes kubernetes/scorers; do
    mkdir -p "$folder/$set/secrets"
    for secret in camera-password live-token scorer-token outbox-key; do
      echo "an example for the check" >"$folder/$set/secrets/$secret"
    done
  done
  for set in kubernetes kubernetes/scorers kubernetes-lease; do
    kubectl kustomize "$folder/$set" >/dev/null || fail "deploy/$set"
  done
fi

exit $failed
