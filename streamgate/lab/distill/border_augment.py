"""Make crops that look like a camera's from crops that are tightly cut or grey.

Many sets of faces are grey, or were aligned from pictures that end at the chin, which leaves black
borders. A network that has seen nothing else takes black borders for a part of a good face, and a
camera's crop, in colour and complete, for a strange one: one face had a quality of 57 with the
border and of 18 without. So each crop is shown a second time, with its border filled from the edge
of the picture and in skin colours.
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
# Skin in daylight: by how much it is brighter in red and darker in blue than its luma.
_COMPLEXION = np.array([1.16, 0.97, 0.84])


def with_full_crops(crops: CropSet) -> CropSet:
    """Return the crops, then all of them again with filled borders and in colour."""
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
    # JPEG blurs the edge of a border, so one more pixel is replaced.
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
    """Return a grey picture in skin colours under some light; return a coloured one unchanged."""
    values = image.astype(np.float32)
    if np.abs(values - values.mean(axis=2, keepdims=True)).max() > _GREY_SPREAD:
        return image
    light = 1 + chance.normal(0, 0.07, 3)
    strength = chance.uniform(0, 1.3)
    return np.asarray(
        np.clip(values * (1 + (_COMPLEXION - 1) * strength) * light, 0, 255), dtype=np.uint8
    )
