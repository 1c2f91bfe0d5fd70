"""A second real stack publishes: libwebrtc in Node, whose package holds VP8 and VP9 alone."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from tests.sources.clips import number_in
from tests.sources.viewer import PATIENCE_S, value
from tests.sources.webrtc.ingest import ingest
from tests.sources.webrtc.libwebrtc import libwebrtc, raw_pictures

pytestmark = pytest.mark.live

COUNT = 50


@pytest.fixture
def pictures(clip: Path, tmp_path: Path) -> Path:
    """50 numbered pictures of 640×360 as raw I420."""
    return raw_pictures(clip, tmp_path / "clip.i420")


async def test_libwebrtc_publishes(pictures: Path) -> None:
    """Its offer is answered, its pictures come whole and in order, and its DELETE is an end."""
    async with ingest() as target:
        async with libwebrtc(target, pictures, "VP8") as process:
            frames = await target.viewer.frames(30)
            async with asyncio.timeout(PATIENCE_S):
                said, _ = await process.communicate(b"")
            lost = await target.viewer.discontinuity()
        assert value(target.metrics, "webrtc_decode_errors_total", codec="VP8") == 0
    statuses = said.decode().split()
    assert (statuses[0], statuses[-1]) == ("201", "200")
    assert (lost.reason, lost.ended) == ("deleted", True)
    whole = [frame.image for frame in frames if frame.image.shape == (360, 640, 3)]
    numbers = [number_in(image) for image in whole]
    assert max(numbers) < COUNT
    steps = [(after - before) % COUNT for before, after in itertools.pairwise(numbers)]
    assert sum(0 < step < 12 for step in steps) >= 0.8 * len(steps)


async def test_libwebrtc_with_vp9_alone_is_refused(pictures: Path) -> None:
    """A real offer of VP9 gets 422, and nothing is opened for it."""
    async with ingest() as target:
        async with libwebrtc(target, pictures, "VP9") as process, asyncio.timeout(PATIENCE_S):
            said, _ = await process.communicate(b"")
        assert said.decode().split() == ["422"]
        assert value(target.metrics, "webrtc_state", state="waiting") == 1
