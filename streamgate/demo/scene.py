"""A synthetic camera whose faces are degraded by a known amount in every frame.

Two photographs in the public domain walk through a room: each enters, comes nearer out of focus,
stands sharp and well lit for a moment, turns dark, is half hidden, turns soft and walks away. What
is wrong with each face in each frame is known, so the choice of the gate can be judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.errors import ModelError
from streamgate.values import Image

__all__ = ["FRAMES_PER_SECOND", "Appearance", "Scene", "load_portraits"]

FRAMES_PER_SECOND = 25
SIZE_PX = (640, 360)

_NEAR_PX = 112.0
_FAR_PX = 58.0
_SOFTEST_PX = 4.5
_DARKEST = 0.22
_FACE_LUMA = 106.0

# Where each person's face lies in the photograph: x1, y1, x2, y2.
_FACES = {"astronaut": (178, 63, 268, 176), "hopper": (183, 120, 353, 333)}


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A person cut out of a photograph.

    Attributes:
        name: who it is.
        picture: RGB times alpha, float32 [H, W, 3].
        alpha: how much of each pixel belongs to the person, 0-1, float32 [H, W, 1].
        face: the face's box in the photograph.
    """

    name: str
    picture: NDArray[np.float32]
    alpha: NDArray[np.float32]
    face: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Appearance:
    """A person in one frame, and what is wrong with the face.

    Attributes:
        visit: number of the visit, from 0; a person may come twice.
        person: who it is.
        center_px: middle of the face.
        height_px: height of the face.
        far, soft, dark, hidden: each fault's share, 0 none to 1.
    """

    visit: int
    person: str
    center_px: tuple[float, float]
    height_px: float
    far: float
    soft: float
    dark: float
    hidden: float

    @property
    def degradation(self) -> float:
        """All faults together, 0 none to 1."""
        return 1.0 - (1 - self.far) * (1 - self.soft) * (1 - self.dark) * (1 - self.hidden)


@dataclass(frozen=True, slots=True)
class _Visit:
    """One walk through the room, in shares of the scene's length and the picture's width."""

    person: str
    begins: float
    ends: float
    enters_x: float
    stands_x: float


_VISITS = (
    _Visit("astronaut", 0.02, 0.47, -0.10, 0.27),
    _Visit("hopper", 0.25, 0.70, 1.10, 0.73),
    _Visit("astronaut", 0.56, 0.98, -0.10, 0.30),
)

# The course of a visit: share of its length, then distance (1 far), soft, dark, hidden. The light
# goes out at once, as lights do.
_COURSE = np.array([
    (0.00, 1.0, 0.0, 0.0, 0.0),
    (0.10, 1.0, 0.1, 0.0, 0.0),
    (0.16, 0.8, 0.9, 0.0, 0.0),
    (0.34, 0.0, 0.8, 0.0, 0.0),
    (0.37, 0.0, 0.0, 0.0, 0.0),
    (0.50, 0.0, 0.0, 0.0, 0.0),
    (0.502, 0.0, 0.0, 0.9, 0.0),
    (0.63, 0.0, 0.0, 1.0, 0.0),
    (0.66, 0.0, 0.0, 0.3, 1.0),
    (0.72, 0.0, 0.2, 0.0, 1.0),
    (0.75, 0.1, 0.9, 0.0, 0.3),
    (0.84, 0.6, 0.9, 0.0, 0.0),
    (0.92, 1.0, 0.4, 0.0, 0.0),
    (1.00, 1.0, 0.2, 0.0, 0.0),
])  # fmt: skip


def load_portraits(photographs: dict[str, Path]) -> dict[str, Portrait]:
    """Cut the people out of their photographs.

    Raises:
        ModelError: a photograph cannot be read.
    """
    portraits = {}
    for name, face in _FACES.items():
        picture = cv2.imread(str(photographs[name]), cv2.IMREAD_COLOR)
        if picture is None:
            raise ModelError(f"the photograph {photographs[name]} cannot be read; delete it")
        rgb = _exposed(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.float32), face)
        alpha = _outline(rgb.shape[:2], face)
        portraits[name] = Portrait(name, rgb * alpha, alpha, face)
    return portraits


def _exposed(
    rgb: NDArray[np.float32], face: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    """Expose for the face, as a camera does: a photographer's lamps would outshine the room."""
    x1, y1, x2, y2 = (round(edge) for edge in face)
    luma = float(np.mean(rgb[y1:y2, x1:x2] @ np.array([0.299, 0.587, 0.114])))
    return np.asarray(np.clip(rgb * (_FACE_LUMA / luma), 0, 255), np.float32)


def _outline(shape: Sequence[int], face: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """Head and shoulders as two soft ellipses, from the place of the face."""
    x1, y1, x2, y2 = face
    width, height, middle = x2 - x1, y2 - y1, ((x1 + x2) / 2, (y1 + y2) / 2)
    mask = np.zeros((shape[0], shape[1]), np.uint8)
    for down, across, along in ((-0.08, 0.82 * width, 0.85), (1.65, 1.5 * width, 1.05)):
        center = (round(middle[0]), round(middle[1] + down * height))
        cv2.ellipse(mask, center, (round(across), round(along * height)), 0, 0, 360, 255, -1)
    mask[-round(0.2 * height) :] = 0
    soft = cv2.GaussianBlur(mask, (0, 0), width * 0.06).astype(np.float32) / 255.0
    return np.asarray(soft[..., None], np.float32)


class Scene:
    """The whole scene, frame by frame.

    Args:
        portraits: the people.
        seconds: length; the course of each visit is stretched to it.
    """

    def __init__(self, portraits: dict[str, Portrait], seconds: float) -> None:
        self.portraits = portraits
        self.frame_count = round(seconds * FRAMES_PER_SECOND)
        self._room = _room()

    @property
    def visits(self) -> int:
        """How many visits there are: as many tracks should there be."""
        return len(_VISITS)

    def appearances(self, index: int) -> list[Appearance]:
        """Who is in frame `index`, and how well each can be seen."""
        moment = index / self.frame_count
        return [
            _appearance(number, visit, (moment - visit.begins) / (visit.ends - visit.begins))
            for number, visit in enumerate(_VISITS)
            if visit.begins <= moment < visit.ends
        ]

    def frames(self) -> Iterator[Image]:
        """Yield the frames, RGB uint8 [360, 640, 3]."""
        grain = np.random.default_rng(0).normal(0.0, 1.5, self._room.shape).astype(np.float32)
        for index in range(self.frame_count):
            canvas = self._room.copy()
            for appearance in self.appearances(index):
                self._draw(canvas, appearance)
            # Another part of the same grain each time: drawing new noise would cost more than all.
            canvas += np.roll(grain, (index * 37, index * 53), axis=(0, 1))
            yield np.clip(canvas, 0, 255).astype(np.uint8)

    def _draw(self, canvas: NDArray[np.float32], seen: Appearance) -> None:
        portrait = self.portraits[seen.person]
        x1, y1, x2, y2 = portrait.face
        scale = seen.height_px / (y2 - y1)
        move = np.array([
            [scale, 0, seen.center_px[0] - scale * (x1 + x2) / 2],
            [0, scale, seen.center_px[1] - scale * (y1 + y2) / 2],
        ])  # fmt: skip
        # Shrinking without a blur before it would alias.
        sigma = max(0.0, 0.5 / scale - 0.5) + seen.soft * _SOFTEST_PX / scale
        layers = np.dstack([portrait.picture, portrait.alpha])
        if sigma > 0.05:
            layers = np.asarray(cv2.GaussianBlur(layers, (0, 0), sigma), np.float32)
        drawn = cv2.warpAffine(layers, move, SIZE_PX, flags=cv2.INTER_LINEAR)
        gain = 1.0 - seen.dark * (1.0 - _DARKEST)
        canvas *= 1.0 - drawn[..., 3:]
        canvas += drawn[..., :3] * gain
        if seen.hidden > 0:
            _hide(canvas, seen)


def _appearance(number: int, visit: _Visit, progress: float) -> Appearance:
    far, soft, dark, hidden = (
        float(np.interp(progress, _COURSE[:, 0], _COURSE[:, column])) for column in range(1, 5)
    )
    # In and out by the side; the middle of the visit is spent on the spot, swaying a little.
    inside = float(np.interp(progress, (0.0, 0.14, 0.9, 1.0), (0.0, 1.0, 1.0, 0.0)))
    x = visit.enters_x + (visit.stands_x - visit.enters_x) * inside
    sway = 0.006 * np.sin(progress * 40.0)
    height = _NEAR_PX + (_FAR_PX - _NEAR_PX) * far
    return Appearance(
        visit=number,
        person=visit.person,
        center_px=((x + sway) * SIZE_PX[0], 0.40 * SIZE_PX[1] + 0.10 * height * sway),
        height_px=height,
        far=0.8 * far,
        soft=0.9 * soft,
        dark=0.9 * dark,
        hidden=0.9 * hidden,
    )


def _hide(canvas: NDArray[np.float32], seen: Appearance) -> None:
    """Hold a board before the lower half of the face."""
    half = 0.75 * seen.height_px
    top = seen.center_px[1] + seen.height_px * (0.55 - 0.5 * seen.hidden)
    x, y = round(seen.center_px[0]), round(top)
    left, right = max(0, x - round(half)), max(0, x + round(half))
    canvas[max(0, y) : max(0, y + round(0.9 * seen.height_px)), left:right] = (148, 152, 158)


def _room() -> NDArray[np.float32]:
    """A wall with a door frame and a floor, soft enough to hold no face."""
    width, height = SIZE_PX
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    wall = 150.0 - 45.0 * np.abs(across - 0.5) - 30.0 * down
    room = np.stack([wall * 0.96, wall, wall * 1.02], axis=-1).astype(np.float32)
    room[int(0.86 * height) :] *= 0.7
    room[:, int(0.485 * width) : int(0.515 * width)] *= 0.85
    return np.asarray(cv2.GaussianBlur(room, (0, 0), 1.2), np.float32)
