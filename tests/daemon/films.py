"""Films of one person who comes before the camera, stays for a while and goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from streamgate.errors import StreamgateError
from streamgate.models.registry import path_of
from streamgate.sources.record import write_video
from streamgate.values import Image
from tests import needs

__all__ = ["RATE", "film_visit"]

RATE = 10
"""Pictures a second: few, so that a loaded machine sees most of them."""

# The face lies at (225, 115) of 512×512 and is about 90 pixels wide.
_FACE = (225.0, 115.0)


def film_visit(
    path: Path, *, stays_s: float, away_s: float = 0.0, size: tuple[int, int] = (320, 240)
) -> Path:
    """Film a person who stays, swaying, and then an empty room; skip without a photograph."""
    try:
        photograph = cv2.imread(str(path_of("photo-astronaut")))
    except StreamgateError as error:
        needs.missing("the photograph of an astronaut", str(error))
    assert photograph is not None
    person = cv2.cvtColor(photograph, cv2.COLOR_BGR2RGB)
    write_video(path, _pictures(person, (stays_s, away_s), size), RATE)
    return path


def _pictures(
    person: cv2.typing.MatLike, seconds: tuple[float, float], size: tuple[int, int]
) -> Iterator[Image]:
    width, height = size
    scale = height / 260
    for number in range(round(seconds[0] * RATE)):
        x = width / 2 + 0.03 * width * np.sin(number / 5)
        shift = np.array(
            [[scale, 0, x - scale * _FACE[0]], [0, scale, height * 0.46 - scale * _FACE[1]]]
        )
        yield np.asarray(
            cv2.warpAffine(person, shift, size, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )
    across, down = np.meshgrid(np.linspace(90, 150, width), np.linspace(0, 40, height))
    room = np.repeat((across + down)[..., None], 3, axis=2).astype(np.uint8)
    for number in range(round(seconds[1] * RATE)):
        # Something moves, so that this is no frozen picture.
        shown = room.copy()
        shown[-8:, number % (width - 8) :][:, :8] = 200
        yield shown
