"""One opening of a live source, from its first packet until it is lost.

What had gathered while the stream was probed, a second or so of it, is read before anything is
decoded: only once packets come no faster than the camera makes them can be told how old each is.
Pictures of that backlog are decoded, because later ones build on them, but not looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamgate.ports import Clock, FrameSink
from streamgate.sources.capture import CaptureClock
from streamgate.sources.faults import Fault, FaultReason, fault
from streamgate.sources.frames import FrameMaker
from streamgate.sources.h264 import FrameNumbers
from streamgate.sources.keyframe_gate import Drop, KeyframeGate
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Frame

__all__ = ["LiveConnection"]

CAUGHT_UP_S = 0.01
"""A packet that had to be waited for this long was not lying ready."""
BACKLOG_PACKETS = 1000
STALE_S = 0.25
"""Pictures of the backlog that are younger than this are looked at."""
KEYFRAME_TIMEOUT_S = 30.0
"""Without a sound keyframe for this long the source is opened anew, to be sent one."""


class LiveConnection:
    """Decodes one connection; for the thread that opened it.

    Args:
        stream: its pictures.
        frames: makes the frames of the source.
        metrics: of the camera.
        clock: of the process.
        lossy: whether packets may be lost on the way.

    Attributes:
        first_frame_at: monotonic seconds at which the first frame was left, None before.
    """

    def __init__(
        self,
        stream: VideoStream,
        frames: FrameMaker,
        metrics: Metrics,
        clock: Clock,
        *,
        lossy: bool = False,
    ) -> None:
        self._stream = stream
        self._frames = frames
        self._metrics = metrics
        self._clock = clock
        self._capture = CaptureClock()
        self._gate = KeyframeGate()
        self._numbers = _frame_numbers(stream) if lossy else None
        self.first_frame_at: float | None = None

    def run(self, container: InputContainer, sink: FrameSink, stop: threading.Event) -> Fault:
        """Leave frames in the sink until the stream is lost; return why it was.

        Raises:
            av.FFmpegError: reading failed.
        """
        backlog: list[Packet[VideoStream]] = []
        caught_up = False
        for packet, waited_s in self._packets(container):
            if stop.is_set():
                return fault(FaultReason.CLOSED)
            backlog.append(packet)
            caught_up = caught_up or waited_s >= CAUGHT_UP_S or len(backlog) >= BACKLOG_PACKETS
            if caught_up:
                self._decode_all(backlog, sink)
                backlog.clear()
            if self._gate.waited_s(self._clock.monotonic()) > KEYFRAME_TIMEOUT_S:
                return fault(FaultReason.NO_KEYFRAME)
        self._decode_all(backlog, sink)
        return fault(FaultReason.CLOSED)

    def _packets(self, container: InputContainer) -> Iterator[tuple[Packet[VideoStream], float]]:
        """Yield packets and how long each had to be waited for, learning when they come."""
        asked_at = self._clock.monotonic()
        for packet in container.demux(self._stream):
            arrived_at = self._clock.monotonic()
            if packet.pts is not None and packet.time_base is not None:
                self._capture.observe(float(packet.pts * packet.time_base), arrived_at)
            if packet.is_corrupt:
                self._gate.damaged(arrived_at)
            yield packet, arrived_at - asked_at
            asked_at = self._clock.monotonic()

    def _decode_all(self, packets: list[Packet[VideoStream]], sink: FrameSink) -> None:
        stale_before_s = None
        if len(packets) > 1:
            times = [float(p.pts * p.time_base) for p in packets if p.pts is not None]
            stale_before_s = max(times, default=0.0) - STALE_S
        for packet in packets:
            self._decode(packet, sink, stale_before_s)

    def _decode(
        self, packet: Packet[VideoStream], sink: FrameSink, stale_before_s: float | None
    ) -> None:
        began_at = self._clock.monotonic()
        if self._numbers is not None and self._numbers.has_gap(bytes(packet)):
            self._gate.damaged(began_at)
        try:
            pictures = self._stream.decode(packet)
        except av.InvalidDataError:
            self._gate.damaged(began_at)
            self._metrics.frames_dropped.labels(Drop.CORRUPT.value).inc()
            return
        decode_s = self._clock.monotonic() - began_at
        self._metrics.stage_seconds.labels("decode").observe(decode_s)
        for picture in pictures:
            frame = self._frame(picture, stale_before_s)
            if frame is None:
                continue
            sink.put(frame)
            if self.first_frame_at is None:
                self.first_frame_at = frame.decoded_at
                self._metrics.source_up.set(1)

    def _frame(self, picture: av.VideoFrame, stale_before_s: float | None) -> Frame | None:
        now = self._clock.monotonic()
        drop = self._gate.verdict(
            is_keyframe=bool(picture.key_frame), is_corrupt=picture.is_corrupt, now=now
        )
        pts_s = None if picture.pts is None else picture.time
        if drop is None and stale_before_s is not None and (pts_s or 0.0) < stale_before_s:
            drop = Drop.STALE
        if drop is not None:
            self._frames.drop(drop)
            return None
        return self._frames.make(picture, captured_at=self._capture.captured_at(pts_s, now))


def _frame_numbers(stream: VideoStream) -> FrameNumbers | None:
    if stream.codec_context.name != "h264":
        return None
    numbers = FrameNumbers()
    numbers.has_gap(stream.codec_context.extradata or b"")
    return numbers
