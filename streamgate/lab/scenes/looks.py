"""People cut out of photographs: what a scene is composed of.

A look is one photograph of a person as a head with hair and shoulders on a soft mask, brought to
one scale. It is made of a whole photograph, in which a detector says where the face is, or of an
aligned crop, which shows little more than the face: hair and shoulders are drawn around it then.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.errors import ModelError
from streamgate.faces.align import CROP_SIDE
from streamgate.values import Face, Image

__all__ = ["FACE_HEIGHT_PX", "SIDE_PX", "Look", "Person", "crop_look", "load_people", "photo_look"]

FACE_HEIGHT_PX = 112.0
"""Height of the face's box in a look."""
SIDE_PX = 336
"""Side of a look; the face is in its middle."""

_MIDDLE = SIDE_PX / 2
_CROP_FACE = (18.0, 16.0, 94.0, 110.0)
"""Where a detector sees the face of an aligned crop: x1, y1, x2, y2."""
_EXPOSURE = 118.0
_HAIR = ((38, 30, 26), (70, 52, 38), (120, 96, 66), (150, 148, 146), (24, 22, 24))
_CLOTHES = ((48, 54, 70), (92, 40, 42), (60, 84, 66), (120, 118, 112), (30, 30, 34), (150, 132, 96))
_SKIN = ((1.10, 0.97, 0.86), (1.08, 0.98, 0.90), (1.12, 0.96, 0.82))


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One photograph of a person, ready to be drawn.

    Attributes:
        picture: RGB uint8 [336, 336, 3]; the face is in the middle, 112 pixels high.
        alpha: how much of each pixel belongs to the person, 0-1, float32 [336, 336].
        face_width_px: width of the face's box.
    """

    picture: Image
    alpha: NDArray[np.float32]
    face_width_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Somebody, and the photographs that there are."""

    name: str
    looks: tuple[Look, ...]


def load_people(
    photographs: Mapping[str, Sequence[Path]], detect: Callable[[Image], Sequence[Face]]
) -> list[Person]:
    """Cut people out of their photographs, whole ones and aligned crops alike.

    A photograph of 112×112 pixels is taken for an aligned crop; one without a face is left out, and
    so is a person without a photograph.

    Args:
        photographs: the files of each person.
        detect: finds faces, best first.

    Raises:
        ModelError: a photograph cannot be read.
    """
    people = []
    for name, paths in photographs.items():
        looks = []
        for path in paths:
            image = _read(path)
            if image.shape[:2] == (CROP_SIDE, CROP_SIDE):
                looks.append(crop_look(image, name))
            elif faces := detect(image):
                looks.append(photo_look(image, max(faces, key=lambda face: face.area)))
        if looks:
            people.append(Person(name, tuple(looks)))
    return people


def photo_look(image: Image, face: Face) -> Look:
    """Cut a person out of a photograph.

    Args:
        image: RGB uint8 [H, W, 3].
        face: the person's face in it.
    """
    scale = FACE_HEIGHT_PX / face.height
    middle = (face.box[:2] + face.box[2:]) / 2
    width = scale * face.width
    # What the photograph does not show of the shoulders goes on as it was at its border.
    picture = _moved(image, scale, middle, cv2.BORDER_REPLICATE)
    return Look(_exposed(picture, width), _outline(width), width)


def crop_look(image: Image, name: str) -> Look:
    """Draw a person around an aligned crop; hair and clothes go with the name.

    Args:
        image: RGB uint8 [112, 112, 3].
        name: whose face it is.
    """
    chance = np.random.default_rng(zlib.crc32(name.encode()))
    x1, y1, x2, y2 = _CROP_FACE
    scale, middle = FACE_HEIGHT_PX / (y2 - y1), np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    width = scale * (x2 - x1)
    hair, clothes = (np.array(chance.choice(kind)) for kind in (_HAIR, _CLOTHES))
    tint = np.array(chance.choice(_SKIN)) if _is_grey(image) else np.ones(3)
    face = np.asarray(_moved(image, scale, middle, cv2.BORDER_REPLICATE) * tint, np.float32)
    skin = np.median(face[150:200, 140:196].reshape(-1, 3), axis=0)
    drawn = np.empty((SIDE_PX, SIDE_PX, 3), np.float32)
    drawn[:] = clothes
    for colour, down, across, along in (
        (skin * 0.8, 0.62, 0.36, 0.35),
        (hair, -0.10, 0.72, 0.68),
        (hair, -0.02, 0.66, 0.62),
    ):
        shape = _ellipse(down, across * width, along * FACE_HEIGHT_PX, soft=3.0)
        drawn += shape[..., None] * (colour - drawn)
    visible = _ellipse(0.02, 0.52 * width, 0.56 * FACE_HEIGHT_PX, soft=5.0)[..., None]
    drawn += visible * (face - drawn)
    outline = _ellipse(-0.10, 0.70 * width, 0.66 * FACE_HEIGHT_PX, soft=3.0)
    return Look(_exposed(drawn, width), np.maximum(outline, _shoulders(width)), width)


def _read(path: Path) -> Image:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ModelError(f"the photograph {path} cannot be read")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _is_grey(image: Image) -> bool:
    return int(np.ptp(image, axis=2).max()) <= 8


def _moved(
    image: Image, scale: float, middle: NDArray[np.float64], border: int
) -> NDArray[np.float32]:
    if scale < 0.75:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.5 / scale - 0.3), np.uint8)
    move = np.array([
        [scale, 0, _MIDDLE - scale * middle[0]],
        [0, scale, _MIDDLE - scale * middle[1]],
    ])  # fmt: skip
    moved = cv2.warpAffine(
        image, move, (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR, borderMode=border
    )
    return np.asarray(moved, np.float32)


def _exposed(picture: NDArray[np.float32], width: float) -> Image:
    """Expose for the face, as a camera does."""
    half = round(0.4 * width)
    face = picture[130:206, round(_MIDDLE) - half : round(_MIDDLE) + half]
    luma = float((face @ np.array([0.299, 0.587, 0.114])).mean())
    gain = np.clip(_EXPOSURE / max(luma, 1.0), 0.6, 1.8)
    return np.asarray(np.clip(picture * gain, 0, 255), np.uint8)


def _outline(width: float) -> NDArray[np.float32]:
    """Head and shoulders as two soft ellipses, from the size of the face."""
    head = _ellipse(-0.08, 0.80 * width, 0.82 * FACE_HEIGHT_PX, soft=4.0)
    return np.maximum(head, _shoulders(width))


def _shoulders(width: float) -> NDArray[np.float32]:
    return _ellipse(1.65, 1.45 * width, 1.05 * FACE_HEIGHT_PX, soft=4.0)


def _ellipse(down: float, across: float, along: float, *, soft: float) -> NDArray[np.float32]:
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    middle = (round(_MIDDLE), round(_MIDDLE + down * FACE_HEIGHT_PX))
    cv2.ellipse(mask, middle, (round(across), round(along)), 0, 0, 360, 255, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32) / np.float32(255)
