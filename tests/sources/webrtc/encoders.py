"""Encoded pictures as they come out of RTP, from the encoders inside PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import av
from av.video.codeccontext import VideoCodecContext

from streamgate.sources.webrtc.assembly import EncodedFrame
from tests.sources.clips import picture

__all__ = ["Codec", "encoded", "frame"]

Codec = Literal["H264", "VP8"]
_ENCODERS = {"H264": "libx264", "VP8": "libvpx"}
_OPTIONS = {
    "H264": {"preset": "ultrafast", "tune": "zerolatency", "crf": "18"},
    "VP8": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "10"},
}


def encoded(
    codec: Codec, count: int, *, size: tuple[int, int] = (320, 240), every: int = 1000
) -> list[bytes]:
    """Encode numbered pictures, a keyframe at the start and then at each `every`th."""
    context = av.CodecContext.create(_ENCODERS[codec], "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
    context.bit_rate, context.gop_size, context.max_b_frames = 2_000_000, every, 0
    context.options = _OPTIONS[codec]
    data: list[bytes] = []
    for number in range(count):
        image = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
        image.pts = number
        data += [bytes(packet) for packet in context.encode(image)]
    data += [bytes(packet) for packet in context.encode(None)]
    assert len(data) == count
    return data


def frame(data: bytes, number: int = 0, *, contiguous: bool = True) -> EncodedFrame:
    """Wrap a picture as the assembler hands it out."""
    return EncodedFrame(data, 3600 * number, contiguous, 0.0)
