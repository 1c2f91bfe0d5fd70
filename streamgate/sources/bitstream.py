"""What an encoded picture says about itself, for codecs whose decoders report too little.

A decoder that starts in the middle of a stream draws on a picture that it does not have, and that
of VP8 reports no error. A decoder that is late must know what it may skip. And the size of a
picture must be known before its decoder allocates memory.
"""

from __future__ import annotations

from typing import Protocol

from streamgate.sources.h264 import H264Reader
from streamgate.sources.nal import CodedPicture, length_bytes, nal_units

__all__ = ["HevcReader", "JpegReader", "PictureReader", "Vp8Reader", "reader_for"]

_HEVC_VCL, _HEVC_SUBLAYERS = 32, 16
_HEVC_RANDOM_ACCESS = range(16, 24)
_VP8_INTERFRAME_BIT = 0x01
_VP8_KEYFRAME_MARK = b"\x9d\x01\x2a"
_VP8_SIDE = 0x3FFF
_JPEG_STAND_ALONE = {0x01, *range(0xD0, 0xDA)}
_JPEG_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


class PictureReader(Protocol):
    """Reads the coded pictures of one stream, in order; no bytes make it fail."""

    def read(self, data: bytes) -> CodedPicture:
        """Return what a coded picture says about itself."""
        ...


class HevcReader:
    """Coded pictures of H.265 (ITU-T H.265, table 7-1)."""

    def __init__(self, extradata: bytes = b"") -> None:
        self._length_bytes = length_bytes(extradata, 21)

    def read(self, data: bytes) -> CodedPicture:
        """See `PictureReader.read`."""
        kinds = {unit[0] >> 1 & 63 for unit in nal_units(data, self._length_bytes)}
        coded = {kind for kind in kinds if kind < _HEVC_VCL}
        # Of the kinds below 16 the even ones are those that no other picture refers to.
        refers = any(kind >= _HEVC_SUBLAYERS or kind % 2 for kind in coded)
        is_keyframe = bool(coded) and all(kind in _HEVC_RANDOM_ACCESS for kind in coded)
        return CodedPicture(data, is_keyframe=is_keyframe, is_reference=refers or not coded)


class Vp8Reader:
    """Coded pictures of VP8 (RFC 6386, section 9.1)."""

    def read(self, data: bytes) -> CodedPicture:
        """See `PictureReader.read`."""
        if len(data) < 10 or data[0] & _VP8_INTERFRAME_BIT or data[3:6] != _VP8_KEYFRAME_MARK:
            return CodedPicture(data)
        width, height = (int.from_bytes(data[at : at + 2], "little") & _VP8_SIDE for at in (6, 8))
        return CodedPicture(data, is_keyframe=True, size=(width, height))


class JpegReader:
    """Pictures of Motion JPEG, each a keyframe (ITU-T T.81, B.2.2)."""

    def read(self, data: bytes) -> CodedPicture:
        """See `PictureReader.read`."""
        return CodedPicture(data, is_keyframe=True, is_reference=False, size=_jpeg_size(data))


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = data.find(b"\xff\xd8") + 2
    while 2 <= at <= len(data) - 9:
        if data[at] != 0xFF:
            return None
        kind = data[at + 1]
        if kind in _JPEG_FRAME:
            height, width = (int.from_bytes(data[i : i + 2], "big") for i in (at + 5, at + 7))
            return width, height
        stands_alone = kind in _JPEG_STAND_ALONE or kind == 0xFF
        at += 1 if kind == 0xFF else 2
        if not stands_alone:
            at += int.from_bytes(data[at : at + 2], "big")
    return None


def reader_for(codec: str, extradata: bytes = b"") -> PictureReader | None:
    """Return the reader for a codec, by FFmpeg's name; None where the decoder says enough."""
    match codec:
        case "h264":
            return H264Reader(extradata)
        case "hevc":
            return HevcReader(extradata)
        case "vp8":
            return Vp8Reader()
        case "mjpeg":
            return JpegReader()
    return None
