"""Pictures that are not faces, which the student learns to score below every face.

The discrepancy at a BatchNorm layer is small for any picture to which the network responds weakly,
so without these a plain wall would score well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator

from streamgate.values import Image

__all__ = ["non_face"]


def non_face(image: Image, chance: Generator) -> Image:
    """Return a picture that is not a face; some kinds are made from the pixels of a face."""
    return _KINDS[int(chance.integers(len(_KINDS)))](image, chance)


def _shuffled(image: Image, chance: Generator) -> Image:
    size = int(chance.choice((8, 14, 16, 28, 56)))
    count = len(image) // size
    cut = image[: count * size, : count * size]
    blocks = cut.reshape(count, size, count, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)
    blocks = blocks[chance.permutation(len(blocks))]
    mixed = blocks.reshape(count, count, size, size, 3).swapaxes(1, 2).reshape(cut.shape)
    return _resized(mixed, image.shape, cv2.INTER_LINEAR)


def _plain(image: Image, chance: Generator) -> Image:
    values = np.full(image.shape, chance.integers(0, 256, 3), dtype=np.float64)
    if chance.random() < 0.5:
        values += chance.standard_normal(image.shape) * chance.choice((1.0, 3.0, 8.0))
    if chance.random() < 0.4:
        ramp = np.linspace(-60, 60, len(image))
        values += (ramp[:, None] * chance.normal() + ramp * chance.normal())[..., None]
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)


def _texture(image: Image, chance: Generator) -> Image:
    size = int(chance.choice((2, 3, 5, 8, 14, 28, 56, 112)))
    depth = 3 if chance.random() < 0.5 else 1
    pixels = np.broadcast_to(chance.integers(0, 256, (size, size, depth)), (size, size, 3))
    mode = int(chance.choice((cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)))
    return _resized(np.asarray(pixels, dtype=np.uint8), image.shape, mode)


def _stripes(image: Image, chance: Generator) -> Image:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    angle, phase = chance.random() * np.pi, chance.random() * 2 * np.pi
    frequency = 2 * np.pi / (3 * 20 ** chance.random())
    wave = np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * frequency + phase)
    if chance.random() < 0.4:
        wave = wave * np.sin((columns * np.sin(angle) - rows * np.cos(angle)) * frequency)
    if chance.random() < 0.5:
        wave = np.sign(wave)
    first, second = chance.integers(0, 256, (2, 3))
    grain = chance.normal(size=(*image.shape[:2], 1)) * 6 * chance.random()
    values = first + (second - first) * (wave[..., None] + 1) / 2 + grain
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)


def _detail(image: Image, chance: Generator) -> Image:
    size = int(chance.integers(12, 34))
    top, left = chance.integers(0, len(image) - size, 2)
    return _resized(image[top : top + size, left : left + size], image.shape, cv2.INTER_CUBIC)


def _displaced(image: Image, chance: Generator) -> Image:
    if chance.random() < 0.5:
        return np.ascontiguousarray(image[::-1])
    return np.roll(image, len(image) // 2, axis=int(chance.integers(2)))


def _resized(image: Image, shape: tuple[int, ...], mode: int) -> Image:
    return np.asarray(cv2.resize(image, shape[1::-1], interpolation=mode), dtype=np.uint8)


# Shuffled faces appear twice, because they are hardest: every block of them shows a part of a face.
_KINDS: Sequence[Callable[[Image, Generator], Image]] = (
    _shuffled,
    _shuffled,
    _plain,
    _texture,
    _stripes,
    _detail,
    _displaced,
)
