"""Cameras whose clocks cannot be believed, as the daemon's user meets them."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import pytest

from tests.daemon.films import RATE, film_visit
from tests.servers.daemon import Daemon
from tests.servers.stamped_rtsp import StampedRtspServer, access_units

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(240)]
STAYS_S, AWAY_S = 14, 4


@pytest.mark.parametrize("ticks", [0, 4500], ids=["stands still", "half"])
def test_a_person_before_a_camera_with_a_wrong_clock_is_one_track(
    tmp_path: Path, ticks: int
) -> None:
    """Somebody who stays is followed all the while, forwarded once, and no picture seems old."""
    film = film_visit(tmp_path / "visit.mkv", stays_s=STAYS_S, away_s=AWAY_S)
    served = StampedRtspServer(
        access_units(film), rate=RATE, stamp=lambda number: 1000 + ticks * number
    )
    with served as server:
        source = {"kind": "rtsp", "url": server.url}
        with Daemon(tmp_path, source, gate={"min_quality": 0}) as daemon:
            deadline = time.monotonic() + 90
            while not daemon.metric("tracks_decided_total", outcome="forwarded"):
                assert time.monotonic() < deadline, daemon.log
                time.sleep(0.3)
            shots = daemon.shots()
            with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        told = [e for e in daemon.events() if e["event"] == "source clock is not used"]
    decided = [
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("streamgate_tracks_decided_total{")
    ]
    assert (len(shots), sum(decided)) == (1, 1.0)
    assert len(told) == 1
    assert "check the camera's clock" in told[0]["error"]
    counts = {
        line.split('le="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("streamgate_frame_age_seconds_bucket")
    }
    assert counts["1.0"] >= 0.98 * counts["+Inf"]
