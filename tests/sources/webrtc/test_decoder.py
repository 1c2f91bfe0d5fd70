"""The gate before the decoder, with real encoders and decoders."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgate.sources.bitstream import reader_for
from streamgate.sources.decoder import Decoded, GatedDecoder, TooManyPixelsError, pixel_limit
from streamgate.sources.webrtc.decode_thread import DecodeThread
from streamgate.telemetry.metrics import Metrics
from streamgate.values.reasons import FrameDrop
from tests.sources.clips import number_in
from tests.sources.viewer import until, value
from tests.sources.webrtc.encoders import Codec, encoded, frame

CODECS: tuple[Codec, ...] = ("H264", "VP8")
_NAMES = {"H264": "h264", "VP8": "vp8"}
MOST_PIXELS = 1 << 20


class Decoding:
    """A decoder and the reader before it, as a source joins them."""

    def __init__(self, codec: Codec) -> None:
        context = av.CodecContext.create(_NAMES[codec], "r")
        assert isinstance(context, VideoCodecContext)
        context.thread_count = 1
        context.options = pixel_limit(MOST_PIXELS)
        reader = reader_for(_NAMES[codec])
        assert reader is not None
        self._reader = reader
        self.decoder = GatedDecoder(
            context, max_pixels=MOST_PIXELS, knows_keyframes=True, watches_gaps=True, began_at=0.0
        )

    @property
    def waiting(self) -> bool:
        return self.decoder.waiting

    def decode(self, data: bytes, *, contiguous: bool = True) -> Decoded:
        coded = self._reader.read(data)
        return self.decoder.decode(av.Packet(data), coded, now=0.0, follows=contiguous)

    def numbers(self, data: bytes, *, contiguous: bool = True) -> list[int]:
        return numbers(self.decode(data, contiguous=contiguous).pictures)


class StillClock:
    """A clock that is set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def numbers(pictures: list[av.VideoFrame]) -> list[int]:
    images = [np.asarray(picture.to_ndarray(format="rgb24"), np.uint8) for picture in pictures]
    return [number_in(image) for image in images]


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_passes_before_a_keyframe(codec: Codec) -> None:
    """A stream that is joined in the middle waits for its next keyframe, then runs."""
    decoding, seen = Decoding(codec), []
    for number, data in enumerate(encoded(codec, 20, every=10)):
        if number >= 4:
            seen += decoding.numbers(data)
    assert seen == list(range(10, 20))


@pytest.mark.parametrize("codec", CODECS)
def test_a_gap_closes_the_gate_until_a_keyframe(codec: Codec) -> None:
    """After a frame that was given up, only a keyframe is decoded."""
    decoding, seen = Decoding(codec), []
    for number, data in enumerate(encoded(codec, 20, every=10)):
        if number != 5:
            seen += decoding.numbers(data, contiguous=number != 6)
            assert decoding.waiting == (6 <= number < 10)
    assert seen == [0, 1, 2, 3, 4, *range(10, 20)]


@pytest.mark.parametrize("codec", CODECS)
def test_the_size_may_change_at_a_keyframe(codec: Codec) -> None:
    """A sender that changes its resolution goes on without a loss."""
    decoding = Decoding(codec)
    small, large = encoded(codec, 5), encoded(codec, 5, size=(640, 360))
    pictures = [p for data in [*small, *large, *small] for p in decoding.decode(data).pictures]
    assert [picture.width for picture in pictures] == [320] * 5 + [640] * 5 + [320] * 5


@pytest.mark.parametrize("codec", CODECS)
def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(codec: Codec) -> None:
    """Its size stands in the bitstream, and is told with the setting."""
    decoding = Decoding(codec)
    decoding.decode(encoded(codec, 1)[0])
    with pytest.raises(TooManyPixelsError, match=r"1[78]\d\d×1\d\d\d.*source\.max_pixels"):
        decoding.decode(encoded(codec, 1, size=(1760, 1088))[0])


def test_an_h264_error_is_noticed_and_closes_the_gate() -> None:
    """What FFmpeg conceals or refuses is an error here, and nothing passes before a keyframe."""
    decoding, drops, seen = Decoding("H264"), [], []
    for number, data in enumerate(encoded("H264", 20, every=10)):
        decoded = decoding.decode(data[: len(data) // 3] if number == 4 else data)
        seen += numbers(decoded.pictures)
        drops += [decoded.skipped, *decoded.dropped]
        assert decoding.waiting == (4 <= number < 10)
    assert drops.count(FrameDrop.CORRUPT) == 1
    assert seen == [0, 1, 2, 3, *range(10, 20)]


def test_a_reference_that_the_server_has_lost_is_noticed() -> None:
    """Where a media server passes on a stream with a hole, frame numbers tell, not RTP's."""
    decoding, seen = Decoding("H264"), []
    for number, data in enumerate(encoded("H264", 20, every=10)):
        if number != 4:
            seen += decoding.numbers(data)
    assert seen == [0, 1, 2, 3, *range(10, 20)]
    assert decoding.decoder.losses == 1


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_give_nothing(codec: Codec, data: bytes) -> None:
    """A hostile sender gets no picture through, and does not stop the decoder."""
    decoding = Decoding(codec)
    assert decoding.decode(data).pictures == []
    assert decoding.waiting


async def test_the_codec_may_change() -> None:
    """Another codec begins with its own decoder and its own keyframe."""
    seen: list[int] = []
    thread = DecodeThread(
        lambda picture, *_: seen.extend(numbers([picture])),
        Metrics(),
        StillClock(),
        max_pixels=MOST_PIXELS,
    )
    for codec in CODECS:
        for number, data in enumerate(encoded(codec, 3)):
            thread.submit(codec, frame(data, number), captured_at=0.0)
    await until(lambda: len(seen) == 6)
    await thread.join()
    assert seen == [0, 1, 2, 0, 1, 2]


async def test_pictures_that_are_too_large_end_the_thread() -> None:
    """Its owner is told the size and the setting."""
    thread = DecodeThread(lambda *_: None, Metrics(), StillClock(), max_pixels=320 * 200)
    thread.submit("VP8", frame(encoded("VP8", 1)[0]), captured_at=0.0)
    with pytest.raises(TooManyPixelsError, match="320×240"):
        await asyncio.wait_for(asyncio.shield(thread.ended), 10)
    with pytest.raises(TooManyPixelsError):
        await thread.join()


async def test_the_thread_gives_up_what_it_cannot_keep_up_with() -> None:
    """Frames that come too fast are dropped together, counted, up to the next keyframe."""
    metrics, seen, hold = Metrics(), [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def read(picture: av.VideoFrame, captured_at: float, aspect: object) -> None:
        seen.extend(numbers([picture]))
        asyncio.run_coroutine_threadsafe(hold.wait(), loop).result(10)

    clock = StillClock()
    thread = DecodeThread(read, metrics, clock, max_pixels=MOST_PIXELS)
    for number, data in enumerate(encoded("VP8", 60, every=50)):
        arrived = replace(frame(data, number), arrived_at=0.04 * number)
        thread.submit("VP8", arrived, captured_at=float(number))
    await until(lambda: len(seen) == 1)
    clock.now = 2.4
    hold.set()
    await until(lambda: bool(seen) and seen[-1] == 59)
    await thread.join()
    dropped = value(metrics, "frames_dropped_total", reason="decoder_behind")
    waited = value(metrics, "frames_dropped_total", reason="waiting_for_keyframe")
    assert dropped >= 16
    assert dropped + waited + len(seen) == 60
    # libvpx takes the first picture after the distance for its keyframe.
    assert seen[1:] == list(range(seen[1], 60))
    assert seen[1] >= 50


async def test_what_a_reader_raises_is_raised_where_the_thread_is_joined() -> None:
    """An error that nobody foresaw is not swallowed."""

    def read(picture: av.VideoFrame, captured_at: float, aspect: object) -> None:
        raise ZeroDivisionError

    thread = DecodeThread(read, Metrics(), StillClock(), max_pixels=MOST_PIXELS)
    thread.submit("VP8", frame(encoded("VP8", 1)[0]), captured_at=0.0)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(asyncio.shield(thread.ended), 10)
    with pytest.raises(ZeroDivisionError):
        await thread.join()
