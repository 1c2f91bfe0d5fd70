"""One connection to a live source, from its first packet until it is lost.

One thread reads, the other decodes. What had gathered while the stream was probed, a second or so
of it, is read before anything is decoded: only once packets come no faster than the camera makes
them can be told how old each is. Pictures of that backlog are decoded, because later ones depend
on them, but not analysed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamgate.config.pictures import PictureSection
from streamgate.ports import Clock, FrameSink
from streamgate.sources.bitstream import reader_for
from streamgate.sources.clock import CaptureClock
from streamgate.sources.clock_watch import ClockWatch
from streamgate.sources.decode_queue import CodedPacket, DecodeQueue
from streamgate.sources.decoder import GatedDecoder
from streamgate.sources.faults import Fault, fault
from streamgate.sources.frames import FrameMaker
from streamgate.sources.nal import CodedPicture
from streamgate.sources.opening import PixelAspect
from streamgate.telemetry.metrics import Metrics
from streamgate.values.reasons import FaultReason, FrameDrop

__all__ = ["LiveConnection", "SkipFrames"]

SkipFrames = Literal["none", "unreferenced", "all_but_keyframes"]

CAUGHT_UP_S = 0.01
"""A packet that had to be waited for this long was not lying ready."""
BACKLOG_PACKETS = 1000
STALE_S = 0.25
"""Pictures of the backlog that are younger than this are analysed."""
KEYFRAME_TIMEOUT_S = 30.0
"""Without an undamaged keyframe for this long, the source is reopened, so that it sends one."""
_JOIN_TIMEOUT_S = 1.0
_LOSS_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What comes back with a picture: its packet's stamp, arrival, and whether it is too old."""

    pts_s: float | None
    arrived_at: float
    is_stale: bool


class LiveConnection:
    """Reads and decodes one connection; for the thread that opened it.

    Args:
        stream: its pictures.
        frames: makes the frames of the source.
        metrics: of the camera.
        clock: of the process.
        clock_watch: logs faults of the camera's clock.
        settings: of its pictures.
        lossy: whether packets may be lost on the way.
        skip_frames: which pictures are not decoded.
        on_loss: told that some were.

    Attributes:
        first_frame_at: monotonic seconds at which the first frame was left, None before.
    """

    def __init__(  # noqa: PLR0913 # what one connection is made of
        self,
        stream: VideoStream,
        frames: FrameMaker,
        metrics: Metrics,
        clock: Clock,
        *,
        clock_watch: ClockWatch,
        settings: PictureSection,
        lossy: bool = False,
        skip_frames: SkipFrames = "none",
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        codec = stream.codec_context
        self._stream = stream
        self._frames = frames
        self._metrics = metrics
        self._clock = clock
        self._clock_watch = clock_watch
        self._lossy = lossy
        self._skip_frames = skip_frames
        self._on_loss = on_loss
        self._losses = 0
        self._loss_told_at = float("-inf")
        self._capture = CaptureClock()
        self._capture_lock = threading.Lock()
        self._aspect = PixelAspect(stream)
        self._reader = reader_for(codec.name, codec.extradata or b"")
        self._decoder = GatedDecoder(
            codec,
            max_pixels=settings.max_pixels,
            knows_keyframes=self._reader is not None,
            watches_gaps=lossy,
            began_at=clock.monotonic(),
        )
        self._queue = DecodeQueue(clock.monotonic, frames.skipped)
        self._failure: Exception | None = None
        self.first_frame_at: float | None = None

    def run(self, container: InputContainer, sink: FrameSink, stop: threading.Event) -> Fault:
        """Leave frames in the sink until the stream is lost; return why it was.

        Raises:
            av.FFmpegError: reading failed.
            TooManyPixelsError: a picture is larger than is allowed.
        """
        decoding = threading.Thread(
            target=self._decode_all, args=(sink,), name="decode", daemon=True
        )
        decoding.start()
        try:
            lost = self._read(container, stop)
        finally:
            # What was read before the end is decoded, unless nobody waits for it.
            self._queue.close(abort=stop.is_set())
            decoding.join(_JOIN_TIMEOUT_S)
            self._queue.close(abort=True)
            decoding.join(_JOIN_TIMEOUT_S)
        self._notice_losses(self._clock.monotonic())
        if self._failure is not None:
            raise self._failure
        return lost

    # The thread that reads

    def _read(self, container: InputContainer, stop: threading.Event) -> Fault:
        backlog: list[tuple[Packet[VideoStream], float, CodedPicture]] = []
        caught_up = False
        for packet, arrived_at, waited_s in self._packets(container):
            if stop.is_set() or self._failure is not None:
                return fault(FaultReason.CLOSED)
            backlog.append((packet, arrived_at, self._said(packet)))
            caught_up = caught_up or waited_s >= CAUGHT_UP_S or len(backlog) >= BACKLOG_PACKETS
            if caught_up:
                self._hand_on(backlog)
            self._notice_losses(arrived_at)
            if self._decoder.waited_s(arrived_at) > KEYFRAME_TIMEOUT_S:
                return fault(FaultReason.NO_KEYFRAME)
        self._hand_on(backlog)
        return fault(FaultReason.CLOSED)

    def _packets(
        self, container: InputContainer
    ) -> Iterator[tuple[Packet[VideoStream], float, float]]:
        """Yield packets, when they came, and how long each had to be waited for."""
        asked_at = self._clock.monotonic()
        for packet in container.demux(self._stream):
            arrived_at = self._clock.monotonic()
            if packet.size:
                with self._capture_lock:
                    self._capture.observe(_seconds(packet), arrived_at)
                self._clock_watch.look(self._capture, arrived_at)
            yield packet, arrived_at, arrived_at - asked_at
            asked_at = self._clock.monotonic()

    def _said(self, packet: Packet[VideoStream]) -> CodedPicture:
        if self._reader is None:
            return CodedPicture(b"", is_keyframe=packet.is_keyframe)
        return self._reader.read(bytes(packet))

    def _hand_on(self, backlog: list[tuple[Packet[VideoStream], float, CodedPicture]]) -> None:
        stale_before_s = float("-inf")
        stamps = [pts_s for packet, _, _ in backlog if (pts_s := _seconds(packet)) is not None]
        if len(backlog) > 1 and stamps:
            stale_before_s = max(stamps) - STALE_S
        for packet, arrived_at, coded in backlog:
            pts_s = _seconds(packet)
            # The first of all may have no stamp; it is the oldest then.
            is_stale = (float("-inf") if pts_s is None else pts_s) < stale_before_s
            if packet.size and self._is_skipped(coded):
                self._metrics.frames_dropped.labels(FrameDrop.SKIPPED.value).inc()
                continue
            packet.opaque = _Stamp(pts_s, arrived_at, is_stale)
            self._queue.put(CodedPacket(packet, coded, arrived_at))
        backlog.clear()

    def _is_skipped(self, coded: CodedPicture) -> bool:
        """Whether a picture is left out by the bitstream's own marks."""
        if self._skip_frames == "unreferenced":
            return not coded.is_reference and not coded.is_keyframe
        return self._skip_frames == "all_but_keyframes" and not coded.is_keyframe

    def _notice_losses(self, now: float) -> None:
        losses = self._decoder.losses
        if self._lossy and losses > self._losses and now - self._loss_told_at > _LOSS_EVERY_S:
            self._loss_told_at = now
            self._metrics.source_faults.labels(FaultReason.PACKET_LOSS.value).inc()
            self._on_loss()
        self._losses = losses

    # The thread that decodes

    def _decode_all(self, sink: FrameSink) -> None:
        try:
            while (taken := self._queue.take()) is not None:
                self._decode(*taken, sink)
        except Exception as failure:
            # It is raised where the thread is joined.
            self._failure = failure
            self._queue.close(abort=True)

    def _decode(self, item: CodedPacket, follows: bool, sink: FrameSink) -> None:
        began_at = self._clock.monotonic()
        decoded = self._decoder.decode(item.packet, item.coded, now=began_at, follows=follows)
        self._frames.count(decoded)
        if decoded.skipped is None:
            decode_s = self._clock.monotonic() - began_at
            self._metrics.stage_seconds.labels("decode").observe(decode_s)
        for picture in decoded.pictures:
            stamp = picture.opaque
            if not isinstance(stamp, _Stamp):
                stamp = _Stamp(None, item.arrived_at, is_stale=False)
            if stamp.is_stale:
                self._frames.drop(FrameDrop.STALE)
            else:
                self._leave(picture, stamp, sink)

    def _leave(self, picture: VideoFrame, stamp: _Stamp, sink: FrameSink) -> None:
        with self._capture_lock:
            captured_at = self._capture.captured_at(stamp.pts_s, stamp.arrived_at)
        frame = self._frames.make(picture, captured_at=captured_at, pixel_aspect=self._aspect.now)
        sink.put(frame)
        if self.first_frame_at is None:
            self.first_frame_at = frame.decoded_at
            self._metrics.source_up.set(1)


def _seconds(packet: Packet[VideoStream]) -> float | None:
    if packet.pts is None or packet.time_base is None:
        return None
    return float(packet.pts * packet.time_base)
