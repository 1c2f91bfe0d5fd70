"""Films of people who come and go, and of what goes wrong with a camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from streamgate.demo.scene import load_portraits
from streamgate.models.registry import path_of
from streamgate.sources.record import write_video
from streamgate.values import Image

__all__ = ["FRAMES_PER_SECOND", "film"]

FRAMES_PER_SECOND = 8
"""Few, so that a busy machine keeps up with them."""
SECONDS = 6
_WIDTH, _HEIGHT = 640, 360
_WALL = 120
_STAYS_FRAMES = 4
"""For so long is somebody there; the next one is elsewhere, and so a track of their own."""
_FACE_PX = 110
_SPOTS = ((120, 150), (330, 210), (520, 150), (220, 210), (420, 150))
_CROWD_PX = 56
_CROWD = tuple((x, y) for y in (80, 190, 300) for x in (70, 170, 270, 370, 470, 570))
_BLUR_PX = 6.0
_PEOPLE = ("astronaut", "hopper")


def film(path: Path, *, people: int = 1, blur: bool = False, frozen: bool = False) -> Path:
    """Record a film.

    Args:
        people: how many are there at a time.
        blur: whether the lens is out of focus.
        frozen: whether each picture is the very same.
    """
    pictures = _pictures(people, blur_px=_BLUR_PX if blur else 0.0)
    if frozen:
        pictures = iter([next(pictures)] * (SECONDS * FRAMES_PER_SECOND))
    write_video(path, pictures, FRAMES_PER_SECOND)
    return path


def _pictures(people: int, *, blur_px: float) -> Iterator[Image]:
    crowded = people > 1
    size_px = _CROWD_PX if crowded else _FACE_PX
    faces = _cut_out(size_px, blur_px)
    half = faces[0].shape[0] // 2
    grain = np.random.default_rng(3).integers(0, 4, (_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    for index in range(SECONDS * FRAMES_PER_SECOND):
        picture = np.full((_HEIGHT, _WIDTH, 3), _WALL, np.uint8)
        turn = index // _STAYS_FRAMES
        spots = _CROWD[:people] if crowded else [_SPOTS[turn % len(_SPOTS)]][:people]
        for number, (x, y) in enumerate(spots):
            # Somebody who stands still moves a little.
            left, top = x - half + (index + number) % 3, y - half
            face = faces[(turn + number) % len(faces)]
            picture[top : top + 2 * half, left : left + 2 * half] = face
        # Another part of the same grain each time.
        picture += np.roll(grain, (index * 37, index * 53), axis=(0, 1))
        yield picture


def _cut_out(size_px: int, blur_px: float) -> list[Image]:
    """Return each person before the wall, a square with some margin."""
    portraits = load_portraits({name: path_of(f"photo-{name}") for name in _PEOPLE})
    side = 2 * round(0.85 * size_px)
    cut = []
    for portrait in portraits.values():
        x1, y1, x2, y2 = portrait.face
        scale = size_px / (y2 - y1)
        middle = side / 2
        move = np.array([
            [scale, 0, middle - scale * (x1 + x2) / 2],
            [0, scale, middle - scale * (y1 + y2) / 2],
        ])  # fmt: skip
        layers = np.dstack([portrait.picture, portrait.alpha])
        if scale < 1:
            layers = np.asarray(cv2.GaussianBlur(layers, (0, 0), 0.4 / scale), np.float32)
        drawn = cv2.warpAffine(layers, move, (side, side), flags=cv2.INTER_LINEAR)
        face = np.asarray(_WALL * (1.0 - drawn[..., 3:]) + drawn[..., :3], np.float32)
        if blur_px:
            blurred = cv2.GaussianBlur(face, (0, 0), blur_px, borderType=cv2.BORDER_REPLICATE)
            face = np.asarray(blurred, np.float32)
        cut.append(np.clip(face, 0, 250).astype(np.uint8))
    return cut
