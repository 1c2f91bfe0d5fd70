"""From a decoded picture to RGB, upright, and whether it still moves.

Matrix (BT.601, BT.709, BT.2020) and range (limited or full) follow the stream's own tags; an
untagged stream is taken for BT.601 limited, as FFmpeg and OpenCV do, so that a face looks here as
it does to the recogniser that comes after.
"""

from __future__ import annotations

import zlib

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from streamgate.values import Image

__all__ = ["FrozenPicture", "RgbConverter"]

_GRID_PX = 8
_QUARTER_TURN_DEG = 90


class RgbConverter:
    """Converts the pictures of one connection; it keeps the scaler between them."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def image(self, picture: av.VideoFrame) -> Image:
        """Return RGB uint8 [H, W, 3], read-only, turned as the stream's display matrix says."""
        # One thread: the scaler would start one for each core, and detection needs the cores.
        rgb = self._reformatter.reformat(picture, format="rgb24", threads=1)
        image = np.asarray(rgb.to_ndarray(), np.uint8)
        turns = round(picture.rotation / _QUARTER_TURN_DEG) % 4
        if turns:
            image = np.ascontiguousarray(np.rot90(image, turns))
        image.flags.writeable = False
        return image


class FrozenPicture:
    """Notices a camera that sends the same picture over and over.

    Sensor noise changes some pixel of a live picture within a keyframe's distance.
    """

    def __init__(self) -> None:
        self._digest: int | None = None
        self._changed_at = 0.0

    def unchanged_s(self, image: Image, at: float) -> float:
        """Return for how many seconds the picture has been the very same."""
        digest = zlib.crc32(image[::_GRID_PX, ::_GRID_PX].tobytes())
        if digest != self._digest:
            self._digest, self._changed_at = digest, at
        return at - self._changed_at
