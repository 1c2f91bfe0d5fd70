"""From a decoded picture to RGB, upright, and whether it still moves.

Matrix (BT.601, BT.709, BT.2020) and range (limited or full) follow the stream's own tags; an
untagged stream is taken for BT.601 limited, as FFmpeg and OpenCV do, so that a face looks here as
it does to the recogniser that comes after.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from streamgate.values import Image

__all__ = ["FreezeDetector", "RgbConverter"]

_GRID_PX = 8
_CODED_ALIKE = 64
"""Pictures that an encoder may make of one, with room to spare."""
_CODING_LEVELS = 2.0
"""Mean difference of pixels, 0-255, that is laid to coding: a photograph's keyframes differed by
0.8 at most."""
_NOISE_LEVELS = 0.012
"""Mean difference of pixels from one picture to the next, 0-255, that no sensor is below where it
is neither black nor white: VP8 went on improving a still photograph by up to 0.007, and left 0.02
of a noise of half a level."""
_BLACK, _WHITE = 2, 253
_LEAST_LIT = 0.1
"""Part of a picture that must be neither, or its noise says nothing."""
_QUARTER_TURN_DEG = 90


class RgbConverter:
    """Converts the pictures of one connection; it keeps the scaler between them."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def image(self, picture: av.VideoFrame) -> Image:
        """Return RGB uint8 [H, W, 3], read-only, turned as the stream's display matrix says."""
        # One thread: the scaler would start one for each core, and detection needs the cores.
        rgb = self._reformatter.reformat(picture, format="rgb24", threads=1)
        image = np.asarray(rgb.to_ndarray(), np.uint8)
        turns = round(picture.rotation / _QUARTER_TURN_DEG) % 4
        if turns:
            image = np.ascontiguousarray(np.rot90(image, turns))
        image.flags.writeable = False
        return image


class FreezeDetector:
    """Notices a camera that sends the same picture over and over.

    A frozen picture need not arrive the same each time: an encoder draws it anew with each keyframe
    and improves it after. But it draws nothing new: what it makes of one picture comes again, 51
    different pictures at most were counted for a photograph in H.264, H.265 or MJPEG, a level or
    less apart; VP8 goes on for ever, but by less than any noise. Sensor noise makes a picture of a
    live camera that has not been there before within a keyframe's distance.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._first: NDArray[np.int16] | None = None
        self._last: NDArray[np.int16] | None = None
        self._changed_at = 0.0

    def unchanged_s(self, image: Image, at: float) -> float:
        """Return for how many seconds the picture has been the very same, but for its coding."""
        grid = np.ascontiguousarray(image[::_GRID_PX, ::_GRID_PX])
        digest = zlib.crc32(grid.tobytes())
        if _differs(grid, self._first, _CODING_LEVELS):
            # More than coding changes: a film that is looped is not frozen.
            self._first = grid.astype(np.int16)
            self._seen.clear()
        if digest not in self._seen and self._is_new(grid):
            self._changed_at = at
        self._last = grid.astype(np.int16)
        self._seen[digest] = None
        self._seen.move_to_end(digest)
        if len(self._seen) > _CODED_ALIKE:
            self._seen.popitem(last=False)
        return at - self._changed_at

    def _is_new(self, grid: Image) -> bool:
        """Whether a picture that has not been there before shows more than its coding."""
        lit = (grid > _BLACK) & (grid < _WHITE)
        if self._last is None or self._last.shape != grid.shape or lit.mean() < _LEAST_LIT:
            return True
        return float(np.abs(grid - self._last)[lit].mean()) > _NOISE_LEVELS


def _differs(grid: Image, other: NDArray[np.int16] | None, levels: float) -> bool:
    if other is None or other.shape != grid.shape:
        return True
    return float(np.abs(grid - other).mean()) > levels
