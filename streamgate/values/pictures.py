"""What a source delivers: frames, and the points where their stream is interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Discontinuity",
    "Frame",
    "Image",
    "LookReason",
    "PassReason",
    "Picture",
]

Image = NDArray[np.uint8]
"""RGB picture, uint8 [H, W, 3]."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture.

    Attributes:
        image: RGB uint8 [H, W, 3], read-only.
        index: how many frames this source had decoded before, since the process started.
        connection: how many times the source had been opened before; tracks never span two.
        captured_at: best estimate of when the camera took the picture, monotonic seconds.
        captured_wall: the same instant in Unix seconds.
        decoded_at: monotonic seconds at which the picture was ready.
    """

    image: Image
    index: int
    connection: int
    captured_at: float
    captured_wall: float
    decoded_at: float


@dataclass(frozen=True, slots=True, eq=False)
class Discontinuity:
    """The stream was lost or has ended, and with it all live tracks.

    Attributes:
        reason: why, for the log.
        at: monotonic seconds.
        ended: whether the source has come to its end (a file) rather than being lost.
    """

    reason: str
    at: float
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture.

    Attributes:
        media_type: `image/jpeg` or `image/png`.
        data: the file's bytes.
    """

    media_type: str
    data: bytes

    @property
    def suffix(self) -> str:
        """The file name extension, with its dot."""
        return ".jpg" if self.media_type == "image/jpeg" else ".png"


class LookReason(StrEnum):
    """Why the detector was asked about a picture."""

    EVERY_FRAME = "every_frame"
    """It is asked about all of them."""
    DUE = "due"
    """The longest time without a look was over."""
    MOTION = "motion"
    TRACKS = "tracks"
    """Somebody is followed."""


class PassReason(StrEnum):
    """Why the detector was not asked about a picture."""

    NOTHING_MOVES = "nothing_moves"
    BETWEEN_LOOKS = "between_looks"
    """The last look was a moment ago."""
