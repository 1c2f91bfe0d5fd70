"""Ways in which a camera degrades a face, each from hardly visible (strength 0) to useless (1).

Training needs many variants: a network that has only seen Gaussian blur learns Gaussian blur only.
Every function chooses its own variant at random, so that no two pictures are degraded alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamgate.values import Image

__all__ = ["DEGRADATIONS", "Degradation"]

Degradation = Callable[[Image, float, Generator], Image]
"""A function of picture, strength 0-1 and random generator; returns a picture of the same size."""

_REFLECT = cv2.BORDER_REFLECT


def _between(weak: float, strong: float, strength: float) -> float:
    return weak + (strong - weak) * strength


def _geometric(weak: float, strong: float, strength: float) -> float:
    return float(weak * (strong / weak) ** strength)


def _rounded(values: NDArray[Any]) -> Image:
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)


def _image(values: object) -> Image:
    return np.asarray(values, dtype=np.uint8)


def blur(image: Image, strength: float, chance: Generator) -> Image:
    """Out of focus: a Gaussian, a box or a disc."""
    sigma = _geometric(0.7, 5.0, strength)
    kind = chance.random()
    if kind < 0.7:
        return _image(cv2.GaussianBlur(image, (0, 0), sigma, borderType=_REFLECT))
    if kind < 0.85:
        # A box of this width has about the Gaussian's variance.
        size = round(sigma * 3.4) | 1
        return _image(cv2.blur(image, (size, size), borderType=_REFLECT))
    radius = max(1.0, sigma * 1.9)
    extent = int(np.ceil(radius))
    rows, columns = np.mgrid[-extent : extent + 1, -extent : extent + 1]
    disc = (rows**2 + columns**2 <= radius**2).astype(np.float32)
    return _image(cv2.filter2D(image, -1, disc / disc.sum(), borderType=_REFLECT))


def motion(image: Image, strength: float, chance: Generator) -> Image:
    """Motion during the exposure, straight or curved."""
    length = _geometric(3.0, 26.0, strength)
    angle = chance.random() * np.pi
    bend = chance.normal() * 0.3 if chance.random() < 0.3 else 0.0
    size = max(int(np.ceil(length)) | 1, 3)
    time = np.linspace(-0.5, 0.5, 4 * size)
    along, across = time * (length - 1), bend * time**2 * (length - 1)
    x = np.cos(angle) * along - np.sin(angle) * across + size // 2
    y = np.sin(angle) * along + np.cos(angle) * across + size // 2
    kernel, _, _ = np.histogram2d(y, x, bins=size, range=[[-0.5, size - 0.5]] * 2)
    kernel = cv2.GaussianBlur(kernel.astype(np.float32), (3, 3), 0.5, borderType=0)
    return _image(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=_REFLECT))


def low_resolution(image: Image, strength: float, chance: Generator) -> Image:
    """Too far away: scaled down and up again, with various interpolations."""
    size = round(_geometric(64, 9, strength))
    downs = (cv2.INTER_AREA, cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    ups = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST, cv2.INTER_LANCZOS4)
    down = int(chance.choice(downs))
    up = int(chance.choice(ups, p=(0.34, 0.34, 0.16, 0.16)))
    small = cv2.resize(image, (size, size), interpolation=down)
    return _image(cv2.resize(small, image.shape[1::-1], interpolation=up))


def noise(image: Image, strength: float, chance: Generator) -> Image:
    """A poor sensor: additive, coloured, shot, impulse or multiplicative noise."""
    values = image.astype(np.float32)
    height, width = image.shape[:2]
    kind = chance.random()
    if kind < 0.6:
        depth = 3 if chance.random() < 0.7 else 1
        grain = chance.standard_normal((height, width, depth), dtype=np.float32)
        if chance.random() < 0.25:
            # Smoothing halves the amplitude, so it is doubled here.
            smooth = np.asarray(cv2.GaussianBlur(grain, (0, 0), 0.8), dtype=np.float32)
            grain = 2 * smooth.reshape(height, width, depth)
        return _rounded(values + _geometric(7, 75, strength) * grain)
    if kind < 0.8:
        photons = _geometric(120, 2.5, strength)
        return _rounded(chance.poisson(values / 255 * photons) * 255 / photons)
    if kind < 0.9:
        share = _geometric(0.01, 0.3, strength) / 2
        draw = chance.random((height, width, 1))
        return _rounded(np.where(draw < share, 0, np.where(draw > 1 - share, 255, values)))
    grain = chance.standard_normal((height, width, 1), dtype=np.float32)
    return _rounded(values * (1 + _geometric(0.08, 0.9, strength) * grain))


def dark(image: Image, strength: float, chance: Generator) -> Image:
    """Too little light: a gain or a gamma, sometimes with the noise that comes with it."""
    values: NDArray[Any] = image.astype(np.float32) / 255
    gain = _geometric(0.6, 0.04, strength)
    if chance.random() < 0.3:
        values = values ** _between(1.3, 3.5, strength) * min(1.0, gain * 2.5)
    else:
        values = values * gain
    if chance.random() < 0.35:
        grain = chance.standard_normal(values.shape, dtype=np.float32)
        values = values + grain * np.float32(_between(1, 6, chance.random()) / 255)
    return _rounded(values * 255)


def bright(image: Image, strength: float, chance: Generator) -> Image:
    """Over-exposure: a gain, an offset, both, or a gamma; white stays white."""
    values: NDArray[Any] = image.astype(np.float32)
    kind = chance.random()
    if kind < 0.5:
        values = values * _between(1.4, 5.0, strength**1.3)
    elif kind < 0.75:
        values = values + _between(50, 215, strength)
    elif kind < 0.9:
        values = values * _between(1.2, 2.5, strength) + _between(20, 110, strength)
    else:
        gamma = _between(0.6, 0.12, strength)
        values = 255 * (values / 255) ** gamma * _between(1.0, 1.2, strength)
    return _rounded(values)


def haze(image: Image, strength: float, chance: Generator) -> Image:
    """Low contrast, around the mean of the picture or another value."""
    gain = _geometric(0.6, 0.08, strength)
    middle = image.mean() if chance.random() < 0.6 else 255 * chance.random()
    return _rounded((image.astype(np.float32) - middle) * gain + middle)


def compression(image: Image, strength: float, chance: Generator) -> Image:
    """Compression: mostly JPEG, sometimes of a smaller picture, sometimes WebP."""
    quality = round(_geometric(32, 2, strength))
    kind = chance.random()
    source = image
    if kind < 0.12:
        size = int(chance.integers(60, 100))
        source = _image(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))
    if kind > 0.92:
        _, data = cv2.imencode(".webp", source, [cv2.IMWRITE_WEBP_QUALITY, max(1, quality // 2)])
    else:
        _, data = cv2.imencode(".jpg", source, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return _image(cv2.resize(decoded, image.shape[1::-1]) if source is not image else decoded)


def misalignment(image: Image, strength: float, chance: Generator) -> Image:
    """Wrong landmarks: shifted, rotated, too large or too small."""
    kind = chance.random()
    shift, angle, scale = 0.0, 0.0, 1.0
    if kind < 0.4:
        shift = _between(8, 40, strength)
    elif kind < 0.6:
        angle = _between(12, 70, strength) * chance.choice((-1.0, 1.0))
    elif kind < 0.9:
        near = chance.random() < 0.5
        scale = _geometric(1.2, 2.6, strength) if near else _geometric(0.85, 0.4, strength)
    else:
        shift = _between(4, 20, strength)
        angle, scale = chance.normal() * 20 * strength, np.exp(chance.normal() * 0.3 * strength)
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(angle), float(scale))
    direction = chance.random() * 2 * np.pi
    matrix[0, 2] += shift * np.cos(direction)
    matrix[1, 2] += shift * np.sin(direction)
    border = int(chance.choice((cv2.BORDER_CONSTANT, _REFLECT, cv2.BORDER_REPLICATE)))
    return _image(cv2.warpAffine(image, matrix, (width, height), borderMode=border))


DEGRADATIONS: Mapping[str, Degradation] = {
    "blur": blur,
    "motion": motion,
    "low_resolution": low_resolution,
    "noise": noise,
    "dark": dark,
    "bright": bright,
    "compression": compression,
    "haze": haze,
    "misalignment": misalignment,
}
"""Degradations by name. Occlusion is elsewhere, because it needs a second picture."""
