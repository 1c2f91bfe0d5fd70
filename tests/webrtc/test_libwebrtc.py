"""A second real stack publishes: libwebrtc in Node, whose package holds VP8 and VP9 alone."""

from __future__ import annotations

import asyncio
import itertools
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from tests import needs
from tests.sources.clips import make_clip, number_in
from tests.sources.viewer import PATIENCE_S, value
from tests.webrtc.ingest import TOKEN, Ingest, ingest

PEER = needs.ROOT / "tests" / "servers" / "wrtc"
WIDTH, HEIGHT, RATE, COUNT = 640, 360, 25, 50


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbered pictures as raw I420."""
    folder = tmp_path_factory.mktemp("raw")
    with av.open(str(make_clip(folder / "clip.mp4", count=COUNT))) as container:
        frames = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    path = folder / "clip.i420"
    path.write_bytes(np.concatenate(frames).tobytes())
    return path


@asynccontextmanager
async def peer(target: Ingest, pictures: Path, codec: str) -> AsyncIterator[Process]:
    """Publish until standard input is closed; what it says is the statuses that it got."""
    node = needs.program("node", package="nodejs")
    if not (PEER / "node_modules" / "@roamhq" / "wrtc").is_dir():
        needs.missing("the npm package @roamhq/wrtc", "run tools/test_peer.sh")
    arguments = [str(target.url), TOKEN, str(pictures), str(WIDTH), str(HEIGHT), str(RATE), codec]
    process = await asyncio.create_subprocess_exec(
        node, "publish.js", *arguments, cwd=PEER, stdin=PIPE, stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_libwebrtc_publishes(pictures: Path) -> None:
    """Its offer is answered, its pictures come whole and in order, and its DELETE is an end."""
    async with ingest() as target:
        async with peer(target, pictures, "VP8") as process:
            frames = await target.viewer.frames(30)
            async with asyncio.timeout(PATIENCE_S):
                said, _ = await process.communicate(b"")
            lost = await target.viewer.interruption()
        assert value(target.metrics, "webrtc_decode_errors_total", codec="VP8") == 0
    statuses = said.decode().split()
    assert (statuses[0], statuses[-1]) == ("201", "200")
    assert (lost.reason, lost.ended) == ("deleted", True)
    whole = [frame.image for frame in frames if frame.image.shape == (HEIGHT, WIDTH, 3)]
    numbers = [number_in(image) for image in whole]
    assert max(numbers) < COUNT
    steps = [(after - before) % COUNT for before, after in itertools.pairwise(numbers)]
    assert sum(0 < step < 12 for step in steps) >= 0.8 * len(steps)


async def test_libwebrtc_with_vp9_alone_is_refused(pictures: Path) -> None:
    """A real offer of VP9 gets 422, and nothing is opened for it."""
    async with ingest() as target:
        async with peer(target, pictures, "VP9") as process, asyncio.timeout(PATIENCE_S):
            said, _ = await process.communicate(b"")
        assert said.decode().split() == ["422"]
        assert value(target.metrics, "webrtc_state", state="waiting") == 1
