"""Packets that are lost on the way: nothing painted on a gap passes, and nothing grows old."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from streamgate.telemetry.metrics import Metrics
from streamgate.values import Frame, Image
from tests.servers.netns import lossy_network
from tests.servers.rtsp import read_stamp
from tests.servers.whep import WhepServer
from tests.sources.clips import number_in, picture
from tests.sources.viewer import Viewer, reach, value, watching
from tests.sources.webrtc.ingest import ingest
from tests.sources.webrtc.libwebrtc import libwebrtc, raw_pictures
from tests.sources.webrtc.test_whep import source

pytestmark = [pytest.mark.live, pytest.mark.slow]

Codec = Literal["H264", "VP8"]

CORRUPT_LEVELS = 40.0
"""Encoding alone changes a block by at most 20 levels; with the gate open, at 30 % of loss, blocks
are wrong by 200."""
_BLOCK_PX = 16
_STAMPED_PX = 32


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_five_percent_are_repaired_in_time(clip: Path, codec: Codec) -> None:
    """Lost packets are asked for; every picture is whole, and younger than a second."""
    metrics = Metrics()
    with lossy_network() as network, _server(clip, codec, network.host, network.run) as server:
        network.lose(0.05)
        async with watching(source(server.url, metrics, read_timeout_s=10)) as viewer:
            ages, worst = await _look(viewer, count=75)
        assert network.dropped() > 0
    assert value(metrics, "webrtc_packets_lost_total") > 0
    assert value(metrics, "webrtc_nacks_sent_total") > 0
    assert worst < CORRUPT_LEVELS
    assert float(np.percentile(ages, 95)) < 1.0


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_what_cannot_be_repaired_waits_for_a_keyframe(clip: Path, codec: Codec) -> None:
    """Where repairs are lost as well, frames are given up until a keyframe that is asked for."""
    metrics = Metrics()
    with lossy_network() as network, _server(clip, codec, network.host, network.run) as server:
        async with watching(source(server.url, metrics, read_timeout_s=10)) as viewer:
            await viewer.frames(1)
            network.lose(0.3)
            ages, worst = await _look(viewer, count=20)
            await reach(metrics, "webrtc_plis_sent_total", 1)
            network.lose(0.0)
            again, _ = await _look(viewer, count=20)
    assert value(metrics, "frames_dropped_total", reason="waiting_for_keyframe") > 0
    assert worst < CORRUPT_LEVELS
    assert max(again[-5:]) < 1.0
    assert float(np.percentile(ages, 95)) < 2.0


async def test_libwebrtc_gets_through_a_lossy_network(clip: Path, tmp_path: Path) -> None:
    """Another sender's repairs are understood: every picture of it is whole."""
    pictures = raw_pictures(clip, tmp_path / "clip.i420")
    with lossy_network() as network:
        async with ingest({"host": network.gateway, "live_page": False}) as target:
            network.lose(0.05)
            async with libwebrtc(target, pictures, "VP8", before=network.run):
                frames = await target.viewer.frames(75)
        assert network.dropped() > 0
    whole = [frame for frame in frames if frame.image.shape == (360, 640, 3)]
    assert whole
    assert max(_damage(frame.image) for frame in whole) < CORRUPT_LEVELS
    ages = [frame.decoded_at - frame.captured_at for frame in frames]
    assert float(np.percentile(ages, 95)) < 1.0


def _server(clip: Path, codec: Codec, host: str, before: tuple[str, ...]) -> WhepServer:
    return WhepServer(clip, codec=codec, host=host, before=before, stamp_time=True)


async def _look(viewer: Viewer, count: int) -> tuple[list[float], float]:
    """Return each frame's age when it is read, and the worst damage of any block."""
    frames: list[tuple[Frame, float]] = []
    for _ in range(count):
        (frame,) = await viewer.frames(1)
        frames.append((frame, time.monotonic() - read_stamp(frame.image)))
    return [age for _, age in frames], max(_damage(frame.image) for frame, _ in frames)


def _damage(image: Image) -> float:
    """Mean difference, in levels, of the block that differs most from what was sent."""
    sent = _sent(number_in(image))
    difference = np.abs(image.astype(np.int16) - sent).mean(axis=2)[_STAMPED_PX:]
    rows, columns = (side // _BLOCK_PX for side in difference.shape)
    blocks = difference[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    means = blocks.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX).mean(axis=(1, 3))
    return float(means.max())


@functools.cache
def _sent(number: int) -> NDArray[np.int16]:
    return picture(number).astype(np.int16)
