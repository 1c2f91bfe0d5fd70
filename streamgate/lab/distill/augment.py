"""What the student sees besides clean faces: degraded faces, covered faces, and non-faces."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamgate.lab.distill.degradations import DEGRADATIONS
from streamgate.lab.distill.nonfaces import non_face
from streamgate.values import Image

__all__ = ["Augmented", "augment", "augment_some", "jitter", "occlude"]

_OCCLUSION = "occlusion"
_NON_FACE = "non_face"
_KINDS = (*DEGRADATIONS, _OCCLUSION, _NON_FACE)
# Compression gets a larger share: with equal shares it was learnt last and worst.
_WEIGHTS = dict.fromkeys(_KINDS, 1.0) | {"compression": 2.6, "haze": 0.5, "misalignment": 0.7}
_SHARES = np.array([_WEIGHTS[kind] for kind in _KINDS]) / sum(_WEIGHTS.values())
_SECOND_SHARE = 0.25
_SECOND_KINDS = (*DEGRADATIONS, _OCCLUSION)


@dataclass(frozen=True, slots=True, eq=False)
class Augmented:
    """An augmented picture.

    Attributes:
        image: RGB uint8 [112, 112, 3].
        strength: of the degradation, 0-1.
        is_face: whether a recognisable face is left.
    """

    image: Image
    strength: float
    is_face: bool


def augment(image: Image, other: Image, chance: Generator) -> Augmented:
    """Degrade a face in one random way, sometimes in two.

    Args:
        image: the face.
        other: another face, which may cover parts of this one.
        chance: source of all random choices.
    """
    kind = str(chance.choice(_KINDS, p=_SHARES))
    if kind == _NON_FACE:
        return Augmented(non_face(image, chance), 1.0, is_face=False)
    strength = chance.random()
    augmented = _apply(kind, image, strength, other, chance)
    # Compression disturbs recognisers less than it disturbs people; without this it would count as
    # harmless.
    seen = 0.2 + 0.8 * strength if kind == "compression" else strength
    if chance.random() < _SECOND_SHARE:
        second = chance.random() * 0.6
        augmented = _apply(str(chance.choice(_SECOND_KINDS)), augmented, second, other, chance)
        seen = min(1.0, float(np.hypot(seen, second)))
    return Augmented(np.ascontiguousarray(augmented), seen, is_face=True)


def augment_some(images: NDArray[np.uint8], share: float, seed: int) -> NDArray[np.uint8]:
    """Return a copy of crops [N, 112, 112, 3] with a share of them augmented; all remain faces."""
    chance = np.random.default_rng(seed)
    images = images.copy()
    for number in np.flatnonzero(chance.random(len(images)) < share):
        other = images[chance.integers(len(images))]
        augmented = augment(images[number], other, chance)
        while not augmented.is_face:
            augmented = augment(images[number], other, chance)
        images[number] = augmented.image
    return images


def _apply(kind: str, image: Image, strength: float, other: Image, chance: Generator) -> Image:
    if kind == _OCCLUSION:
        return occlude(image, strength, other, chance)
    return DEGRADATIONS[kind](image, strength, chance)


def occlude(image: Image, strength: float, other: Image, chance: Generator) -> Image:
    """Cover a part: the lower face, the eyes, a side, a patch, or many small ones."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), dtype=np.uint8)
    area = 0.1 + 0.6 * strength
    kind = chance.random()
    if kind < 0.25:
        mask[height - int(height * area) :] = 1
    elif kind < 0.4:
        band = int(height * area * 0.7)
        # The eyes lie at 0.46 of the template's height.
        top = int(np.clip(0.41 * height - band / 2 + chance.normal() * 4, 0, height - band))
        mask[top : top + band] = 1
    elif kind < 0.5:
        side = int(width * area)
        mask[:, slice(0, side) if chance.random() < 0.5 else slice(width - side, width)] = 1
    elif kind < 0.9:
        _patch(mask, area, chance)
    else:
        for _ in range(round(2 + 12 * strength)):
            top, left, size = chance.integers((0, 0, 10), (height - 12, width - 12, 26))
            mask[top : top + size, left : left + size] = 1
    covered = np.where(mask[..., None] > 0, _cover(image.shape, other, chance), image)
    return np.asarray(covered, dtype=np.uint8)


def _patch(mask: Image, area: float, chance: Generator) -> None:
    """Return a mask: a rectangle or an ellipse that covers about this share of the picture."""
    height, width = mask.shape
    aspect = float(np.exp(chance.normal() * 0.3))
    rows = min(height, int(height * np.sqrt(area) * aspect))
    columns = min(width, int(width * np.sqrt(area) / aspect))
    top, left = chance.integers((0, 0), (height - rows + 1, width - columns + 1))
    if chance.random() < 0.7:
        mask[top : top + rows, left : left + columns] = 1
    else:
        centre = (int(left + columns // 2), int(top + rows // 2))
        turn = float(chance.random() * 180)
        cv2.ellipse(mask, centre, (columns // 2, rows // 2), turn, 0, 360, 1, -1)


def _cover(shape: tuple[int, ...], other: Image, chance: Generator) -> Image:
    """Return what covers the face: a colour, grey, black, noise, or skin of another face."""
    kind = chance.integers(5)
    if kind == 0:
        return np.zeros(shape, dtype=np.uint8)
    if kind == 1:
        return np.full(shape, chance.integers(0, 256, 3), dtype=np.uint8)
    if kind == 2:
        return chance.integers(0, 256, shape, dtype=np.uint8)
    if kind == 3:
        return np.full(shape, chance.integers(90, 256), dtype=np.uint8)
    corner = int(chance.integers(0, 60))
    piece = other[corner : corner + 40, corner : corner + 40]
    return np.asarray(cv2.resize(piece, shape[1::-1]), dtype=np.uint8)


def jitter(image: Image, chance: Generator) -> Image:
    """Return a clean face as another detector or camera might have given it."""
    offset = chance.integers(-3, 4, 2)
    matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], dtype=np.float64)
    size = image.shape[1::-1]
    moved = cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT)
    values = moved * (1 + chance.normal() * 0.1) + chance.normal() * 8
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)
