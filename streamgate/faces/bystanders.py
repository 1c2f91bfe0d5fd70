"""Make everybody else in a context picture unrecognisable.

A context picture shows the surroundings of one face, and other people may stand there who have
nothing to do with the best shot. Their faces are found twice: in the frame, where a face that the
picture's edge cuts in two is still whole, and in the picture itself before it is encoded, where
faces show that are too small for the detector in a frame that was scaled down. Both times the
detector's doubts count as faces. Each is covered by one colour: what is averaged over a whole face
says nothing of whose it is, while mosaics and blur can be matched.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.values import BestShot, Face, Image

__all__ = ["BystanderHider", "ThoroughDetector", "context_of", "hidden"]

_MARGIN = 0.3
"""Around a bystander's face this part of the box's longer side is covered too."""
_KEPT = 0.6
"""Half axes of the ellipse around the wanted face that stays as it is, in sides of its box. The
corners of a box show what is behind a face rather than the face."""
_SAME_IOU = 0.4
"""A box that overlaps the wanted face by more than this is the same face."""

Box = NDArray[np.float64]
"""x1, y1, x2, y2 in pixels, float64 [4]."""


@runtime_checkable
class ThoroughDetector(Protocol):
    """A face detector that also tells what it is unsure of."""

    def detect_all(self, image: Image) -> tuple[Sequence[Face], Sequence[Face]]:
        """Return what `detect` returns, and every place where a face may be."""
        ...


def context_of(
    image: Image, face: Face, margin: float, others: Iterable[Face] | None
) -> tuple[Image, tuple[int, int]]:
    """Cut a face with its surroundings out of a picture.

    Args:
        image: RGB uint8 [H, W, 3]; what is returned is a copy, so that it can be freed.
        margin: width of the surroundings on each side, in sizes of the face's box.
        others: the faces of the picture, which are covered except this one; None covers nothing.

    Returns:
        The picture, read-only, and where its left upper corner lies: x, y.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = face.box
    across, down = margin * (x2 - x1), margin * (y2 - y1)
    left, top = max(0, int(x1 - across)), max(0, int(y1 - down))
    rows = slice(top, min(height, int(np.ceil(y2 + down))))
    columns = slice(left, min(width, int(np.ceil(x2 + across))))
    origin = np.array([left, top, left, top], np.float64)
    context = image[rows, columns]
    boxes = [] if others is None else [other.box - origin for other in others]
    context = hidden(context, face.box - origin, boxes)
    context.setflags(write=False)
    return context, (left, top)


def hidden(image: Image, wanted: Box, boxes: Iterable[Box]) -> Image:
    """Return a copy in which every face is covered except the wanted one.

    Args:
        image: RGB uint8 [H, W, 3].
        wanted: box of the face that the picture is about.
        boxes: of all faces, the wanted one among them.
    """
    covered = image.copy()
    areas = [area for box in boxes if (area := _area(image, wanted, box)) is not None]
    for rows, columns in areas:
        # Of the picture as it was: what another has covered would only be averaged again.
        covered[rows, columns] = image[rows, columns].reshape(-1, 3).mean(axis=0).round()
    if areas:
        mask = _ellipse(image, wanted)
        covered[mask] = image[mask]
    return covered


def _area(image: Image, wanted: Box, box: Box) -> tuple[slice, slice] | None:
    """What is covered for a face, or None where it is the wanted one or lies outside."""
    if not np.isfinite(box).all() or _is_same(wanted, box):
        return None
    height, width = image.shape[:2]
    margin = _MARGIN * float((box[2:] - box[:2]).max())
    left, top = math.floor(box[0] - margin), math.floor(box[1] - margin)
    right, bottom = math.ceil(box[2] + margin), math.ceil(box[3] + margin)
    rows = slice(max(0, top), min(height, bottom))
    columns = slice(max(0, left), min(width, right))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return None
    return rows, columns


def _is_same(wanted: Box, box: Box) -> bool:
    sides = np.minimum(wanted[2:], box[2:]) - np.maximum(wanted[:2], box[:2])
    if (sides <= 0).any():
        return False
    shared = float(sides.prod())
    size, other = float((wanted[2:] - wanted[:2]).prod()), float((box[2:] - box[:2]).prod())
    return shared > _SAME_IOU * (size + other - shared)


def _ellipse(image: Image, wanted: Box) -> NDArray[np.bool_]:
    mask = np.zeros(image.shape[:2], np.uint8)
    centre = ((wanted[:2] + wanted[2:]) / 2).round().astype(int)
    axes = np.maximum(1, (_KEPT * (wanted[2:] - wanted[:2])).round()).astype(int)
    cv2.ellipse(mask, centre.tolist(), axes.tolist(), 0, 0, 360, 1, cv2.FILLED)
    found: NDArray[np.bool_] = mask.astype(np.bool_)
    return found


class BystanderHider:
    """Looks at a best shot's context picture once more before it is encoded; for any thread.

    Args:
        detector: its own, since another thread uses the camera's.
    """

    def __init__(self, detector: ThoroughDetector) -> None:
        self._detector = detector
        self._one_at_a_time = threading.Lock()

    def __call__(self, shot: BestShot) -> Image | None:
        """Return the context picture of a best shot with every bystander covered.

        Raises:
            DetectorError: it could not be looked at, so nobody must see it.
        """
        candidate = shot.face.candidate
        if candidate.context is None:
            return None
        with self._one_at_a_time:
            _, everywhere = self._detector.detect_all(candidate.context)
        left, top = candidate.context_at
        wanted = candidate.tracked.face.box - np.array([left, top, left, top], np.float64)
        return hidden(candidate.context, wanted, [face.box for face in everywhere])
