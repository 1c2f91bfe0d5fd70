"""What coded pictures of H.264 say about themselves (ITU-T H.264, 7.3 and 7.4).

A decoder that misses a reference picture puts another in its place and calls the result sound, so
the numbers in the bitstream are read here: every reference picture counts `frame_num` on by one
(7.4.3). Damage within a picture is the decoder's to find.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamgate.sources.nal import START_CODE, Bits, CodedPicture, length_bytes, nal_units

__all__ = ["H264Reader"]

_SLICE, _IDR_SLICE, _SEI, _SPS, _PPS = 1, 5, 6, 7, 8
_SLICE_HEADER_BYTES = 32
_RECOVERY_POINT = 6
_INTRA_SLICES = (2, 4, 7, 9)
_PROFILES_WITH_CHROMA = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
_MACROBLOCK_PX = 16
_MOST_SETS = 32


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a sequence parameter set says."""

    number_bits: int
    gaps_allowed: bool
    separate_planes: bool
    size: tuple[int, int]


@dataclass(slots=True)
class _Found:
    """What was found in one coded picture so far."""

    kinds: set[int]
    begins: bool = True
    is_intra: bool = True
    is_reference: bool = False
    has_gap: bool = False
    recovers: bool = False


class H264Reader:
    """Reads the coded pictures of one stream; no bytes make it fail.

    Args:
        extradata: the parameter sets that the container holds, if any.
    """

    def __init__(self, extradata: bytes = b"") -> None:
        self._length_bytes = length_bytes(extradata, 4)
        self._sequences: dict[int, _Sequence] = {}
        self._sequence_of_picture_set: dict[int, int] = {}
        self._reference: int | None = None
        self._sets: dict[int, bytes] = {}
        self._size: tuple[int, int] | None = None
        if not self._length_bytes:
            self.read(extradata)

    def read(self, data: bytes) -> CodedPicture:
        """Return what a coded picture says.

        Parameter sets that came once are put before a picture that decoding can begin with.
        """
        found = _Found(set())
        for unit in nal_units(data, self._length_bytes):
            try:
                self._take(unit, found)
            except ValueError:
                # A damaged header is damage that the decoder finds.
                continue
            found.kinds.add(unit[0] & 31)
        has_slices = bool(found.kinds & {_SLICE, _IDR_SLICE})
        is_keyframe = _IDR_SLICE in found.kinds and _SLICE not in found.kinds and found.begins
        recovers = has_slices and found.begins and (found.recovers or found.is_intra)
        if not self._length_bytes and (is_keyframe or recovers):
            if not self._sets.keys() >= {_SPS, _PPS}:
                is_keyframe = recovers = False
            else:
                data = self._with_sets(data, found.kinds)
        return CodedPicture(
            data,
            is_keyframe=is_keyframe,
            recovers=recovers,
            is_reference=found.is_reference or not has_slices,
            has_gap=found.has_gap,
            size=self._size,
        )

    def _with_sets(self, data: bytes, kinds: set[int]) -> bytes:
        missing = (self._sets[kind] for kind in (_SPS, _PPS) if kind not in kinds)
        return b"".join(START_CODE + unit for unit in missing) + data

    def _take(self, unit: bytes, found: _Found) -> None:
        kind = unit[0] & 31
        if kind in (_SLICE, _IDR_SLICE):
            is_first = not found.kinds & {_SLICE, _IDR_SLICE}
            found.is_reference = found.is_reference or bool(unit[0] >> 5 & 3)
            self._read_slice(unit, found, is_first=is_first)
        elif kind == _SPS:
            self._sets[_SPS] = unit
            self._learn_sequence(Bits(unit[1:]))
        elif kind == _PPS:
            self._sets[_PPS] = unit
            bits = Bits(unit[1:_SLICE_HEADER_BYTES])
            picture_set = bits.golomb()
            if len(self._sequence_of_picture_set) < _MOST_SETS * 8:
                self._sequence_of_picture_set[picture_set] = bits.golomb()
        elif kind == _SEI:
            found.recovers = found.recovers or _has_recovery_point(unit)

    def _read_slice(self, unit: bytes, found: _Found, *, is_first: bool) -> None:
        bits = Bits(unit[1:_SLICE_HEADER_BYTES])
        first_macroblock = bits.golomb()
        slice_type = bits.golomb()
        found.is_intra = found.is_intra and slice_type in _INTRA_SLICES
        if not is_first:
            return
        # Slices before it were lost.
        found.begins = first_macroblock == 0
        sequence = self._sequences.get(self._sequence_of_picture_set.get(bits.golomb(), -1))
        if sequence is None:
            return
        self._size = sequence.size
        if sequence.separate_planes:
            bits.unsigned(2)
        number = bits.unsigned(sequence.number_bits)
        before, is_idr = self._reference, unit[0] & 31 == _IDR_SLICE
        if unit[0] >> 5 & 3:
            self._reference = number
        if before is not None and not is_idr and not sequence.gaps_allowed:
            found.has_gap = (number - before) % (1 << sequence.number_bits) > 1

    def _learn_sequence(self, bits: Bits) -> None:
        profile = bits.unsigned(8)
        bits.unsigned(16)  # constraints and level
        identifier = bits.golomb()
        separate_planes = profile in _PROFILES_WITH_CHROMA and _read_chroma(bits)
        number_bits = bits.golomb() + 4
        _skip_picture_order(bits)
        bits.golomb()  # max_num_ref_frames
        gaps_allowed = bool(bits.unsigned(1))
        width = _MACROBLOCK_PX * (bits.golomb() + 1)
        height = _MACROBLOCK_PX * (bits.golomb() + 1)
        if not bits.unsigned(1):  # frame_mbs_only_flag
            height *= 2
        if len(self._sequences) < _MOST_SETS or identifier in self._sequences:
            size = (width, height)
            self._sequences[identifier] = _Sequence(
                number_bits, gaps_allowed, separate_planes, size
            )


def _has_recovery_point(unit: bytes) -> bool:
    """Whether a unit of supplemental information (7.3.2.3) says that decoding may begin here."""
    data, at = unit.replace(b"\x00\x00\x03", b"\x00\x00"), 1
    while at + 2 <= len(data):
        kind = size = 0
        while at < len(data) and data[at] == 0xFF:
            kind, at = kind + 255, at + 1
        kind, at = kind + (data[at] if at < len(data) else 0), at + 1
        while at < len(data) and data[at] == 0xFF:
            size, at = size + 255, at + 1
        size, at = size + (data[at] if at < len(data) else 0), at + 1
        if kind == _RECOVERY_POINT and size:
            return True
        at += size
    return False


def _read_chroma(bits: Bits) -> bool:
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


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last


def _skip_picture_order(bits: Bits) -> None:
    match bits.golomb():
        case 0:
            bits.golomb()
        case 1:
            bits.unsigned(1)
            bits.golomb()
            bits.golomb()
            for _ in range(bits.golomb()):
                bits.golomb()
