"""A fixed ladder of degradations, three levels each, by which scores are compared.

It is separate from the degradations that a student is trained with, and narrower, so that a network
is not measured on what it was trained for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamgate.values import Image

__all__ = ["KINDS", "LEVELS", "NON_FACES", "degrade", "non_face"]

LEVELS = (0, 1, 2)
"""Weak, middle, strong."""

Rung = Callable[[Image, float, Generator], NDArray[np.generic]]


def _blur(image: Image, sigma: float, _chance: Generator) -> NDArray[np.generic]:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))


def _motion(image: Image, length: float, chance: Generator) -> NDArray[np.generic]:
    size = int(length) | 1
    line = np.zeros((size, size), dtype=np.float32)
    line[size // 2] = 1.0
    turn = cv2.getRotationMatrix2D((size // 2, size // 2), chance.uniform(0, 180), 1.0)
    line = np.asarray(cv2.warpAffine(line, turn, (size, size)))
    return np.asarray(cv2.filter2D(image, -1, line / line.sum()))


def _low_resolution(image: Image, size: float, _chance: Generator) -> NDArray[np.generic]:
    small = cv2.resize(image, (int(size), int(size)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def _noise(image: Image, sigma: float, chance: Generator) -> NDArray[np.generic]:
    return np.asarray(image + chance.normal(0, sigma, image.shape))


def _gain(image: Image, gain: float, _chance: Generator) -> NDArray[np.generic]:
    return np.asarray(image * gain)


def _occlusion(image: Image, area: float, chance: Generator) -> NDArray[np.generic]:
    side = int(len(image) * area**0.5)
    top, left = chance.integers(0, len(image) - side + 1, 2)
    covered = image.copy()
    covered[top : top + side, left : left + side] = chance.integers(0, 256, 3)
    return covered


def _jpeg(image: Image, quality: float, _chance: Generator) -> NDArray[np.generic]:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded[..., ::-1])


_LADDER: Mapping[str, tuple[Rung, Sequence[float]]] = {
    "blur": (_blur, (1.0, 2.0, 3.5)),
    "motion": (_motion, (5, 9, 15)),
    "low resolution": (_low_resolution, (48, 28, 16)),
    "noise": (_noise, (15, 30, 50)),
    "dark": (_gain, (0.5, 0.25, 0.1)),
    "bright": (_gain, (1.6, 2.4, 4.0)),
    "occlusion": (_occlusion, (0.15, 0.3, 0.5)),
    "JPEG": (_jpeg, (20, 10, 5)),
}
KINDS = tuple(_LADDER)
"""Blur σ, motion length and low resolution in pixels of 112, noise σ in 8-bit values, gains,
covered share of the picture, JPEG quality."""


def degrade(image: Image, kind: str, level: int, chance: Generator) -> Image:
    """Return a face degraded in one of `KINDS` at one of `LEVELS`."""
    rung, strengths = _LADDER[kind]
    return np.asarray(np.clip(rung(image, strengths[level], chance), 0, 255), dtype=np.uint8)


def _shuffled_blocks(image: Image, chance: Generator) -> NDArray[np.generic]:
    size = 16
    count = len(image) // size
    blocks = [
        image[r * size : (r + 1) * size, c * size : (c + 1) * size]
        for r in range(count)
        for c in range(count)
    ]
    order = chance.permutation(len(blocks)).reshape(count, count)
    return np.concatenate([np.concatenate([blocks[i] for i in row], axis=1) for row in order])


def _plain_colour(image: Image, chance: Generator) -> NDArray[np.generic]:
    return np.full_like(image, chance.integers(0, 256, 3, dtype=np.uint8))


def _texture(image: Image, chance: Generator) -> NDArray[np.generic]:
    """Noise of one scale, between a few pixels and a quarter of the picture."""
    grain = chance.normal(0, 1, image.shape)
    smooth = np.asarray(cv2.GaussianBlur(grain, (0, 0), chance.uniform(1, 12)))
    return np.asarray(127 + smooth / smooth.std() * chance.uniform(20, 60))


NON_FACES: Mapping[str, Callable[[Image, Generator], NDArray[np.generic]]] = {
    "shuffled blocks": _shuffled_blocks,
    "plain colour": _plain_colour,
    "texture": _texture,
}


def non_face(image: Image, kind: str, chance: Generator) -> Image:
    """Return one of `NON_FACES`, made from the given face where it needs one."""
    return np.asarray(np.clip(NON_FACES[kind](image, chance), 0, 255), dtype=np.uint8)
