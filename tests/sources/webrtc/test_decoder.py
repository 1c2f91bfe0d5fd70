"""The gate before the decoder, with real encoders and decoders."""

from __future__ import annotations

import asyncio

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgate.sources.webrtc.bitstream import H264Parameters, is_vp8_keyframe
from streamgate.sources.webrtc.decode_thread import DecodeThread
from streamgate.sources.webrtc.decoder import DamagedFrameError, GatedDecoder
from streamgate.telemetry.metrics import Metrics
from tests.sources.clips import number_in
from tests.sources.viewer import SystemClock, until, value
from tests.sources.webrtc.encoders import Codec, encoded, frame

CODECS: tuple[Codec, ...] = ("H264", "VP8")
_KIND, _IDR = 0x1F, 5


def numbers(pictures: list[av.VideoFrame]) -> list[int]:
    images = [np.asarray(picture.to_ndarray(format="rgb24"), np.uint8) for picture in pictures]
    return [number_in(image) for image in images]


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_passes_before_a_keyframe(codec: Codec) -> None:
    """A stream that is joined in the middle waits for its next keyframe, then runs."""
    decoder = GatedDecoder()
    seen = []
    for number, data in enumerate(encoded(codec, 20, every=10)):
        if number >= 4:
            seen += numbers(decoder.decode(codec, frame(data, number)))
    assert seen == list(range(10, 20))


@pytest.mark.parametrize("codec", CODECS)
def test_a_gap_closes_the_gate_until_a_keyframe(codec: Codec) -> None:
    """After a frame that was given up, only a keyframe is decoded."""
    decoder = GatedDecoder()
    seen = []
    for number, data in enumerate(encoded(codec, 20, every=10)):
        if number != 5:
            pictures = decoder.decode(codec, frame(data, number, contiguous=number != 6))
            seen += numbers(pictures)
            assert decoder.waiting == (6 <= number < 10)
    assert seen == [0, 1, 2, 3, 4, *range(10, 20)]


@pytest.mark.parametrize("codec", CODECS)
def test_the_size_may_change_at_a_keyframe(codec: Codec) -> None:
    """A sender that changes its resolution goes on without a loss."""
    decoder = GatedDecoder()
    small, large = encoded(codec, 5), encoded(codec, 5, size=(640, 360))
    pictures = [
        picture
        for number, data in enumerate([*small, *large, *small])
        for picture in decoder.decode(codec, frame(data, number))
    ]
    assert [picture.width for picture in pictures] == [320] * 5 + [640] * 5 + [320] * 5


def test_the_codec_may_change() -> None:
    """Another codec begins with its own decoder and its own keyframe."""
    decoder = GatedDecoder()
    seen = []
    for codec in CODECS:
        for number, data in enumerate(encoded(codec, 3)):
            seen += numbers(decoder.decode(codec, frame(data, number)))
    assert seen == [0, 1, 2, 0, 1, 2]


def test_an_h264_error_is_noticed_and_closes_the_gate() -> None:
    """What FFmpeg conceals or refuses is an error here, and nothing passes before a keyframe."""
    decoder, errors, seen = GatedDecoder(), 0, []
    for number, data in enumerate(encoded("H264", 20, every=10)):
        broken = data[: len(data) // 3] if number == 4 else data
        try:
            seen += numbers(decoder.decode("H264", frame(broken, number)))
        except DamagedFrameError:
            errors += 1
            assert decoder.waiting
    assert errors == 1
    assert seen == [0, 1, 2, 3, *range(10, 20)]


def test_a_reference_that_the_server_has_lost_is_noticed() -> None:
    """Where a media server passes on a stream with a hole, frame numbers tell, not RTP's."""
    decoder, seen = GatedDecoder(), []
    for number, data in enumerate(encoded("H264", 20, every=10)):
        if number != 4:
            seen += numbers(decoder.decode("H264", frame(data, number)))
    assert seen == [0, 1, 2, 3, *range(10, 20)]


def test_parameter_sets_that_came_once_are_remembered() -> None:
    """A keyframe without its parameter sets is decoded with those that came before."""
    first, *_ = encoded("H264", 1)
    units = [b"\x00\x00\x01" + unit for unit in first.split(b"\x00\x00\x01")[1:]]
    kinds = [unit[3] & _KIND for unit in units]
    parameters = b"".join(units[: kinds.index(_IDR)])
    slices = b"".join(units[kinds.index(_IDR) :])
    fresh = H264Parameters()
    assert fresh.keyframe(slices) is None
    assert fresh.keyframe(parameters) is None
    whole = fresh.keyframe(slices)
    assert whole is not None
    assert numbers(GatedDecoder().decode("H264", frame(whole))) == [0]


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_an_error_or_nothing(codec: Codec, data: bytes) -> None:
    """A hostile sender gets no picture through and raises nothing else."""
    decoder = GatedDecoder()
    is_vp8_keyframe(data)
    try:
        assert decoder.decode(codec, frame(data)) == []
    except DamagedFrameError:
        assert decoder.waiting


async def test_the_thread_gives_up_what_it_cannot_keep_up_with() -> None:
    """Frames that come too fast are dropped together, counted, up to the next keyframe."""
    metrics, seen, hold = Metrics(), [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def read(picture: av.VideoFrame, captured_at: float) -> None:
        seen.extend(numbers([picture]))
        asyncio.run_coroutine_threadsafe(hold.wait(), loop).result(10)

    thread = DecodeThread(read, metrics, SystemClock())
    for number, data in enumerate(encoded("VP8", 60, every=50)):
        thread.submit("VP8", frame(data, number), captured_at=float(number))
    await until(lambda: len(seen) == 1)
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

    def read(picture: av.VideoFrame, captured_at: float) -> None:
        raise ZeroDivisionError

    thread = DecodeThread(read, Metrics(), SystemClock())
    thread.submit("VP8", frame(encoded("VP8", 1)[0]), captured_at=0.0)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(asyncio.shield(thread.ended), 10)
    with pytest.raises(ZeroDivisionError):
        await thread.join()
