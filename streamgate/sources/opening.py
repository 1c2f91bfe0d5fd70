"""Opening a video for one thread, and how its decoder must be set so that damage shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from streamgate.sources.decoder import TooManyPixelsError, pixel_limit

__all__ = ["NoVideoError", "Opening", "PixelAspect", "open_video"]

# FFmpeg's log callback takes Python's lock from FFmpeg's own threads and has deadlocked programs.
av.logging.set_level(None)


class NoVideoError(Exception):
    """A container without a stream of pictures."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is opened; made for each attempt, because the address may contain a password.

    Attributes:
        address: what FFmpeg opens.
        options: of the demuxer.
        container_format: where it cannot be told from the address.
        open_timeout_s, read_timeout_s: bounds on opening and on each read; None for local files.
        lossy: whether packets may be lost on the way (UDP).
        live: whether latency and damage matter more than speed.
        max_pixels: the largest picture for which memory is taken.
        acceleration: the device that decodes; None for the CPU.
    """

    address: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    container_format: str | None = None
    open_timeout_s: float | None = None
    read_timeout_s: float | None = None
    lossy: bool = False
    live: bool = True
    max_pixels: int = 7680 * 4320
    acceleration: HWAccel | None = None


@contextmanager
def open_video(opening: Opening) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video and its decoder; they are closed by the thread that opened them.

    Raises:
        av.FFmpegError: it cannot be opened; the message may hold the address.
        NoVideoError: it has no pictures.
        TooManyPixelsError: they are larger than is allowed.
    """
    container = av.open(
        opening.address,
        format=opening.container_format,
        # The second is the decoder's: FFmpeg decodes a picture or two while it opens.
        options={**opening.options, **pixel_limit(opening.max_pixels)},
        timeout=(opening.open_timeout_s, opening.read_timeout_s),
        hwaccel=opening.acceleration,
    )
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise NoVideoError
        codec = stream.codec_context
        if codec.width * codec.height > opening.max_pixels:
            raise TooManyPixelsError(codec.width, codec.height, opening.max_pixels)
        _set_decoder(stream, opening)
        yield container, stream


class PixelAspect:
    """The shape of a stream's pixels: the container's word, until the bitstream changes its own."""

    def __init__(self, stream: VideoStream) -> None:
        self._codec = stream.codec_context
        self._first = self._codec.sample_aspect_ratio
        self._container = stream.sample_aspect_ratio

    @property
    def now(self) -> Fraction | None:
        """Width of a pixel divided by its height; None where nothing says it."""
        coded = self._codec.sample_aspect_ratio
        return coded if coded and coded != self._first else self._container


def _set_decoder(stream: VideoStream, opening: Opening) -> None:
    codec = stream.codec_context
    codec.options = pixel_limit(opening.max_pixels)
    if not opening.live:
        codec.thread_type = "AUTO"
    elif codec.name == "h264":
        # FFmpeg leaves out its checks for missing slices when it decodes slices in parallel: a
        # picture with half of its data gone then comes out grey, green or smeared, and unmarked.
        codec.thread_count = 1
    elif codec.name == "hevc" and opening.lossy:
        # Otherwise a missing reference is replaced by some other picture, and nothing is marked.
        codec.options = {**codec.options, "err_detect": "explode"}
