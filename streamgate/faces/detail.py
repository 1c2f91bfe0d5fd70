"""Cut a face out of the larger picture of two streams.

The small picture was looked at; its face is looked for again in a window of the large one, because
the two were not taken at quite the same instant and a landmark must be exact to a pixel. A face
that is not found there again is cut out of the small picture, as with one stream.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from streamgate.config.stages import PrecheckSection
from streamgate.faces.examine import Examination, examine
from streamgate.faces.precheck import geometry_of, reject_geometry
from streamgate.ports import FaceDetector
from streamgate.values import Face, Frame, Image
from streamgate.values.pictures import DetailPicture
from streamgate.values.reasons import DetailOutcome

__all__ = ["examine_closely", "scaled"]

_MARGIN = 0.8
"""Box sides around the face: who walks at 2 m/s moves by less within the tolerance of time."""
_LARGEST_WINDOW_PX = 320
"""For the detector; the face has then about 120 pixels, as many as the crop."""
_MOST_OF_SIZE = 1.6
_WITHIN = 0.7
"""Of a box side: further away it is another face."""


def examine_closely(
    frame: Frame, face: Face, settings: PrecheckSection, detector: FaceDetector
) -> Examination:
    """Examine a face in the best picture that there is of it.

    Args:
        frame: in which the face was found.
        face: in pixels of the frame.
        settings: the prechecks; lengths are pixels of the larger picture where there is one.
        detector: finds it again.
    """
    detail = frame.detail
    size = None if detail is None else detail.size
    if detail is None or size is None:
        return examine(frame.image, face, settings)
    width, height = frame.pixels.size
    large = scaled(face, size[0] / width, size[1] / height)
    # Whoever looks away looks away in both pictures: the large one need not be decoded.
    rejection = reject_geometry(geometry_of(large), settings)
    if rejection is not None:
        return Examination(rejection, None, None)
    picture = detail.picture()
    if picture is None:
        return examine(frame.image, face, settings)
    found = _find(picture, large, detector)
    if found is None:
        detail.note(DetailOutcome.NOT_FOUND)
        return examine(frame.image, face, settings)
    detail.note(DetailOutcome.MAIN)
    return examine(*found, settings)


def scaled(face: Face, across: float, down: float) -> Face:
    """A face in a picture of another size."""
    return replace(
        face,
        box=face.box * np.array([across, down, across, down]),
        landmarks=face.landmarks * np.array([across, down]),
        edge_distance_px=face.edge_distance_px * min(across, down),
    )


def _find(
    picture: DetailPicture, wanted: Face, detector: FaceDetector
) -> tuple[Image, Face] | None:
    """The window of the picture around a face, and the face in pixels of the window."""
    x1, y1, x2, y2 = wanted.box
    side = max(x2 - x1, y2 - y1)
    margin = _MARGIN * side
    corners = (x1 - margin, y1 - margin, x2 + margin, y2 + margin)
    window, (left, top) = picture.window(*(round(float(corner)) for corner in corners))
    high, wide = window.shape[:2]
    if min(high, wide) < 8:
        return None
    shrink = min(1.0, _LARGEST_WINDOW_PX / max(high, wide))
    looked_at = window
    if shrink < 1:
        size = (max(1, round(wide * shrink)), max(1, round(high * shrink)))
        looked_at = np.asarray(cv2.resize(window, size, interpolation=cv2.INTER_AREA), np.uint8)
    back = (wide / looked_at.shape[1], high / looked_at.shape[0])
    centre = (wanted.box[:2] + wanted.box[2:]) / 2 - (left, top)
    best: tuple[float, Face] | None = None
    for found in detector.detect(looked_at):
        face = scaled(found, *back)
        away = float(np.hypot(*((face.box[:2] + face.box[2:]) / 2 - centre))) / side
        ratio = max(face.width, face.height) / side
        if away < _WITHIN and 1 / _MOST_OF_SIZE < ratio < _MOST_OF_SIZE:
            best = min(best or (away, face), (away, face), key=lambda one: one[0])
    if best is None:
        return None
    # Edges count where they are the picture's, and not where they are the window's.
    across, down = picture.size
    box = best[1].box + np.array([left, top, left, top])
    edge = float(min(box[0], box[1], across - box[2], down - box[3]))
    return window, replace(best[1], edge_distance_px=edge)
