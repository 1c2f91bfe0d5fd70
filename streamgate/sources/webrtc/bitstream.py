"""What an encoded frame says about itself: whether decoding can begin with it.

A decoder that begins elsewhere paints on a picture that it does not have, and VP8's does so without
a word.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["H264Parameters", "is_vp8_keyframe"]

_START_CODE = b"\x00\x00\x01"
_SLICE, _IDR_SLICE, _SEQUENCE_PARAMETERS, _PICTURE_PARAMETERS = 1, 5, 7, 8
# The first bit of a slice's header is 1 exactly where its first macroblock is number 0.
_FIRST_MACROBLOCK = 0x80
_VP8_INTERFRAME_BIT = 0x01
_VP8_KEYFRAME_MARK = b"\x9d\x01\x2a"


def is_vp8_keyframe(data: bytes) -> bool:
    """Tell whether this is the beginning of a VP8 keyframe (RFC 6386, section 9.1)."""
    return len(data) >= 10 and not data[0] & _VP8_INTERFRAME_BIT and data[3:6] == _VP8_KEYFRAME_MARK


def _units(data: bytes) -> Iterator[bytes]:
    """Yield the NAL units of an Annex B byte stream, without their start codes."""
    at = data.find(_START_CODE)
    while at >= 0:
        following = data.find(_START_CODE, at + 3)
        yield data[at + 3 : following if following >= 0 else len(data)]
        at = following


class H264Parameters:
    """Remembers a stream's parameter sets, which a sender may send once and never again."""

    def __init__(self) -> None:
        self._sequence = b""
        self._picture = b""

    def keyframe(self, data: bytes) -> bytes | None:
        """Return a frame that a fresh decoder can begin with, or None where this is no keyframe.

        Missing parameter sets are put before it where they are known.
        """
        kinds = set()
        for unit in _units(data):
            if len(unit) < 2:
                continue
            kind = unit[0] & 0x1F
            if kind == _SEQUENCE_PARAMETERS:
                self._sequence = unit
            elif kind == _PICTURE_PARAMETERS:
                self._picture = unit
            elif kind == _SLICE:
                return None
            elif kind == _IDR_SLICE and kind not in kinds and not unit[1] & _FIRST_MACROBLOCK:
                # The slices before it were lost.
                return None
            kinds.add(kind)
        if _IDR_SLICE not in kinds or not self._sequence or not self._picture:
            return None
        if {_SEQUENCE_PARAMETERS, _PICTURE_PARAMETERS} <= kinds:
            return data
        return _START_CODE + self._sequence + _START_CODE + self._picture + data
