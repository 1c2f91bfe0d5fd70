"""Lost pictures of H.264, found in streams of a real encoder."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.bitstream import BitStreamFilterContext
from hypothesis import given
from hypothesis import strategies as st

from streamgate.sources.h264 import H264Reader
from tests.sources.clips import picture


def encode(path: Path, **parameters: str) -> list[bytes]:
    """Return 60 coded pictures with start codes."""
    joined = ":".join(f"{key}={value}" for key, value in parameters.items())
    with av.open(str(path), "w") as target:
        encoder = target.add_stream("libx264", rate=25, options={"x264-params": joined})
        assert isinstance(encoder, av.VideoStream)
        encoder.width, encoder.height, encoder.pix_fmt = 160, 96, "yuv420p"
        for number in range(60):
            frame = av.VideoFrame.from_ndarray(picture(number, 160, 96), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            target.mux(encoder.encode(frame))
        target.mux(encoder.encode(None))
    with av.open(str(path)) as source:
        video = source.streams.video[0]
        to_start_codes = BitStreamFilterContext("h264_mp4toannexb", video)
        packets = [p for q in source.demux(video) for p in to_start_codes.filter(q)]
        return [bytes(p) for p in packets if p.size]


def first_slice(packet: bytes) -> tuple[bool, bool]:
    """Return whether others refer to a coded picture, and whether it is a keyframe."""
    units = packet.split(b"\x00\x00\x01")[1:]
    header = next(unit[0] for unit in units if unit[0] & 31 in (1, 5))
    return bool(header >> 5 & 3), header & 31 == 5


STREAMS = {
    "baseline": {"keyint": "25", "bframes": "0", "cabac": "0"},
    "with reordering": {"keyint": "250", "bframes": "3", "b-pyramid": "normal"},
    "slices": {"keyint": "40", "bframes": "0", "slices": "3", "aud": "1"},
    "scaling lists": {"keyint": "25", "bframes": "2", "cqm": "jvt"},
    "interlaced": {"keyint": "25", "bframes": "0", "tff": "1"},
}


@pytest.mark.parametrize("parameters", STREAMS.values(), ids=STREAMS.keys())
def test_a_whole_stream_has_no_gap(tmp_path: Path, parameters: dict[str, str]) -> None:
    """Nothing is missing where nothing was lost, whatever the encoder's settings."""
    reader = H264Reader()
    assert not any(reader.read(data).has_gap for data in encode(tmp_path / "a.mp4", **parameters))


@pytest.mark.parametrize("parameters", STREAMS.values(), ids=STREAMS.keys())
def test_a_lost_reference_is_found_at_the_next_picture(
    tmp_path: Path, parameters: dict[str, str]
) -> None:
    """Each lost picture that others refer to is noticed, unless a keyframe comes next."""
    packets = encode(tmp_path / "a.mp4", **parameters)
    for lost in range(1, 24):
        reader = H264Reader()
        gaps = [reader.read(data).has_gap for i, data in enumerate(packets) if i != lost]
        is_reference, _ = first_slice(packets[lost])
        _, keyframe_follows = first_slice(packets[lost + 1])
        assert any(gaps) == (is_reference and not keyframe_follows)
        if any(gaps):
            # Pictures that nothing refers to may come between, and carry the number on as well.
            assert gaps.index(True) == lost


@pytest.mark.parametrize("parameters", STREAMS.values(), ids=STREAMS.keys())
def test_a_coded_picture_says_what_it_is(tmp_path: Path, parameters: dict[str, str]) -> None:
    """Keyframes, pictures that others refer to and the size are known before decoding."""
    reader = H264Reader()
    for data in encode(tmp_path / "a.mp4", **parameters):
        said = reader.read(data)
        assert (said.is_reference, said.is_keyframe) == first_slice(data)
        assert said.size == (160, 96)


def test_parameter_sets_that_came_once_are_remembered(tmp_path: Path) -> None:
    """A keyframe without its parameter sets is handed on with those that came before."""
    first, *_ = encode(tmp_path / "a.mp4", keyint="25", bframes="0")
    units = [b"\x00\x00\x01" + unit for unit in first.split(b"\x00\x00\x01")[1:]]
    slices = b"".join(unit for unit in units if unit[3] & 31 == 5)
    sets = b"".join(unit for unit in units if unit[3] & 31 in (7, 8))
    reader = H264Reader()
    assert not reader.read(slices).is_keyframe
    assert not reader.read(sets).is_keyframe
    said = reader.read(slices)
    assert said.is_keyframe
    assert {unit[0] & 31 for unit in said.data.split(b"\x00\x00\x01")[1:]} == {7, 8, 5}


def test_lengths_stand_in_the_place_of_start_codes(tmp_path: Path) -> None:
    """The coded pictures of an MP4 file say the same as those of a camera."""
    with_codes = encode(tmp_path / "a.mp4", keyint="25", bframes="3")
    with av.open(str(tmp_path / "a.mp4")) as source:
        video = source.streams.video[0]
        extradata = video.codec_context.extradata or b""
        packets = [bytes(packet) for packet in source.demux(video) if packet.size]
    lengths, codes = H264Reader(extradata), H264Reader()
    for short, long in zip(packets, with_codes, strict=True):
        one, other = lengths.read(short), codes.read(long)
        assert (one.is_keyframe, one.is_reference) == (other.is_keyframe, other.is_reference)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(noise: bytes) -> None:
    """What the network delivers is never trusted to be H.264."""
    for kind in (b"\x67", b"\x06", b"\x65"):
        H264Reader(noise).read(b"\x00\x00\x01\x67" + noise + b"\x00\x00\x01" + kind + noise)
        H264Reader(b"\x01\x02\x03\x04\xff" + noise).read(noise)
