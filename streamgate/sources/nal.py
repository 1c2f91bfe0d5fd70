"""NAL units of H.264 and H.265: the one walker over them, and a reader of their bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["START_CODE", "Bits", "CodedPicture", "length_bytes", "nal_units"]

START_CODE = b"\x00\x00\x01"


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """What a coded picture says about itself before it is decoded.

    Attributes:
        is_keyframe: whether decoding can begin with it and is sound at once.
        recovers: whether decoding can begin with it and is sound at it or later, as the decoder
            will tell: a recovery point, or a picture of which no part refers to another.
        is_reference: whether others may refer to it; what is none can be left out.
        has_gap: whether a picture that others refer to is missing before it.
        size: width and height in pixels, where it says them.
        data: its bytes, with the parameter sets that a fresh decoder needs.
    """

    data: bytes
    is_keyframe: bool = False
    recovers: bool = False
    is_reference: bool = True
    has_gap: bool = False
    size: tuple[int, int] | None = None


def nal_units(data: bytes, length_bytes: int = 0) -> Iterator[bytes]:
    """Yield the NAL units of a coded picture or of a stream's parameter sets.

    Args:
        data: with start codes, or with a length before each unit.
        length_bytes: how many bytes each length has; 0 means start codes.
    """
    if length_bytes:
        at = 0
        while at + length_bytes <= len(data):
            end = at + length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
            if unit := data[at + length_bytes : end]:
                yield unit
            at = end
        return
    at = data.find(START_CODE)
    while at >= 0:
        following = data.find(START_CODE, at + 3)
        if unit := data[at + 3 : following if following >= 0 else len(data)]:
            yield unit
        at = following


def length_bytes(extradata: bytes, at: int) -> int:
    """Return how long the lengths before a container's units are; 0 for start codes.

    Args:
        extradata: the stream's configuration record, if it is one.
        at: where the record holds the length, less one, in two bits.
    """
    if len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


class Bits:
    """Reads the bits of a NAL unit's payload; ValueError where it has no more."""

    def __init__(self, payload: bytes) -> None:
        # Three bytes 0, 0, 3 stand for 0, 0: the 3 keeps start codes out of the payload.
        data = payload.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def unsigned(self, bits: int) -> int:
        """Read a number of so many bits."""
        if bits > self._left:
            raise ValueError("the NAL unit is too short")
        self._left -= bits
        return self._value >> self._left & ((1 << bits) - 1)

    def golomb(self) -> int:
        """Read an unsigned Exp-Golomb code."""
        zeros = 0
        while self.unsigned(1) == 0:
            zeros += 1
        return (1 << zeros) - 1 + self.unsigned(zeros)

    def signed_golomb(self) -> int:
        """Read a signed Exp-Golomb code."""
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)
