#!/usr/bin/env bash
# Install the real servers that the tests talk to, where that is possible: Debian and root.
# Elsewhere the tests that need one are skipped by name; with CI=true they fail instead.
set -euo pipefail

packages=(
  ffmpeg
  gstreamer1.0-rtsp gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 python3-gi
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly
  gstreamer1.0-plugins-bad gstreamer1.0-libav
  chromium iptables iproute2
  redis-server mosquitto nats-server rabbitmq-server
  prometheus prometheus-alertmanager
  systemd logrotate docker-compose
)
command -v dpkg-query >/dev/null || exit 0
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" != 0 ]; then
  echo "test servers: not root, so these are missing: ${missing[*]}" >&2
  exit 0
fi
echo "test servers: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# Debian starts a service when it is installed; the tests start their own on ports of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
