"""Encoded frames to pictures, behind a gate that only a keyframe opens.

FFmpeg conceals what it cannot decode and says so in a flag of the picture, if at all; a picture
that was painted on a wrong one looks like a face with a smear. So the gate closes at every error,
every flag and every gap, and stays closed until a keyframe.
"""

from __future__ import annotations

import av
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from streamgate.sources.h264 import FrameNumbers
from streamgate.sources.webrtc.assembly import EncodedFrame
from streamgate.sources.webrtc.bitstream import H264Parameters, is_vp8_keyframe

__all__ = ["DamagedFrameError", "GatedDecoder"]

_DECODERS = {"H264": "h264", "VP8": "vp8"}
# 4096 × 4096: a sender that declares more is wrong or hostile, and the memory would be ours.
_MOST_PIXELS = 1 << 24


class DamagedFrameError(Exception):
    """A frame was damaged; the decoder waits for a keyframe now."""


class GatedDecoder:
    """Decodes one stream; used by one thread.

    Attributes:
        waiting: whether nothing can be decoded before a keyframe.
    """

    def __init__(self) -> None:
        self.waiting = True
        self._codec = ""
        self._context: VideoCodecContext | None = None
        self._parameters = H264Parameters()
        self._numbers = FrameNumbers()

    def decode(self, codec: str, frame: EncodedFrame) -> list[VideoFrame]:
        """Return the pictures of a frame; none while the gate is closed.

        Args:
            codec: H264 or VP8.

        Raises:
            DamagedFrameError: the frame, or a picture made of it, is damaged.
        """
        if codec != self._codec:
            self._codec, self._parameters = codec, H264Parameters()
            self._numbers = FrameNumbers()
            self._close()
        # A media server may pass on a stream that has lost pictures before it came there.
        if not frame.contiguous or (codec == "H264" and self._numbers.has_gap(frame.data)):
            self.waiting = True
        data = self._keyframe(frame.data)
        if data is None:
            if self.waiting:
                return []
            data = frame.data
        if self.waiting or self._context is None:
            self._context = _open(codec)
            self.waiting = False
        return self._decode(self._context, data, frame.timestamp)

    def _keyframe(self, data: bytes) -> bytes | None:
        if self._codec == "H264":
            return self._parameters.keyframe(data)
        return data if is_vp8_keyframe(data) else None

    def _decode(self, context: VideoCodecContext, data: bytes, timestamp: int) -> list[VideoFrame]:
        packet = av.Packet(data)
        packet.pts = timestamp
        try:
            pictures = context.decode(packet)
        except (av.FFmpegError, ValueError) as error:
            self._close()
            raise DamagedFrameError(f"{self._codec} frame cannot be decoded: {error}") from None
        if any(picture.is_corrupt for picture in pictures):
            self._close()
            raise DamagedFrameError(f"{self._codec} frame is damaged")
        return pictures

    def _close(self) -> None:
        self._context = None
        self.waiting = True


def _open(codec: str) -> VideoCodecContext:
    context = CodecContext.create(_DECODERS[codec], "r")
    assert isinstance(context, VideoCodecContext)
    # More threads would hand pictures out later: FFmpeg's frame threads keep one each.
    context.thread_count = 1
    context.options = {"max_pixels": str(_MOST_PIXELS)}
    return context
