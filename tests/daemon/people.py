"""A film in which one person stands before the camera for as long as a test needs."""

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

__all__ = ["film_person"]

# Few pictures, so that the film is long, soon made and soon looked at.
_RATE = 2
_SIZE = (320, 240)
# The face lies at (225, 115) of the photograph's 512×512 and is about 90 pixels wide.
_LEFT = 225 - _SIZE[0] // 2


def film_person(path: Path, seconds: float) -> Path:
    """Film one person who sways, 320×240, in glaring light that becomes good; so does the face.

    The test is skipped where there is no photograph.
    """
    try:
        photograph = cv2.imread(str(path_of("photo-astronaut")))
    except StreamgateError as error:
        needs.missing("the photograph of an astronaut", str(error))
    assert photograph is not None
    write_video(path, _pictures(cv2.cvtColor(photograph, cv2.COLOR_BGR2RGB), seconds), _RATE)
    return path


def _pictures(photograph: cv2.typing.MatLike, seconds: float) -> Iterator[Image]:
    for number in range(round(seconds * _RATE)):
        # Whole pixels: resampling would cost sharpness.
        left = _LEFT + round(6 * np.sin(number / 3))
        light = max(0.65, 1.0 - 0.003 * number)
        view = photograph[: _SIZE[1], left : left + _SIZE[0]]
        yield (view * light).astype(np.uint8)
