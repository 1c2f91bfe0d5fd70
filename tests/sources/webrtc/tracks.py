"""Video that aiortc can send, made of a file and stamped with the time of its capture."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

__all__ = ["FileTrack", "stamp"]

_STAMP_BITS = 32
_STAMP_BLOCK_PX = 16
_RATE = 90_000


def stamp(image: NDArray[np.uint8]) -> None:
    """Draw the monotonic clock's milliseconds, as `tests.servers.rtsp.read_stamp` reads them."""
    milliseconds = int(time.monotonic() * 1000)
    for bit in range(min(_STAMP_BITS, image.shape[1] // _STAMP_BLOCK_PX)):
        left = bit * _STAMP_BLOCK_PX
        level = 255 if milliseconds >> bit & 1 else 0
        image[:_STAMP_BLOCK_PX, left : left + _STAMP_BLOCK_PX] = level


class FileTrack(MediaStreamTrack):
    """Plays clips one after the other and for ever, at their own rate.

    Args:
        clips: any files that FFmpeg reads; clips of several sizes change the size in mid-stream.
        stamp_time: draw the clock into each picture.
        once: end the track after the last picture.
    """

    kind = "video"

    def __init__(self, *clips: Path, stamp_time: bool = False, once: bool = False) -> None:
        super().__init__()
        self._pictures = _pictures(clips if once else itertools.cycle(clips))
        self._stamp_time = stamp_time
        self._began_at: float | None = None
        self._due = 0.0

    async def recv(self) -> av.VideoFrame:
        """Return the next picture when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        now = time.monotonic()
        if self._began_at is None:
            self._began_at = self._due = now
        await asyncio.sleep(max(0.0, self._due - now))
        found = next(self._pictures, None)
        if found is None:
            self.stop()
            raise MediaStreamError
        image, rate = found
        if self._stamp_time:
            image = image.copy()
            stamp(image)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = round((time.monotonic() - self._began_at) * _RATE)
        frame.time_base = Fraction(1, _RATE)
        self._due = max(self._due + 1 / rate, time.monotonic() - 0.2)
        return frame


def _pictures(clips: Iterable[Path]) -> Iterator[tuple[NDArray[np.uint8], float]]:
    for clip in clips:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 25)
            for picture in container.decode(stream):
                yield np.asarray(picture.to_ndarray(format="rgb24"), np.uint8), rate
