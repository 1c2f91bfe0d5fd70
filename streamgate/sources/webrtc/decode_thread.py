"""The thread that decodes, so that a slow picture does not hold up the network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import structlog
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from streamgate.ports import Clock
from streamgate.sources.bitstream import PictureReader, reader_for
from streamgate.sources.decode_queue import CodedPacket, DecodeQueue
from streamgate.sources.decoder import Decoded, GatedDecoder, pixel_limit
from streamgate.sources.keyframe_gate import Drop
from streamgate.sources.webrtc.assembly import EncodedFrame
from streamgate.telemetry.metrics import Metrics

__all__ = ["DecodeThread", "PictureTaker"]

log = structlog.get_logger(__name__)

_DECODERS = {"H264": "h264", "VP8": "vp8"}

PictureTaker = Callable[[VideoFrame, float, Fraction | None], None]
"""Called with each picture, the monotonic seconds of its capture and the shape of its pixels."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    captured_at: float


class DecodeThread:
    """Decodes what it is given, in order, and hands pictures out on its own thread.

    Frames that arrive faster than they are decoded are dropped; see `DecodeQueue`.

    Args:
        on_picture: called on the thread for each picture.
        max_pixels: the largest picture that is decoded.

    Attributes:
        last_picture_at: monotonic seconds at which the last picture was ready.
    """

    def __init__(
        self, on_picture: PictureTaker, metrics: Metrics, clock: Clock, *, max_pixels: int
    ) -> None:
        self._on_picture = on_picture
        self._metrics = metrics
        self._clock = clock
        self._max_pixels = max_pixels
        self.last_picture_at: float | None = None
        # Of the event loop: what coded pictures say.
        self._submitted = ""
        self._reader: PictureReader | None = None
        # Of the thread.
        self._codec = ""
        self._decoder: GatedDecoder | None = None
        self._queue = DecodeQueue(clock.monotonic, self._skipped)
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="webrtc-decoder", daemon=True)
        self._thread.start()

    @property
    def needs_keyframe(self) -> bool:
        """Whether a keyframe should be asked for."""
        return self._decoder is None or self._decoder.waiting

    def submit(self, codec: str, frame: EncodedFrame, *, captured_at: float) -> None:
        """Leave a frame; never waits.

        Args:
            codec: H264 or VP8.
        """
        if codec != self._submitted or self._reader is None:
            self._submitted, self._reader = codec, reader_for(_DECODERS[codec])
        assert self._reader is not None
        packet: av.Packet[Any] = av.Packet(frame.data)
        packet.pts = frame.timestamp
        # An object of its own: PyAV forgets one that two packets share with the first of them.
        packet.opaque = _Stamp(captured_at)
        coded = self._reader.read(frame.data)
        self._queue.put(CodedPacket(packet, coded, frame.arrived_at, frame.contiguous, codec))

    def stop(self) -> None:
        """Give up what waits; `ended` is resolved when the thread is done."""
        self._stopping = True
        self._queue.close(abort=True)

    async def join(self) -> None:
        """Stop the thread and wait for its end.

        Raises:
            Exception: what ended the thread before it was told to stop.
        """
        self.stop()
        await asyncio.shield(self.ended)

    def _skipped(self, packets: int) -> None:
        self._metrics.frames_dropped.labels(Drop.DECODER_BEHIND.value).inc(packets)

    def _run(self) -> None:
        error: Exception | None = None
        try:
            while (taken := self._queue.take()) is not None:
                self._decode(*taken)
        except Exception as failure:
            # It is re-raised where the thread is joined.
            error = failure
        self._loop.call_soon_threadsafe(_resolve, self.ended, error)

    def _decode(self, item: CodedPacket, follows: bool) -> None:
        began_at = self._clock.monotonic()
        decoder = self._decoder_for(item.codec, began_at)
        decoded = decoder.decode(item.packet, item.coded, now=began_at, follows=follows)
        self._count(item.codec, decoded)
        if decoded.pictures:
            self._metrics.stage_seconds.labels("decode").observe(self._clock.monotonic() - began_at)
        for picture in decoded.pictures:
            if self._stopping:
                return
            self.last_picture_at = self._clock.monotonic()
            stamp = picture.opaque
            at = stamp.captured_at if isinstance(stamp, _Stamp) else item.arrived_at
            self._on_picture(picture, at, decoder.pixel_aspect)

    def _decoder_for(self, codec: str, now: float) -> GatedDecoder:
        if self._decoder is None or codec != self._codec:
            context = CodecContext.create(_DECODERS[codec], "r")
            assert isinstance(context, VideoCodecContext)
            # More threads would hand pictures out later: FFmpeg's frame threads keep one each.
            context.thread_count = 1
            context.options = pixel_limit(self._max_pixels)
            self._codec = codec
            self._decoder = GatedDecoder(
                context,
                max_pixels=self._max_pixels,
                knows_keyframes=True,
                # A media server may pass on a stream that has lost pictures before it came there.
                watches_gaps=True,
                began_at=now,
            )
        return self._decoder

    def _count(self, codec: str, decoded: Decoded) -> None:
        dropped = [*decoded.dropped, *filter(None, [decoded.skipped])]
        for drop in dropped:
            self._metrics.frames_dropped.labels(drop.value).inc()
        if Drop.CORRUPT in dropped:
            self._metrics.webrtc_decode_errors.labels(codec).inc()
            log.warning("frame not decoded", codec=codec, error=decoded.error or "damaged")


def _resolve(ended: asyncio.Future[None], error: Exception | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
