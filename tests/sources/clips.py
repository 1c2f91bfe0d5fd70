"""Moving pictures for the tests, made by the encoders inside PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamgate.values import Image

__all__ = ["damaged", "make_clip", "number_in", "picture"]

_BITS = 10
_BLOCK_PX = 16


def picture(number: int, width: int = 640, height: int = 360) -> Image:
    """Draw a moving scene whose lowest rows hold its number as black and white blocks."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = (x + 3 * number) % 256
    image[..., 1] = (y + 2 * number) % 256
    image[..., 2] = (x + y) // 4 % 256
    left = 7 * number % (width - 64)
    image[height // 3 : height // 3 + 64, left : left + 64] = (230, 60, 40)
    for bit in range(_BITS):
        block = image[-_BLOCK_PX:, bit * _BLOCK_PX : (bit + 1) * _BLOCK_PX]
        block[:] = 255 if number >> bit & 1 else 0
    return image


def number_in(image: Image) -> int:
    """Read the number that `picture` drew."""
    rows = image[-_BLOCK_PX + 4 : -4].mean(axis=(0, 2))
    levels = [rows[bit * _BLOCK_PX + 4 : (bit + 1) * _BLOCK_PX - 4].mean() for bit in range(_BITS)]
    return sum(1 << bit for bit, level in enumerate(levels) if level > 127)


def make_clip(
    path: Path,
    *,
    count: int = 50,
    rate: int = 25,
    size: tuple[int, int] = (640, 360),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """Encode `count` pictures, a keyframe every 25, without reordering."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {"crf": "18"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 25
        stream.codec_context.max_b_frames = 0
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def damaged(clip: Path, into: Path, packet: int) -> Path:
    """Copy a clip, overwriting the middle of one packet."""
    with av.open(str(clip)) as source, av.open(str(into), "w") as target:
        video = source.streams.video[0]
        copy = target.add_stream_from_template(video)
        for number, original in enumerate(_coded(source.demux(video))):
            data = bytearray(bytes(original))
            if number == packet:
                middle = len(data) // 2
                noise: NDArray[np.uint8] = np.random.default_rng(7).integers(
                    1, 255, 200, dtype=np.uint8
                )
                data[middle : middle + 200] = noise.tobytes()[: len(data) - middle]
            changed = av.Packet(bytes(data))
            changed.pts, changed.dts = original.pts, original.dts
            changed.time_base, changed.stream = original.time_base, copy
            changed.is_keyframe = original.is_keyframe
            target.mux(changed)
    return into


def _coded(packets: Iterator[av.Packet[VideoStream]]) -> Iterator[av.Packet[VideoStream]]:
    return (packet for packet in packets if packet.size)
