"""Find faces with YuNet: boxes and five landmarks.

The network takes BGR and returns boxes that may extend beyond the picture. What this module returns
is in pixels of the original frame, clamped, finite and without duplicates, so that nothing that
follows has to check.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.config.stages import DetectorSection
from streamgate.errors import DetectorError
from streamgate.faces.yunet import YuNet
from streamgate.values import Face, Image

__all__ = ["YuNetDetector", "distinct"]

_CONTAINED = 0.8
"""A box of which this share lies inside a better one is the same face detected twice: two faces
cannot be visible like that."""
_HEAD = 0.5
"""A head extends above the box of its face by this part of the box's height. Hair there is
sometimes detected as a second face; a person who looks over the head from behind shows more than
hair."""
_WARM_UP_SIDE_PX = 64
_DOUBTFUL_SCORE = 0.2
"""Lowest confidence of a place that is treated as a face where a face must not be seen."""


class YuNetDetector:
    """The face detector; one thread at a time may use it.

    Args:
        settings: the detector's section of the config.
        model: path of YuNet's ONNX file.

    Raises:
        DetectorError: the file is missing or is not YuNet.
    """

    def __init__(self, settings: DetectorSection, model: Path) -> None:
        self._settings = settings
        if not model.is_file():
            raise DetectorError(
                f"face detector {model} is not a file; fetch it with: streamgate models pull yunet"
            )
        try:
            self._network = YuNet(model)
            self.detect(np.zeros((_WARM_UP_SIDE_PX, _WARM_UP_SIDE_PX, 3), np.uint8))
        except DetectorError as error:
            raise DetectorError(
                f"face detector {model} cannot be used, is it YuNet's ONNX file? "
                f"streamgate models verify yunet says whether it is intact ({error})"
            ) from None

    def adopt(self, settings: DetectorSection) -> None:
        """Change the settings, except the model; call it on the thread that detects."""
        self._settings = settings

    def detect(self, image: Image) -> list[Face]:
        """Return the faces in a picture, best first, without duplicates.

        Args:
            image: RGB uint8 [H, W, 3].

        Raises:
            DetectorError: the picture is of another shape or type, or the network failed.
        """
        return distinct(self._faces(image, self._settings.min_score), self._settings.duplicate_iou)

    def detect_all(self, image: Image) -> tuple[list[Face], list[Face]]:
        """Return what `detect` returns, and every place where a face may be, in one pass.

        The second list is best first and includes what is unsure, and what may be one face twice.

        Raises:
            DetectorError: see `detect`.
        """
        least = self._settings.min_score
        everywhere = self._faces(image, min(_DOUBTFUL_SCORE, least))
        # The best of boxes that overlap stays: a worse one takes nothing from the first list.
        sure = [face for face in everywhere if face.detector_score >= np.float32(least)]
        return distinct(sure, self._settings.duplicate_iou), everywhere

    def _faces(self, image: Image, min_score: float) -> list[Face]:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DetectorError(
                f"a frame must be RGB uint8 [H, W, 3], not {image.dtype} {list(image.shape)}"
            )
        height, width = image.shape[:2]
        if height == 0 or width == 0:
            return []
        rows, scale = self._run(image, min_score)
        faces = [
            face
            for row in rows
            if (face := _face(row / scale, float(row[14]), width, height)) is not None
        ]
        faces.sort(key=lambda face: -face.detector_score)
        return faces

    def _run(
        self, image: Image, min_score: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        height, width = image.shape[:2]
        shrink = min(1.0, self._settings.max_side_px / max(height, width))
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        scaled: cv2.typing.MatLike = image
        try:
            if size != (width, height):
                scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            bgr = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR), np.uint8)
        except cv2.error as error:
            raise DetectorError(
                f"the face detector failed: {str(error).strip().splitlines()[0]}"
            ) from None
        (rows,) = self._network.detect(
            [bgr],
            min_score=min_score,
            duplicate_iou=self._settings.duplicate_iou,
        )
        # Sides are rounded to whole pixels, so the two scales may differ a little.
        return rows.astype(np.float64), np.append(
            np.tile([size[0] / width, size[1] / height], 7), 1.0
        )


def distinct(faces: list[Face], duplicate_iou: float) -> list[Face]:
    """Keep one face of each head: the first of those that overlap or lie in the same head.

    Args:
        faces: best first.
        duplicate_iou: boxes with a greater IoU are one face.
    """
    kept: list[Face] = []
    for face in faces:
        if not any(_same(face, better, duplicate_iou) for better in kept):
            kept.append(face)
    return kept


def _same(one: Face, better: Face, duplicate_iou: float) -> bool:
    shared = _shared(one.box, better.box)
    if shared > duplicate_iou * (one.area + better.area - shared):
        return True
    head = better.box - [0.0, _HEAD * better.height, 0.0, 0.0]
    return shared > _CONTAINED * better.area or _shared(one.box, head) > _CONTAINED * one.area


def _shared(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(sides.prod()) if (sides > 0).all() else 0.0


def _face(row: NDArray[np.float64], score: float, width: int, height: int) -> Face | None:
    """Make a face of a row of YuNet: x, y, width, height, five points, score.

    YuNet names its points from the person's side: the person's right eye, which is the left one
    in the picture, comes first. That is the order of `Face.landmarks`.
    """
    if not (np.isfinite(row[:14]).all() and math.isfinite(score)):
        return None
    left, top, right, bottom = row[0], row[1], row[0] + row[2], row[1] + row[3]
    box = np.clip([left, top, right, bottom], 0.0, [width, height, width, height])
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        return None
    landmarks = row[4:14].reshape(5, 2).copy()
    box.flags.writeable = landmarks.flags.writeable = False
    edge_distance = float(min(left, top, width - right, height - bottom))
    return Face(box, landmarks, min(1.0, max(0.0, score)), edge_distance)
