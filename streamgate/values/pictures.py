"""What a source delivers: frames, and the points where their stream is interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamgate.values.reasons import DetailOutcome

__all__ = [
    "ArrayPixels",
    "Detail",
    "DetailPicture",
    "Discontinuity",
    "Frame",
    "Image",
    "LookReason",
    "PassReason",
    "Picture",
    "Pixels",
]

Image = NDArray[np.uint8]
"""RGB picture, uint8 [H, W, 3]."""


class Pixels(Protocol):
    """A decoded picture, which is converted to what is asked for; any thread may ask."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the RGB picture."""
        ...

    def rgb(self) -> Image:
        """Return the picture as RGB uint8 [H, W, 3], read-only; it is converted once.

        Raises:
            PictureError: it cannot be converted.
        """
        ...

    def luma(self, width: int, height: int) -> NDArray[np.uint8]:
        """Return a small grey picture, uint8 [height, width]; its aspect may differ.

        Raises:
            PictureError: it cannot be converted.
        """
        ...


class ArrayPixels:
    """Pixels that are RGB already."""

    def __init__(self, image: Image) -> None:
        self._image = image

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self._image.shape[:2]
        return width, height

    def rgb(self) -> Image:
        """The picture itself."""
        return self._image

    def luma(self, width: int, height: int) -> NDArray[np.uint8]:
        """Return some of its pixels in grey, evenly taken."""
        across, down = self.size
        rows = (np.arange(height) * down) // height
        columns = (np.arange(width) * across) // width
        return np.asarray(self._image[rows][:, columns].mean(axis=2), np.uint8)


class DetailPicture(Protocol):
    """The same scene in more pixels, of which windows are asked for."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        ...

    def window(self, x1: int, y1: int, x2: int, y2: int) -> tuple[Image, tuple[int, int]]:
        """Return a part of the picture, RGB uint8 [H, W, 3], and where it begins, x and y.

        It is clipped to the picture, and may begin a pixel further left or up.

        Raises:
            PictureError: it cannot be converted.
        """
        ...


class Detail(Protocol):
    """The second stream of a camera, at the instant of a frame."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of its pictures; None while it is away."""
        ...

    def picture(self) -> DetailPicture | None:
        """Return the picture of that instant; wait for it as long as is reasonable, but once.

        None: it is away or late, which is counted.
        """
        ...

    def note(self, outcome: DetailOutcome) -> None:
        """Count what came of a face."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture.

    Attributes:
        pixels: what it shows; converted only when somebody looks.
        index: how many frames this source had decoded before, since the process started.
        connection: how many times the source had been opened before; tracks never span two.
        captured_at: best estimate of when the camera took the picture, monotonic seconds.
        captured_wall: the same instant in Unix seconds.
        decoded_at: monotonic seconds at which the picture was ready.
        detail: the same instant in the larger stream, where the camera has two.
    """

    pixels: Pixels
    index: int
    connection: int
    captured_at: float
    captured_wall: float
    decoded_at: float
    detail: Detail | None = None

    @property
    def image(self) -> Image:
        """The picture as RGB uint8 [H, W, 3], read-only; see `Pixels.rgb`."""
        return self.pixels.rgb()


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
    NEWCOMER = "newcomer"
    """Somebody was first seen a moment ago."""
    TRACKS = "tracks"
    """Somebody is followed."""


class PassReason(StrEnum):
    """Why the detector was not asked about a picture."""

    NOTHING_MOVES = "nothing_moves"
    BETWEEN_LOOKS = "between_looks"
    """The last look was a moment ago."""
