"""Crops as a camera gives them, made of crops that were cut too tightly or kept in grey.

Many face sets are grey, or were aligned from pictures that end at the chin: what the warp could not
reach is black. A network that has seen nothing else takes the black for a part of a good face, and
a camera's crop, which is in colour and full, for a strange one: with the border, its quality was 57
where it was 18 without. So each crop is taught a second time with its border filled from the edge
of the picture and with a complexion.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamgate.lab.crops import CropSet
from streamgate.values import Image

__all__ = ["fill_border", "tint", "with_full_crops"]

_BLACK = 8
_GREY_SPREAD = 6
_SEED = 11
# How skin in daylight is brighter in red and darker in blue than its luma.
_COMPLEXION = np.array([1.16, 0.97, 0.84])


def with_full_crops(crops: CropSet) -> CropSet:
    """Return the crops, then each of them once more, filled and in colour."""
    chance = np.random.default_rng(_SEED)
    full = np.stack([tint(fill_border(image), chance) for image in crops.images])
    return CropSet(
        images=np.concatenate([crops.images, full]),
        names=crops.names + tuple(f"{name} (full)" for name in crops.names),
        columns={name: values * 2 for name, values in crops.columns.items()},
        source=crops.source,
    )


def fill_border(image: Image) -> Image:
    """Return the picture with black that touches its edge replaced by the nearest other pixels."""
    black = np.asarray(image.max(axis=2) < _BLACK, dtype=np.uint8)
    outside = _touching_edge(black)
    # JPEG smears a border's edge; a pixel more is taken with it.
    outside = np.asarray(cv2.dilate(outside, np.ones((3, 3), np.uint8)), dtype=np.uint8)
    if not outside.any() or outside.all():
        return image
    _, labels = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    inside = outside == 0
    nearest = np.zeros((int(labels.max()) + 1, 3), dtype=np.uint8)
    nearest[labels[inside]] = image[inside]
    filled = nearest[labels]
    soft = cv2.GaussianBlur(filled, (0, 0), 3.0)
    return np.asarray(np.where(outside[..., None] > 0, soft, filled), dtype=np.uint8)


def _touching_edge(black: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, parts = cv2.connectedComponents(black, connectivity=4)
    edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    touching = np.isin(np.arange(count), edge)
    touching[0] = False
    return np.asarray(touching[parts], dtype=np.uint8)


def tint(image: Image, chance: Generator) -> Image:
    """Return a grey picture in the colours of some light; a coloured one as it is."""
    values = image.astype(np.float32)
    if np.abs(values - values.mean(axis=2, keepdims=True)).max() > _GREY_SPREAD:
        return image
    light = 1 + chance.normal(0, 0.07, 3)
    strength = chance.uniform(0, 1.3)
    return np.asarray(
        np.clip(values * (1 + (_COMPLEXION - 1) * strength) * light, 0, 255), dtype=np.uint8
    )
