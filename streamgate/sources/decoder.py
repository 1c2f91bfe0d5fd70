"""Coded pictures to decoded ones, behind the keyframe gate: for cameras, browsers and recordings.

FFmpeg conceals what it cannot decode and says so in a flag of the picture, if at all. So the gate
closes at every error, every flag and every gap. Where pictures are missing, or no keyframe ever
comes, the decoder is emptied and given nothing until a picture that it can begin with; from there
it withholds what it has not recovered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from streamgate.errors import StreamgateError
from streamgate.sources.keyframe_gate import KeyframeGate
from streamgate.sources.nal import CodedPicture
from streamgate.values.reasons import FrameDrop

__all__ = ["Decoded", "GatedDecoder", "TooManyPixelsError", "pixel_limit"]


def pixel_limit(max_pixels: int) -> dict[str, str]:
    """Return FFmpeg's option that keeps it from taking memory for larger pictures.

    It counts rows that are longer than the picture's, and so needs room.
    """
    return {"max_pixels": str(max_pixels + max_pixels // 8 + (1 << 17))}


class TooManyPixelsError(StreamgateError):
    """A picture is larger than is allowed; it was not decoded."""

    def __init__(self, width: int, height: int, most: int) -> None:
        super().__init__(
            f"its pictures are {width}×{height}, which is more than the {most} pixels of "
            "source.max_pixels"
        )


@dataclass(slots=True)
class Decoded:
    """What came of a coded picture.

    Attributes:
        pictures: that may be looked at, in the order of display.
        dropped: why decoded pictures may not.
        skipped: why the coded picture was not decoded; None where it was.
        error: the decoder's words where it failed.
    """

    pictures: list[VideoFrame] = field(default_factory=list)
    dropped: list[FrameDrop] = field(default_factory=list)
    skipped: FrameDrop | None = None
    error: str = ""


class GatedDecoder:
    """Decodes one stream; used by one thread.

    Args:
        context: a decoder that was not used yet.
        max_pixels: the largest picture that is decoded, width times height.
        knows_keyframes: whether coded pictures say that decoding can begin with them.
        watches_gaps: whether the numbers in H.264 are believed where they tell of a loss.
        began_at: monotonic seconds; from then on a keyframe is awaited.
        is_recording: nothing was lost on the way then. Containers call packets corrupt where two
            recordings were joined, and what is truly damaged the decoder finds.

    Attributes:
        losses: how often coded pictures were missing.
    """

    def __init__(  # noqa: PLR0913 # what the kinds of sources differ in
        self,
        context: VideoCodecContext,
        *,
        max_pixels: int,
        knows_keyframes: bool,
        watches_gaps: bool,
        began_at: float,
        is_recording: bool = False,
    ) -> None:
        context.copy_opaque = True
        self._context = context
        self._max_pixels = max_pixels
        self._watches_gaps = watches_gaps
        self._is_recording = is_recording
        self._knows_keyframes = knows_keyframes
        self._withholds = context.name == "h264"
        self._gate = KeyframeGate()
        self._gate.damaged(began_at)
        self._is_empty = True
        self._met_recovery = False
        self._has_keyframes = False
        self.losses = 0

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Width of a pixel divided by its height, as the bitstream says."""
        return self._context.sample_aspect_ratio

    @property
    def waiting(self) -> bool:
        """Whether nothing can be looked at before a keyframe."""
        return not self._gate.is_open

    def waited_s(self, now: float) -> float:
        """Return for how long a keyframe has been missing."""
        return self._gate.waited_s(now)

    def damaged(self, now: float) -> None:
        """Learn that pictures are missing before the next one."""
        self._gate.damaged(now)
        if not self._is_empty:
            self._context.flush_buffers()
        self._is_empty, self._met_recovery = True, False

    def decode(
        self, packet: Packet[Any], coded: CodedPicture, *, now: float, follows: bool = True
    ) -> Decoded:
        """Decode a coded picture; the pictures that come of it have its `opaque`.

        Args:
            packet: an empty one at the end hands out what is held back.
            coded: what it says about itself.
            now: monotonic seconds.
            follows: whether it follows the one before, as far as the network can tell.

        Raises:
            TooManyPixelsError: it is larger than is allowed.
        """
        if packet.size and coded.size is not None:
            # Sizes in a bitstream are rounded up to whole macroblocks.
            self._check_size(*coded.size, rounded_px=15)
        is_lost = (packet.is_corrupt and not self._is_recording) or (
            coded.has_gap and self._watches_gaps
        )
        self.losses += is_lost
        if is_lost or not follows:
            self.damaged(now)
        if self._is_empty and packet.size and not self._begin(coded):
            return Decoded(skipped=FrameDrop.WAITING_FOR_KEYFRAME)
        if coded.data and len(coded.data) != packet.size:
            packet = _with_data(packet, coded.data)
        try:
            pictures = self._context.decode(packet)
        except (av.FFmpegError, ValueError) as error:
            self._found_damage(now)
            text = getattr(error, "strerror", None) or type(error).__name__
            return Decoded(skipped=FrameDrop.CORRUPT, error=str(text))
        return self._sound(pictures, now)

    def _check_size(self, width: int, height: int, rounded_px: int = 0) -> None:
        if (width - rounded_px) * (height - rounded_px) > self._max_pixels:
            raise TooManyPixelsError(width, height, self._max_pixels)

    def _begin(self, coded: CodedPicture) -> bool:
        """Take up decoding where that can be; say whether it is."""
        if self._knows_keyframes and not coded.is_keyframe and not coded.recovers:
            return False
        self._is_empty = False
        self._met_recovery = self._withholds and coded.recovers
        return True

    def _found_damage(self, now: float) -> None:
        """Learn of damage from the decoder, which may hold a later keyframe by now."""
        if self._has_keyframes:
            self._gate.damaged(now)
        else:
            self.damaged(now)

    def _sound(self, pictures: list[VideoFrame], now: float) -> Decoded:
        decoded = Decoded()
        for picture in pictures:
            self._check_size(picture.width, picture.height)
            self._has_keyframes = self._has_keyframes or bool(picture.key_frame)
            drop = self._gate.verdict(
                is_keyframe=bool(picture.key_frame),
                is_corrupt=picture.is_corrupt,
                now=now,
                has_recovered=self._met_recovery,
            )
            if drop is None:
                decoded.pictures.append(picture)
                self._met_recovery = False
            else:
                decoded.dropped.append(drop)
        if FrameDrop.CORRUPT in decoded.dropped:
            self._found_damage(now)
        return decoded


def _with_data(packet: Packet[Any], data: bytes) -> Packet[Any]:
    changed: Packet[Any] = av.Packet(data)
    changed.pts, changed.dts = packet.pts, packet.dts
    changed.time_base, changed.opaque = packet.time_base, packet.opaque
    return changed
