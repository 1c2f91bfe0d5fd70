"""Recorded videos: played as a camera would send them, or read as fast as they can be analysed.

The fast pace is for replay, where two runs over one file must see the same frames at the same
times. It waits for its reader at every frame, and its times come from the file alone: `captured_at`
counts from the first picture, and `captured_wall` from the file's modification time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction

import av
import structlog
from av.packet import Packet
from av.video.stream import VideoStream

from streamgate.config.source import FileSection
from streamgate.errors import SourceError
from streamgate.ports import Clock, FrameSink
from streamgate.sources.bitstream import reader_for
from streamgate.sources.clock import Timeline
from streamgate.sources.decoder import GatedDecoder, TooManyPixelsError
from streamgate.sources.faults import fault_of
from streamgate.sources.frames import FrameMaker
from streamgate.sources.nal import CodedPicture
from streamgate.sources.opening import NoVideoError, Opening, PixelAspect, open_video
from streamgate.sources.worker import run_in_thread
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity
from streamgate.values.reasons import FaultReason

__all__ = ["FileSource"]

log = structlog.get_logger(__name__)

_STOP_CHECK_S = 0.1
_LAG_LIMIT_S = 1.0
"""A player that is behind by more, for example after the machine slept, does not race to catch
up."""


class FileSource:
    """A recorded video; `run` returns at its end unless it is played in a loop."""

    def __init__(self, config: FileSection, metrics: Metrics, clock: Clock) -> None:
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._frames = FrameMaker(config, metrics, clock, live=False)
        self._timeline = Timeline()
        self._began_at: float | None = None
        self._made_wall = 0.0
        self._told_of_clock = False

    async def run(self, sink: FrameSink) -> None:
        """See `FrameSource.run`."""
        try:
            await run_in_thread(lambda stop: self._serve(sink, stop), name="decode")
        finally:
            self._metrics.source_up.set(0)

    def _serve(self, sink: FrameSink, stop: threading.Event) -> None:
        path = self._config.path
        if not path.is_file():
            raise SourceError(f"there is no file at {path}: check source.path")
        self._made_wall = path.stat().st_mtime
        again = True
        while again and not stop.is_set():
            played = self._play(sink, stop)
            if stop.is_set():
                return
            if not played:
                raise SourceError(f"{path} holds no picture that can be decoded: is it complete?")
            at = self._captured_at(self._timeline.restart())
            sink.mark(Discontinuity("end of file", at, ended=True))
            again = self._config.loop
        log.info("file ended", path=str(path))

    def _play(self, sink: FrameSink, stop: threading.Event) -> int:
        """Play the file once and return how many frames were left."""
        path = self._config.path
        played = 0
        opening = Opening(
            str(path),
            live=self._config.pace == "realtime",
            max_pixels=self._config.max_pixels,
        )
        try:
            with open_video(opening) as (container, stream):
                self._frames.connected()
                rate = stream.average_rate
                self._timeline.expect_rate(None if rate is None else float(rate))
                aspect = PixelAspect(stream)
                for picture in self._pictures(container.demux(stream), stream):
                    if not self._leave(picture, aspect.now, sink, stop):
                        break
                    played += 1
        except NoVideoError:
            raise SourceError(f"{path} has no video stream: choose another file") from None
        except TooManyPixelsError as error:
            raise SourceError(f"{path}: {error}") from None
        except av.FFmpegError as error:
            if played == 0:
                raise SourceError(
                    f"{path} cannot be read as video ({fault_of(error).text}): "
                    "check that it is a complete video file"
                ) from None
            log.warning("file is damaged", path=str(path), error=error.strerror)
        return played

    def _pictures(
        self, packets: Iterator[Packet[VideoStream]], stream: VideoStream
    ) -> Iterator[av.VideoFrame]:
        """Yield the sound pictures, those before the first keyframe and after damage left out."""
        codec = stream.codec_context
        reader = reader_for(codec.name, codec.extradata or b"")
        now = self._clock.monotonic()
        decoder = GatedDecoder(
            codec,
            max_pixels=self._config.max_pixels,
            knows_keyframes=reader is not None,
            watches_gaps=False,
            began_at=now,
            is_recording=True,
        )
        for packet in packets:
            coded = CodedPicture(b"") if reader is None else reader.read(bytes(packet))
            now = self._clock.monotonic()
            decoded = decoder.decode(packet, coded, now=now)
            self._frames.count(decoded)
            if decoded.skipped is None:
                decode_s = self._clock.monotonic() - now
                self._metrics.stage_seconds.labels("decode").observe(decode_s)
            yield from decoded.pictures

    def _leave(
        self,
        picture: av.VideoFrame,
        pixel_aspect: Fraction | None,
        sink: FrameSink,
        stop: threading.Event,
    ) -> bool:
        """Leave a picture when it is due; return False once the source is to stop."""
        seconds = self._timeline.at(None if picture.pts is None else picture.time)
        self._tell_of_clock(seconds)
        fast = self._config.pace == "fast"
        if not fast and not self._wait_for(seconds, stop):
            return False
        frame = self._frames.make(
            picture,
            captured_at=self._captured_at(seconds),
            captured_wall=self._made_wall + seconds if fast else None,
            pixel_aspect=pixel_aspect,
        )
        self._metrics.source_up.set(1)
        if not fast:
            sink.put(frame)
            return not stop.is_set()
        while not stop.is_set():
            if sink.offer(frame, timeout_s=_STOP_CHECK_S):
                return True
        return False

    def _tell_of_clock(self, seconds: float) -> None:
        """Say once that the file's timestamps are not believed."""
        if self._told_of_clock or not self._timeline.faults:
            return
        self._told_of_clock = True
        self._metrics.clock_trusted.set(0)
        self._metrics.source_faults.labels(FaultReason.CLOCK.value).inc()
        log.warning(
            "file timestamps not believed",
            path=str(self._config.path),
            reason=FaultReason.CLOCK.value,
            at_s=round(seconds, 2),
            error="they jump, stand or are missing (is it joined of several?); where they do, "
            "each picture is taken to follow the one before",
        )

    def _wait_for(self, seconds: float, stop: threading.Event) -> bool:
        now = self._clock.monotonic()
        if self._began_at is None or now - (self._began_at + seconds) > _LAG_LIMIT_S:
            self._began_at = now - seconds
        return not stop.wait(max(0.0, self._began_at + seconds - now))

    def _captured_at(self, seconds: float) -> float:
        return seconds if self._began_at is None else self._began_at + seconds
