"""Notices that a whole H.264 picture was lost on the way.

A decoder that misses a reference picture puts another in its place and calls the result sound, so
the numbers in the bitstream are read here: every reference picture counts `frame_num` on by one
(ITU-T H.264, 7.4.3). Damage within a picture is the decoder's to find.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["FrameNumbers"]

_SLICE, _IDR_SLICE, _SPS, _PPS = 1, 5, 7, 8
_SLICE_HEADER_BYTES = 32
_PROFILES_WITH_CHROMA = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}


class _Bits:
    """Reads the bits of a NAL unit's payload."""

    def __init__(self, payload: bytes) -> None:
        # Three bytes 0, 0, 3 stand for 0, 0: the 3 keeps start codes out of the payload.
        data = payload.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def unsigned(self, bits: int) -> int:
        if bits > self._left:
            raise ValueError("the NAL unit is too short")
        self._left -= bits
        return self._value >> self._left & ((1 << bits) - 1)

    def golomb(self) -> int:
        zeros = 0
        while self.unsigned(1) == 0:
            zeros += 1
        return (1 << zeros) - 1 + self.unsigned(zeros)

    def signed_golomb(self) -> int:
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a sequence parameter set says about `frame_num`."""

    number_bits: int
    gaps_allowed: bool
    separate_planes: bool


class FrameNumbers:
    """Follows `frame_num` through the packets of one stream."""

    def __init__(self) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._sequence_of_picture_set: dict[int, int] = {}
        self._reference: int | None = None

    def has_gap(self, packet: bytes) -> bool:
        """Return whether a reference picture is missing before this one.

        Args:
            packet: one coded picture with start codes, or the parameter sets of the stream.
        """
        for unit in filter(None, _units(packet)):
            kind = unit[0] & 31
            try:
                if kind == _SPS:
                    self._learn_sequence(_Bits(unit[1:]))
                elif kind == _PPS:
                    bits = _Bits(unit[1:_SLICE_HEADER_BYTES])
                    picture_set = bits.golomb()
                    self._sequence_of_picture_set[picture_set] = bits.golomb()
                elif kind in (_SLICE, _IDR_SLICE):
                    return self._is_after_gap(unit)
            except ValueError:
                # A damaged header is damage that the decoder finds.
                continue
        return False

    def _is_after_gap(self, unit: bytes) -> bool:
        bits = _Bits(unit[1:_SLICE_HEADER_BYTES])
        bits.golomb()  # first_mb_in_slice
        bits.golomb()  # slice_type
        sequence = self._sequences.get(self._sequence_of_picture_set.get(bits.golomb(), -1))
        if sequence is None:
            return False
        if sequence.separate_planes:
            bits.unsigned(2)
        number = bits.unsigned(sequence.number_bits)
        before, is_idr = self._reference, unit[0] & 31 == _IDR_SLICE
        if unit[0] >> 5 & 3:
            self._reference = number
        if before is None or is_idr or sequence.gaps_allowed:
            return False
        return (number - before) % (1 << sequence.number_bits) > 1

    def _learn_sequence(self, bits: _Bits) -> None:
        profile = bits.unsigned(8)
        bits.unsigned(16)  # constraints and level
        identifier = bits.golomb()
        separate_planes = profile in _PROFILES_WITH_CHROMA and _read_chroma(bits)
        number_bits = bits.golomb() + 4
        _skip_picture_order(bits)
        bits.golomb()  # max_num_ref_frames
        gaps_allowed = bool(bits.unsigned(1))
        self._sequences[identifier] = _Sequence(number_bits, gaps_allowed, separate_planes)


def _read_chroma(bits: _Bits) -> bool:
    """Read past the chroma format and the scaling lists; return separate_colour_plane_flag."""
    chroma_format = bits.golomb()
    separate_planes = chroma_format == 3 and bool(bits.unsigned(1))
    bits.golomb()  # bit_depth_luma
    bits.golomb()  # bit_depth_chroma
    bits.unsigned(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.unsigned(1):
        for index in range(12 if chroma_format == 3 else 8):
            if bits.unsigned(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return separate_planes


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last


def _skip_picture_order(bits: _Bits) -> None:
    match bits.golomb():
        case 0:
            bits.golomb()
        case 1:
            bits.unsigned(1)
            bits.golomb()
            bits.golomb()
            for _ in range(bits.golomb()):
                bits.golomb()


def _units(packet: bytes) -> Iterator[bytes]:
    """Yield the NAL units between start codes; of slices only as much as their header."""
    start = packet.find(b"\x00\x00\x01")
    while start >= 0 and start + 3 < len(packet):
        begin = start + 3
        if packet[begin] & 31 in (_SLICE, _IDR_SLICE):
            # Nothing that is wanted comes after the first slice.
            yield packet[begin : begin + _SLICE_HEADER_BYTES]
            return
        start = packet.find(b"\x00\x00\x01", begin)
        yield packet[begin : start if start >= 0 else len(packet)]
