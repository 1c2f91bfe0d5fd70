#!/usr/bin/env bash
# Install libwebrtc for Node, a second real WebRTC stack that the tests publish with.
# Where npm is missing or cannot fetch it, that test is skipped by name; with CI=true it fails.
set -euo pipefail
cd "$(dirname "$0")/../tests/servers/wrtc"
command -v npm >/dev/null || exit 0
[ -d node_modules/@roamhq/wrtc ] && exit 0
npm install --no-package-lock --no-audit --no-fund --silent || echo "test peer: npm could not install it" >&2
