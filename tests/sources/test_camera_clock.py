"""RTSP cameras with clocks of every kind, through FFmpeg: how old their pictures seem."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from streamgate.telemetry.metrics import Metrics
from tests.servers.stamped_rtsp import StampedRtspServer, access_units
from tests.sources.test_rtsp import source
from tests.sources.viewer import value, watching

pytestmark = pytest.mark.live

RATE = 25.0
SECONDS = 7.0


def at_step(ticks: float) -> Callable[[int], int]:
    return lambda number: 1000 + round(number * ticks)


CLOCKS: dict[str, tuple[Callable[[int], int], bool]] = {
    "true": (at_step(3600), True),
    "3 per cent slow": (at_step(3492), True),
    "stands still": (at_step(0), False),
    "crawls": (at_step(3.6), False),
    "milliseconds": (at_step(40), False),
    "half": (at_step(1800), False),
    "ten times": (at_step(36_000), False),
}


@pytest.mark.parametrize(("stamp", "trusted"), CLOCKS.values(), ids=CLOCKS.keys())
async def test_no_clock_makes_pictures_old(
    clip: Path, stamp: Callable[[int], int], trusted: bool
) -> None:
    """Ages stay below half a second, steps are the true ones, and a doubt is told once."""
    metrics = Metrics()
    with (
        StampedRtspServer(access_units(clip), rate=RATE, stamp=stamp) as server,
        capture_logs() as events,
    ):
        async with watching(source(server.url, metrics)) as viewer:
            began_at = time.monotonic()
            frames = []
            while time.monotonic() - began_at < SECONDS:
                frames += await viewer.frames(1)
    ages = sorted(frame.decoded_at - frame.captured_at for frame in frames)
    assert ages[int(0.98 * len(ages))] < 0.6
    assert [f.captured_at for f in frames] == sorted(f.captured_at for f in frames)
    told = [event for event in events if event["event"] == "source clock is not used"]
    assert len(told) == (0 if trusted else 1)
    assert value(metrics, "clock_trusted") == float(trusted)
    assert value(metrics, "source_faults_total", reason="clock") == len(told)
    # The last seconds are those of a clock that has been judged.
    late = [frame for frame in frames if frame.captured_at > frames[-1].captured_at - 2.0]
    passed_s = late[-1].captured_at - late[0].captured_at
    assert passed_s == pytest.approx((late[-1].index - late[0].index) / RATE, abs=0.25)
