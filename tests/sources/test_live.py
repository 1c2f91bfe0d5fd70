"""RTSP cameras whose pictures are unusual or do not all arrive."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from streamgate.config.pictures import PictureSection
from streamgate.pipeline.slot import LatestSlot
from streamgate.sources.clock_watch import ClockWatch
from streamgate.sources.connection import LiveConnection
from streamgate.sources.decoder import Decoded, GatedDecoder
from streamgate.sources.faults import FaultReason
from streamgate.sources.frames import FrameMaker
from streamgate.sources.opening import Opening, open_video
from streamgate.telemetry.metrics import Metrics
from tests.servers.stamped_rtsp import StampedRtspServer, access_units
from tests.sources.clips import make_clip, number_in, picture
from tests.sources.test_bitstream import REFRESHED
from tests.sources.test_convert import squeezed
from tests.sources.test_rtsp import source
from tests.sources.viewer import SystemClock, reach, value, watching

pytestmark = pytest.mark.live

RATE = 25.0


def camera(pictures: list[bytes], *, first: int = 0) -> StampedRtspServer:
    return StampedRtspServer(
        pictures, rate=RATE, stamp=lambda number: 1000 + 3600 * number, first=first
    )


async def test_a_camera_without_keyframes_is_seen(tmp_path: Path) -> None:
    """One that refreshes its picture bit by bit is joined in the middle, and is sound."""
    clip = make_clip(tmp_path / "a.mkv", count=250, options={"x264-params": REFRESHED})
    with camera(access_units(clip), first=7) as server:
        async with watching(source(server.url)) as viewer:
            frames = await viewer.frames(20)
    for frame in frames:
        shown = picture(number_in(frame.image))
        assert abs(frame.image.astype(int) - shown).mean() < 10


async def test_a_squeezed_camera_is_shown_wide(tmp_path: Path) -> None:
    """The tag in its bitstream counts."""
    clip = squeezed(tmp_path / "a.h264", Fraction(2))
    with camera(access_units(clip)) as server:
        async with watching(source(server.url)) as viewer:
            (frame,) = await viewer.frames(1)
    assert frame.image.shape == (360, 640, 3)


async def test_a_camera_whose_pictures_are_too_large_is_told_with_the_setting(clip: Path) -> None:
    """Nothing is decoded, and the size and the remedy are said once."""
    metrics = Metrics()
    with camera(access_units(clip)) as server, capture_logs() as events:
        async with watching(source(server.url, metrics, max_pixels=640 * 300)):
            await reach(metrics, "source_faults_total", 2, reason="too_large")
    told = [event for event in events if event["log_level"] == "warning"]
    assert len(told) == 1
    assert "640×360" in told[0]["error"]
    assert "source.max_pixels" in told[0]["error"]
    assert value(metrics, "frames_received_total") == 0


class Lossy:
    """A container some of whose packets have been lost on the way."""

    def __init__(self, container: Any, lost: set[int]) -> None:
        self._container = container
        self._lost = lost

    def demux(self, stream: Any) -> Iterator[Any]:
        for number, packet in enumerate(self._container.demux(stream)):
            if number not in self._lost:
                yield packet


def test_lost_packets_are_told_of_once_with_the_remedy(tmp_path: Path) -> None:
    """They are a fault of their own, and no smeared picture comes of them."""
    clip = make_clip(tmp_path / "a.ts", count=100)
    metrics, told = Metrics(), []
    clock, settings = SystemClock(), PictureSection()
    with open_video(Opening(str(clip), lossy=True)) as (container, stream):
        connection = LiveConnection(
            stream,
            FrameMaker(settings, metrics, clock),
            metrics,
            clock,
            clock_watch=ClockWatch(metrics),
            settings=settings,
            lossy=True,
            on_loss=lambda: told.append(time.monotonic()),
        )
        lossy: Any = Lossy(container, {30, 31, 60})
        lost = connection.run(lossy, LatestSlot(), threading.Event())
    assert lost.reason is FaultReason.CLOSED
    assert value(metrics, "frames_dropped_total", reason="waiting_for_keyframe") > 20
    assert value(metrics, "source_faults_total", reason="packet_loss") == len(told) == 1


async def test_a_decoder_that_cannot_keep_up_skips_and_counts(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half as fast as the camera, it shows pictures that are no older than they seem to be."""
    decode = GatedDecoder.decode

    def slow(self: GatedDecoder, *arguments: Any, **named: Any) -> Decoded:
        time.sleep(2 / RATE)
        return decode(self, *arguments, **named)

    monkeypatch.setattr(GatedDecoder, "decode", slow)
    metrics = Metrics()
    pictures = access_units(clip)
    with camera(pictures) as server:
        async with watching(source(server.url, metrics)) as viewer:
            lags, ages = [], []
            for frame in await viewer.frames(60):
                ages.append(frame.decoded_at - frame.captured_at)
                sent_at = list(server.sent_at.items())
                sent = [at for n, at in sent_at if n % 50 == number_in(frame.image)]
                lags.append(frame.decoded_at - max(at for at in sent if at <= frame.decoded_at))
    assert max(lags) < 1.5
    assert max(abs(lag - age) for lag, age in zip(lags[5:], ages[5:], strict=True)) < 0.3
    assert value(metrics, "frames_dropped_total", reason="decoder_behind") > 10
