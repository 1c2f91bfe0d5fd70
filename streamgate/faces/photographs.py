"""Photographs from untrusted files: their headers are checked before they are decoded.

A few kilobytes can unpack to gigabytes of pixels, so the size in the header is compared with a
limit before memory is allocated.
"""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Headers

from streamgate.errors import DataError
from streamgate.values import Image

__all__ = ["MAX_FILE_BYTES", "MAX_PIXELS", "decode_photograph", "read_photograph"]

MAX_PIXELS = 128_000_000
"""Medium format cameras have 102 million; decoding takes 6 bytes a pixel for a moment."""
MAX_FILE_BYTES = 1 << 29
"""More than MAX_PIXELS of three bytes, which is an uncompressed picture."""
# What Pillow's readers of headers raise on damaged files, besides its own.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)


def read_photograph(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a picture file as RGB uint8 [H, W, 3], turned upright as its EXIF says.

    Args:
        path: the file; any bytes may be its name.
        max_pixels: with more, it is not decoded.

    Raises:
        DataError: it cannot be read, is no picture or is too large; the message says which, without
            the path.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DataError(error.strerror or "cannot be read") from None
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f"it has more than {MAX_FILE_BYTES:,} bytes")
    return decode_photograph(content, max_pixels=max_pixels)


def decode_photograph(content: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode a picture file's bytes; see `read_photograph`."""
    width, height = _size(content)
    if width * height > max_pixels:
        raise DataError(_too_large(f"{width}×{height} pixels", max_pixels))
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError):
        bgr = None
    if bgr is None:
        raise DataError("it is no picture that can be decoded")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), dtype=np.uint8)


def _size(content: bytes) -> tuple[int, int]:
    """Return width and height from the header."""
    try:
        # Pillow warns of sizes that are judged here.
        with warnings.catch_warnings(action="ignore"), Headers.open(io.BytesIO(content)) as header:
            return header.size
    except Headers.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        claimed = f"{int(pixels[0]):,} pixels" if pixels else "too many pixels"
        raise DataError(_too_large(claimed, MAX_PIXELS)) from None
    except _DAMAGE:
        raise DataError("it is no picture that can be decoded") from None


def _too_large(claimed: str, limit: int) -> str:
    return f"it has {claimed}, and at most {limit:,} are read"
