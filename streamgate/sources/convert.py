"""From a decoded picture to RGB, with square pixels and upright: the one place that converts.

Matrix (BT.601, BT.709, BT.2020) and range (limited or full) follow the stream's own tags; an
untagged stream is taken for BT.601 limited, as FFmpeg and OpenCV do, so that a face looks here as
it does to the recogniser that comes after.
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from streamgate.values import Image

__all__ = ["RgbConverter", "square_size"]

_QUARTER_TURN_DEG = 90
_FLATTEST, _TALLEST = Fraction(1, 16), Fraction(16)
"""Pixels of other shapes are a mistake in the tags."""


def square_size(
    width: int, height: int, pixel_aspect: Fraction | float | None, max_pixels: int
) -> tuple[int, int]:
    """Return the size of a picture once its pixels are square.

    It is widened or heightened, so that no detail is lost, unless it grew too large by that.

    Args:
        width, height: in pixels as coded.
        pixel_aspect: width of a pixel, divided by its height; None or 0 where it is not known.
        max_pixels: the most that the picture may have.
    """
    aspect = Fraction(pixel_aspect or 1).limit_denominator(10_000)
    if aspect == 1 or not _FLATTEST <= aspect <= _TALLEST:
        return width, height
    widened = (width * aspect, Fraction(height))
    heightened = (Fraction(width), height / aspect)
    larger, smaller = (widened, heightened) if aspect > 1 else (heightened, widened)
    wide, high = larger if larger[0] * larger[1] <= max_pixels else smaller
    return max(1, round(wide)), max(1, round(high))


class RgbConverter:
    """Converts the pictures of one connection; it keeps the scaler between them.

    Args:
        max_pixels: the most that a picture may have once its pixels are square.
    """

    def __init__(self, max_pixels: int = 7680 * 4320) -> None:
        self._reformatter = VideoReformatter()
        self._max_pixels = max_pixels

    def image(self, picture: av.VideoFrame, pixel_aspect: Fraction | float | None = None) -> Image:
        """Return RGB uint8 [H, W, 3], read-only, turned as the stream's display matrix says.

        Args:
            picture: as decoded.
            pixel_aspect: see `square_size`.
        """
        width, height = square_size(picture.width, picture.height, pixel_aspect, self._max_pixels)
        is_square = (width, height) == (picture.width, picture.height)
        # One thread: the scaler would start one for each core, and detection needs the cores.
        rgb = self._reformatter.reformat(
            picture,
            width,
            height,
            format="rgb24",
            interpolation=None if is_square else Interpolation.BICUBIC,
            threads=1,
        )
        image = np.asarray(rgb.to_ndarray(), np.uint8)
        turns = round(picture.rotation / _QUARTER_TURN_DEG) % 4
        if turns:
            image = np.ascontiguousarray(np.rot90(image, turns))
        image.flags.writeable = False
        return image
