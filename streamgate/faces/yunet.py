"""The network YuNet: pictures in, rows of boxes, points and scores out, as OpenCV's detector gives.

Its file declares pictures of 640×640; with any size declared, onnxruntime needs half of OpenCV's
time for the same numbers. Sides are padded to the coarsest stride, and each cell of three grids
(Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023) says by how much a box's centre
and the five points lie off its corner, and the logarithm of the box's size, in strides.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.errors import DetectorError
from streamgate.models.onnx_format import FormatError, with_dynamic_input
from streamgate.models.runtime import open_graph
from streamgate.values import Image

__all__ = ["Rows", "YuNet"]

Rows: TypeAlias = NDArray[np.float32]
"""[K, 15], best first: left, top, width, height, five points as x and y, score."""

_STRIDES = (8, 16, 32)
_KINDS = ("cls", "obj", "bbox", "kps")
_MOST_CANDIDATES = 1000
_Outputs: TypeAlias = Mapping[str, NDArray[np.float32]]


class YuNet:
    """The network; one thread at a time may use it.

    Args:
        model: path of YuNet's ONNX file.
        threads: that compute.

    Raises:
        DetectorError: the file is not YuNet.
    """

    def __init__(self, model: Path, *, threads: int = 1) -> None:
        try:
            graph = with_dynamic_input(model.read_bytes(), ["count", 3, "height", "width"])
            self._session = open_graph(graph, threads=threads)
            self._input = self._session.get_inputs()[0].name
        except (OSError, FormatError) as error:
            raise DetectorError(str(error)) from None
        except Exception as error:  # onnxruntime's exceptions have no common class
            raise DetectorError(str(error).strip().splitlines()[0]) from None
        self._names = [f"{kind}_{stride}" for stride in _STRIDES for kind in _KINDS]
        found = {output.name for output in self._session.get_outputs()}
        if not found.issuperset(self._names):
            raise DetectorError(f"outputs {', '.join(sorted(found))}")

    def detect(
        self, pictures: list[Image], *, min_score: float, duplicate_iou: float
    ) -> list[Rows]:
        """Return the faces in each of some pictures of one size, in their pixels, unclamped.

        Args:
            pictures: BGR uint8 [H, W, 3] each, neither side 0; one pass for all of them.
            min_score: least confidence.
            duplicate_iou: of boxes that overlap more than this, the best stays.

        Raises:
            DetectorError: the network failed.
        """
        width = pictures[0].shape[1]
        columns = -(-width // _STRIDES[-1]) * _STRIDES[-1] // _STRIDES[0]
        try:
            values = self._session.run(self._names, {self._input: _planes(pictures)})
        except Exception as error:  # as above
            raise DetectorError(
                f"the face detector failed: {str(error).strip().splitlines()[0]}"
            ) from None
        outputs = dict(zip(self._names, values, strict=True))
        return [
            _distinct(_decoded(_of(outputs, i, len(pictures)), columns, min_score), duplicate_iou)
            for i in range(len(pictures))
        ]


def _planes(pictures: list[Image]) -> NDArray[np.float32]:
    """Return pictures as the network takes them: float32 [N, 3, H, W], padded with black."""
    # Not cv2.dnn.blobFromImages, which takes 3 ms of the 13 for a picture of 640×360.
    height, width = pictures[0].shape[:2]
    below, right = -height % _STRIDES[-1], -width % _STRIDES[-1]
    planes = np.zeros((len(pictures), 3, height + below, width + right), np.float32)
    for place, picture in zip(planes, pictures, strict=True):
        for channel, values in enumerate(cv2.split(picture)):
            place[channel, :height, :width] = values
    return planes


def _of(outputs: _Outputs, picture: int, count: int) -> _Outputs:
    # The file's own shapes are of one picture: those of several lie one after the other.
    return {
        name: values.reshape(count, -1, values.shape[-1])[picture]
        for name, values in outputs.items()
    }


def _decoded(outputs: _Outputs, columns: int, min_score: float) -> Rows:
    """Return all rows with at least `min_score`; `columns` is the finest grid's."""
    rows = []
    for stride in _STRIDES:
        cls, obj, bbox, kps = (outputs[f"{kind}_{stride}"] for kind in _KINDS)
        scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        (cells,) = np.nonzero(scores >= np.float32(min_score))
        down, across = np.divmod(cells, columns * _STRIDES[0] // stride)
        corner = np.stack([across, down], axis=1).astype(np.float32)
        size = np.exp(bbox[cells, 2:]) * stride
        centre = (corner + bbox[cells, :2]) * stride
        points = (kps[cells].reshape(-1, 5, 2) + corner[:, None]) * stride
        rows.append(
            np.hstack([centre - size / 2, size, points.reshape(-1, 10), scores[cells, None]])
        )
    return np.concatenate(rows).astype(np.float32)


def _distinct(rows: Rows, duplicate_iou: float) -> Rows:
    """Keep the best of boxes that overlap, best first, by whole pixels as OpenCV does."""
    if len(rows) < 2:
        return rows
    rows = rows[np.argsort(-rows[:, 14], kind="stable")][:_MOST_CANDIDATES]
    finite = np.nan_to_num(rows[:, :4], nan=0.0, posinf=1e6, neginf=-1e6)
    boxes = np.trunc(np.clip(finite, -1e6, 1e6)).astype(np.int64)
    start, size = boxes[:, :2], boxes[:, 2:]
    area = size.prod(axis=1)
    left = np.arange(len(rows))
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        sides = np.minimum((start + size)[left], (start + size)[best]) - np.maximum(
            start[left], start[best]
        )
        shared = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0)
        union = area[left] + area[best] - shared
        # Two boxes of no area are one.
        overlap = np.divide(shared, union, out=np.ones(len(left)), where=union > 0)
        left = left[overlap <= duplicate_iou]
    return rows[kept]
