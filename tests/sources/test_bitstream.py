"""What coded pictures say about themselves, in the streams of real encoders."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from hypothesis import given
from hypothesis import strategies as st

from streamgate.sources.bitstream import reader_for
from streamgate.sources.decoder import Decoded, GatedDecoder
from tests.sources.clips import number_in, picture

REFRESHED = "intra-refresh=1:keyint=20:bframes=0:scenecut=0:log-level=none"


def encoded(
    codec: str,
    count: int = 60,
    options: dict[str, str] | None = None,
    *,
    size: tuple[int, int] = (320, 240),
) -> list[bytes]:
    """Encode numbered pictures; the encoder may order them anew."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.bit_rate, context.options = 3_000_000, options or {}
    data: list[bytes] = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
        frame.pts = number
        data += [bytes(packet) for packet in context.encode(frame.reformat(format=context.pix_fmt))]
    return data + [bytes(packet) for packet in context.encode(None)]


def shown(name: str, pictures: list[bytes], *, missing_before: int | None = None) -> list[int]:
    """Decode a stream and return the numbers of the pictures that may be looked at."""
    context = av.CodecContext.create(name, "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    reader = reader_for(name)
    assert reader is not None
    decoder = GatedDecoder(
        context, max_pixels=1 << 20, knows_keyframes=True, watches_gaps=False, began_at=0.0
    )
    found: list[Decoded] = []
    for number, data in enumerate(pictures):
        follows = number != missing_before
        found.append(decoder.decode(av.Packet(data), reader.read(data), now=0.0, follows=follows))
    found.append(decoder.decode(av.Packet(), reader.read(b""), now=0.0))
    images = [
        np.asarray(p.to_ndarray(format="rgb24"), np.uint8) for each in found for p in each.pictures
    ]
    for image in images:
        assert abs(image.astype(int) - picture(number_in(image), 320, 240)).mean() < 14
    return [number_in(image) for image in images]


def test_a_refresh_without_keyframes_is_joined() -> None:
    """From a recovery point on the decoder recovers, and what it shows then is sound."""
    pictures = encoded("libx264", 90, {"x264-params": REFRESHED})
    numbers = shown("h264", pictures[7:])
    assert numbers[-1] == 89
    assert numbers == list(range(numbers[0], 90))
    assert numbers[0] < 7 + 2 * 20 + 2


def test_a_refresh_without_keyframes_goes_on_after_a_loss() -> None:
    """After missing pictures nothing is shown until the picture has been refreshed."""
    pictures = encoded("libx264", 120, {"x264-params": REFRESHED})
    numbers = shown("h264", pictures[:30] + pictures[35:], missing_before=30)
    after = [number for number in numbers if number >= 30]
    assert numbers[:30] == list(range(30))
    assert after == list(range(after[0], 120))
    assert 35 + 15 < after[0] < 35 + 2 * 20 + 2


@pytest.mark.parametrize(
    ("codec", "name", "options"),
    [
        ("libx264", "h264", {"x264-params": "open-gop=1:keyint=20:bframes=2:log-level=none"}),
        ("libx265", "hevc", {"x265-params": "open-gop=1:keyint=20:bframes=2:log-level=none"}),
    ],
)
def test_open_groups_are_joined_at_their_first_picture(
    codec: str, name: str, options: dict[str, str]
) -> None:
    """A clean random access point is a keyframe; what leads up to it is left out."""
    numbers = shown(name, encoded(codec, 90, options)[7:])
    assert numbers == list(range(numbers[0], 90))
    assert numbers[0] <= 40


@pytest.mark.parametrize(
    ("codec", "name", "options", "least"),
    [
        ("libx264", "h264", {"x264-params": "bframes=2:b-pyramid=none:b-adapt=0"}, 30),
        ("libx265", "hevc", {"x265-params": "bframes=2:b-pyramid=0:b-adapt=0:log-level=none"}, 30),
    ],
)
def test_pictures_that_no_other_refers_to_can_be_left_out(
    codec: str, name: str, options: dict[str, str], least: int
) -> None:
    """Without them the rest decodes as it does with them."""
    pictures = encoded(codec, 60, options)
    reader = reader_for(name)
    assert reader is not None
    kept = [data for data in pictures if reader.read(data).is_reference]
    assert len(pictures) - len(kept) >= least
    assert len(shown(name, kept)) == len(kept)


@pytest.mark.parametrize(
    ("codec", "name"), [("libx264", "h264"), ("libvpx", "vp8"), ("mjpeg", "mjpeg")]
)
def test_the_size_is_known_before_decoding(codec: str, name: str) -> None:
    """It stands in the headers."""
    reader = reader_for(name)
    assert reader is not None
    said = reader.read(encoded(codec, 1, size=(640, 352))[0])
    assert (said.size, said.is_keyframe) == ((640, 352), True)


@pytest.mark.parametrize("name", ["h264", "hevc", "vp8", "mjpeg"])
@given(noise=st.binary(max_size=200), head=st.sampled_from([b"", b"\x00\x00\x01", b"\xff\xd8"]))
def test_no_bytes_make_a_reader_fail(name: str, noise: bytes, head: bytes) -> None:
    """What the network delivers is never trusted to be video."""
    for extradata in (b"", noise):
        reader = reader_for(name, extradata)
        assert reader is not None
        reader.read(head + noise)


def test_other_codecs_have_no_reader() -> None:
    """Their decoders say enough."""
    assert reader_for("av1") is None
