"""Detects motion in front of the camera in a small grey picture.

Face detection costs ten times as much as decoding, and most cameras see nobody most of the time. So
faces are detected when something moves. A cell moves if it differs from its own running mean by
more than it usually does. Two things must not count for long: a change of light, and something that
sways all day, such as a tree. A change of light moves all cells alike, so the median is subtracted,
and the mean adapts to the rest. Swaying raises the usual difference of its cells.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["GRID", "MotionDetector"]

GRID = (178, 100)
"""Width and height of the grey picture: a head of 30 pixels at 720p covers some 16 cells of it."""

_MEMORY_S = 3.0
"""Time constant of the mean, seconds: what stands still belongs to the background after three."""
_USUAL_S = 12.0
"""Time constant of a cell's usual difference, seconds; longer than anybody takes to cross a
cell."""
_LEAST_LEVELS = 10.0
"""Difference, 0-255, below which nothing counts: sensor noise, averaged over a cell, is below 3."""
_UNUSUAL = 4.0
"""How many times its usual difference (root mean square) a cell must differ: what covers a cell for
a sixteenth of the time or more is usual there."""
_NEARBY = np.ones((7, 7), np.uint8)
"""Radius, in cells, over which the usual difference is shared: a branch reaches the ends of its
range more rarely."""
_LEAST_CELLS = 5
"""Adjacent cells that must differ. Fewer are specks, rain or artefacts of the encoder."""


class MotionDetector:
    """Motion detector of one camera; for one thread."""

    def __init__(self) -> None:
        self._mean: NDArray[np.float32] | None = None
        self._usual: NDArray[np.float32] | None = None
        self._at = 0.0

    def moves(self, luma: NDArray[np.uint8], at: float, *, people: bool = False) -> bool:
        """Return whether something moves.

        Args:
            luma: grey picture, uint8 [H, W]; a picture of another size starts again.
            at: its capture time, seconds.
            people: whether somebody is being tracked; the background then does not adapt to motion.
        """
        picture = luma.astype(np.float32)
        if self._mean is None or self._usual is None or self._mean.shape != picture.shape:
            self._mean, self._usual, self._at = picture, np.zeros_like(picture), at
            # It cannot be known whether somebody stands there already.
            return True
        elapsed = max(0.0, at - self._at)
        self._at = at
        difference = picture - self._mean
        # A cloud, a lamp or the camera's exposure changes all cells by about the same amount.
        light = float(np.median(difference[::3, ::3]))
        difference -= light
        size = np.abs(difference)
        usual = np.sqrt(cv2.dilate(self._usual, _NEARBY))
        unusual = (size > np.maximum(_LEAST_LEVELS, _UNUSUAL * usual)).astype(np.uint8)
        self._mean += light + difference * np.float32(1.0 - math.exp(-elapsed / _MEMORY_S))
        if not people:
            share = np.float32(1.0 - math.exp(-elapsed / _USUAL_S))
            self._usual += (size * size - self._usual) * share
        return _largest(unusual) >= _LEAST_CELLS


def _largest(cells: NDArray[np.uint8]) -> int:
    """Return the size of the largest group of adjacent cells."""
    if int(cells.sum()) < _LEAST_CELLS:
        return 0
    _, _, statistics, _ = cv2.connectedComponentsWithStats(cells, connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return int(areas.max()) if len(areas) else 0
