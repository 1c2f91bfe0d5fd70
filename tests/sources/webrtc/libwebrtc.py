"""A publisher made of libwebrtc, in Node."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import av
import numpy as np

from tests import needs
from tests.sources.webrtc.ingest import TOKEN, Ingest

__all__ = ["libwebrtc", "raw_pictures"]

PEER = needs.ROOT / "tests" / "servers" / "wrtc"
SIZE_PX, RATE = (640, 360), 25


def raw_pictures(clip: Path, into: Path) -> Path:
    """Decode a clip of 640×360 to raw I420, which the publisher plays for ever."""
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    into.write_bytes(np.concatenate(frames).tobytes())
    return into


@asynccontextmanager
async def libwebrtc(
    target: Ingest, pictures: Path, codec: str, *, before: Sequence[str] = ()
) -> AsyncIterator[Process]:
    """Publish until standard input is closed; what it says is the statuses that it got.

    Args:
        before: what to run it by, such as `ip netns exec ...`.
    """
    node = needs.program("node", package="nodejs")
    if not (PEER / "node_modules" / "@roamhq" / "wrtc").is_dir():
        needs.missing("the npm package @roamhq/wrtc", "run tools/test_peer.sh")
    picture = [str(pictures), *map(str, SIZE_PX), str(RATE), codec]
    process = await asyncio.create_subprocess_exec(
        *before, node, "publish.js", str(target.url), TOKEN, *picture,
        cwd=PEER, stdin=PIPE, stdout=PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
