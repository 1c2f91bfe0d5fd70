"""Whether a camera's picture still moves."""

from __future__ import annotations

import zlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from streamgate.values import Image

__all__ = ["GRID_PX", "FreezeDetector"]

GRID_PX = 8
"""One pixel of so many in each direction is compared."""
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


class FreezeDetector:
    """Notices a camera that sends the same picture over and over.

    A frozen picture need not be the same each time: an encoder encodes it again with each keyframe
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
        """Return for how many seconds the picture has been the same, except for its encoding."""
        return self.grid_unchanged_s(np.ascontiguousarray(image[::GRID_PX, ::GRID_PX]), at)

    def grid_unchanged_s(self, grid: Image, at: float) -> float:
        """Return the same for one pixel of `GRID_PX` in each direction, RGB uint8 [h, w, 3]."""
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
