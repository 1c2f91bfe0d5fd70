"""Whether something moves before the camera, told from a small grey picture.

A face detector costs ten times as much as decoding, and most cameras see nobody most of the time.
So the detector is asked when something moves. What moves is what differs from the recent past: from
a running mean of each cell, by more than that cell usually does. Two things must not count for
ever: light, which changes everything at once or stays as it is from then on, and what sways all
day, such as a tree. The first is taken out by its median and by the mean that follows; the second
raises what is usual for its cells.
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
"""Time constant of the mean: what has come to rest is part of the room after three of these."""
_USUAL_S = 12.0
"""Time constant of what is usual for a cell, longer than anybody takes to cross one."""
_LEAST_LEVELS = 10.0
"""Difference, 0-255, below which nothing counts: sensor noise, averaged over a cell, is below 3."""
_UNUSUAL = 4.0
"""How many times its usual difference (root mean square) a cell must differ: what covers a cell for
a sixteenth of the time or more is usual there."""
_NEARBY = np.ones((7, 7), np.uint8)
"""Cells around that share what is usual: the ends of a branch's way are reached more rarely."""
_LEAST_CELLS = 5
"""Cells side by side that must differ: fewer are specks, rain or a coder's mosquito noise."""


class MotionDetector:
    """Follows one camera's picture; for one thread."""

    def __init__(self) -> None:
        self._mean: NDArray[np.float32] | None = None
        self._usual: NDArray[np.float32] | None = None
        self._at = 0.0

    def moves(self, luma: NDArray[np.uint8], at: float, *, people: bool = False) -> bool:
        """Return whether something moves.

        Args:
            luma: grey picture, uint8 [H, W]; another size than before begins anew.
            at: its capture time, seconds.
            people: whether somebody is followed: then what moves is no part of the room.
        """
        picture = luma.astype(np.float32)
        if self._mean is None or self._usual is None or self._mean.shape != picture.shape:
            self._mean, self._usual, self._at = picture, np.zeros_like(picture), at
            # Whether somebody stands there already cannot be known.
            return True
        elapsed = max(0.0, at - self._at)
        self._at = at
        difference = picture - self._mean
        # A cloud, a lamp or the camera's own exposure moves everything by about the same.
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
    """Size of the largest group of cells that touch."""
    if int(cells.sum()) < _LEAST_CELLS:
        return 0
    _, _, statistics, _ = cv2.connectedComponentsWithStats(cells, connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return int(areas.max()) if len(areas) else 0
