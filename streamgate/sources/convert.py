"""From a decoded picture to RGB, with square pixels and upright: the one place that converts.

Most pictures are never converted: nothing moves in them, and nobody looks. So a frame holds the
decoded picture, and converts it for the first who asks.

Matrix (BT.601, BT.709, BT.2020) and range (limited or full) follow the stream's own tags; an
untagged stream is taken for BT.601 limited, as FFmpeg and OpenCV do, so that a face looks here as
it does to the recogniser that comes after.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from streamgate.errors import PictureError
from streamgate.values import Image

__all__ = ["RgbConverter", "VideoPixels", "square_size"]

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


def _turns(picture: av.VideoFrame) -> int:
    """Quarter turns to the left that the stream's display matrix asks for, 0-3."""
    return round(picture.rotation / _QUARTER_TURN_DEG) % 4


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise PictureError(f"a picture cannot be converted: {error}") from None


def _without_copy(rgb: av.VideoFrame) -> Image:
    """Return an RGB picture's own memory, uint8 [H, W, 3]; it lives as long as the array."""
    (plane,) = rgb.planes
    values: NDArray[np.uint8] = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload] # its stub does not say that it is a buffer
    rows = values.reshape(-1, plane.line_size)[: rgb.height]
    image = rows[:, : 3 * rgb.width].reshape(rgb.height, rgb.width, 3)
    return np.ascontiguousarray(image)


class RgbConverter:
    """Converts the pictures of one connection; it keeps the scaler between them.

    Args:
        max_pixels: the most that a picture may have once its pixels are square.
    """

    def __init__(self, max_pixels: int = 7680 * 4320) -> None:
        # A scaler belongs to one size and format at a time, and to one thread.
        self._reformatter = VideoReformatter()
        self._grey = VideoReformatter()
        self._sampler = VideoReformatter()
        self._lock = threading.Lock()
        self._max_pixels = max_pixels

    def size(
        self, picture: av.VideoFrame, pixel_aspect: Fraction | float | None = None
    ) -> tuple[int, int]:
        """Width and height of the picture that `image` would return."""
        width, height = square_size(picture.width, picture.height, pixel_aspect, self._max_pixels)
        return (height, width) if _turns(picture) % 2 else (width, height)

    def luma(self, picture: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """Return a small grey picture, uint8 [height, width], not turned.

        Raises:
            PictureError: it cannot be converted.
        """
        with self._lock, _told():
            grey = self._grey.reformat(
                picture, width, height, format="gray", interpolation=Interpolation.AREA, threads=1
            )
            return np.asarray(grey.to_ndarray(), np.uint8)

    def sampled(self, picture: av.VideoFrame, step: int) -> Image:
        """Return one pixel of `step` in each direction, RGB uint8 [H / step, W / step, 3].

        Raises:
            PictureError: it cannot be converted.
        """
        width, height = max(1, picture.width // step), max(1, picture.height // step)
        with self._lock, _told():
            few = self._sampler.reformat(
                picture, width, height, format="rgb24", interpolation=Interpolation.POINT, threads=1
            )
            return np.asarray(few.to_ndarray(), np.uint8)

    def image(self, picture: av.VideoFrame, pixel_aspect: Fraction | float | None = None) -> Image:
        """Return RGB uint8 [H, W, 3], read-only, turned as the stream's display matrix says.

        Args:
            picture: as decoded.
            pixel_aspect: see `square_size`.

        Raises:
            PictureError: it cannot be converted.
        """
        width, height = square_size(picture.width, picture.height, pixel_aspect, self._max_pixels)
        is_square = (width, height) == (picture.width, picture.height)
        # One thread: the scaler would start one for each core, and detection needs the cores.
        with self._lock, _told():
            rgb = self._reformatter.reformat(
                picture,
                width,
                height,
                format="rgb24",
                interpolation=None if is_square else Interpolation.BICUBIC,
                threads=1,
            )
            image = _without_copy(rgb)
        turns = _turns(picture)
        if turns:
            image = np.ascontiguousarray(np.rot90(image, turns))
        image.flags.writeable = False
        return image


def _part(picture: av.VideoFrame, x1: int, y1: int, x2: int, y2: int) -> av.VideoFrame:
    """Copy a part of a planar 4:2:0 picture; the corners are even."""
    part = av.VideoFrame(x2 - x1, y2 - y1, picture.format.name)
    part.colorspace, part.color_range = picture.colorspace, picture.color_range
    for number, (source, target) in enumerate(zip(picture.planes, part.planes, strict=True)):
        half = 2 if number else 1
        left, right, top, bottom = x1 // half, x2 // half, y1 // half, y2 // half
        # PyAV's stubs do not say that planes are buffers.
        rows = np.frombuffer(source, np.uint8).reshape(-1, source.line_size)  # type: ignore[call-overload]
        out = np.frombuffer(target, np.uint8).reshape(-1, target.line_size)  # type: ignore[call-overload]
        out[: bottom - top, : right - left] = rows[top:bottom, left:right]
    return part


class VideoPixels:
    """A decoded picture of a stream, converted when it is asked for.

    Args:
        picture: as decoded.
        converter: of its connection.
        pixel_aspect: see `square_size`.
        on_convert: told how long a conversion to RGB took, seconds.
    """

    def __init__(
        self,
        picture: av.VideoFrame,
        converter: RgbConverter,
        pixel_aspect: Fraction | float | None = None,
        on_convert: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self.picture = picture
        self._converter = converter
        self.pixel_aspect = pixel_aspect
        self._on_convert = on_convert
        self._lock = threading.Lock()
        self._rgb: Image | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the RGB picture."""
        return self._converter.size(self.picture, self.pixel_aspect)

    def rgb(self) -> Image:
        """Return the picture as RGB uint8 [H, W, 3], read-only; it is converted once."""
        with self._lock:
            if self._rgb is None:
                began = time.perf_counter()
                self._rgb = self._converter.image(self.picture, self.pixel_aspect)
                self._on_convert(time.perf_counter() - began)
            return self._rgb

    def sampled(self, step: int) -> Image:
        """Return one pixel of `step` in each direction, RGB, not turned."""
        return self._converter.sampled(self.picture, step)

    def luma(self, width: int, height: int) -> NDArray[np.uint8]:
        """Return a small grey picture, uint8 [height, width], not turned."""
        return self._converter.luma(self.picture, width, height)

    def window(self, x1: int, y1: int, x2: int, y2: int) -> tuple[Image, tuple[int, int]]:
        """Return a part of the picture and where it begins; see `DetailPicture.window`.

        Only that part is converted, where the picture is stored as almost all streams are.
        """
        picture = self.picture
        width, height = self.size
        is_plain = (
            picture.format.name in ("yuv420p", "yuvj420p")
            and (width, height) == (picture.width, picture.height)
            and not _turns(picture)
        )
        # Colours are stored for two by two pixels.
        x1, y1 = max(0, x1) // 2 * 2, max(0, y1) // 2 * 2
        x2, y2 = min(width, x2) // 2 * 2, min(height, y2) // 2 * 2
        if x2 <= x1 or y2 <= y1:
            return np.zeros((0, 0, 3), np.uint8), (x1, y1)
        if not is_plain:
            return self.rgb()[y1:y2, x1:x2], (x1, y1)
        return self._converter.image(_part(picture, x1, y1, x2, y2)), (x1, y1)
