"""The thread that decodes, so that a slow picture does not hold up the network."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog
from av.video.frame import VideoFrame

from streamgate.ports import Clock
from streamgate.sources.webrtc.assembly import EncodedFrame
from streamgate.sources.webrtc.decoder import DamagedFrameError, GatedDecoder
from streamgate.telemetry.metrics import Metrics

__all__ = ["DecodeThread", "PictureReader"]

log = structlog.get_logger(__name__)

# Half a second at 30 pictures a second; what has waited longer is given up together.
_MOST_WAITING = 16


PictureReader = Callable[[VideoFrame, float], None]
"""Called with each picture and the monotonic seconds of its capture."""


@dataclass(frozen=True, slots=True)
class _Job:
    codec: str
    frame: EncodedFrame
    captured_at: float


class DecodeThread:
    """Decodes what it is given, in order, and hands pictures out on its own thread.

    Frames that come faster than they are decoded are given up together, up to the next keyframe: a
    stream that lags behind is worth less than one that skips.

    Args:
        on_picture: called on the thread for each picture.

    Attributes:
        last_picture_at: monotonic seconds at which the last picture was ready.
    """

    def __init__(self, on_picture: PictureReader, metrics: Metrics, clock: Clock) -> None:
        self._on_picture = on_picture
        self._metrics = metrics
        self._clock = clock
        self.last_picture_at: float | None = None
        self._decoder = GatedDecoder()
        self._jobs: deque[_Job] = deque()
        self._news = threading.Condition()
        self._stopping = False
        self._overrun = False
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="webrtc-decoder", daemon=True)
        self._thread.start()

    @property
    def needs_keyframe(self) -> bool:
        """Whether a keyframe should be asked for."""
        return self._decoder.waiting

    def submit(self, codec: str, frame: EncodedFrame, *, captured_at: float) -> None:
        """Leave a frame; never waits."""
        with self._news:
            if len(self._jobs) >= _MOST_WAITING:
                self._metrics.frames_dropped.labels("decoder_behind").inc(len(self._jobs))
                self._jobs.clear()
                self._overrun = True
            if self._overrun:
                frame, self._overrun = replace(frame, contiguous=False), False
            self._jobs.append(_Job(codec, frame, captured_at))
            self._news.notify()

    def stop(self) -> None:
        """Give up what waits; `ended` is resolved when the thread is done."""
        with self._news:
            self._stopping = True
            self._jobs.clear()
            self._news.notify()

    async def join(self) -> None:
        """Stop the thread and wait for its end.

        Raises:
            Exception: what ended the thread before it was told to stop.
        """
        self.stop()
        await asyncio.shield(self.ended)

    def _run(self) -> None:
        error: Exception | None = None
        try:
            while (job := self._next()) is not None:
                self._decode(job)
        except Exception as failure:
            # It is re-raised where the thread is joined.
            error = failure
        self._loop.call_soon_threadsafe(_resolve, self.ended, error)

    def _next(self) -> _Job | None:
        with self._news:
            while not self._jobs and not self._stopping:
                self._news.wait()
            return None if self._stopping else self._jobs.popleft()

    def _decode(self, job: _Job) -> None:
        began_at = self._clock.monotonic()
        try:
            pictures = self._decoder.decode(job.codec, job.frame)
        except DamagedFrameError as fault:
            self._metrics.webrtc_decode_errors.labels(job.codec).inc()
            log.warning("frame not decoded", error=str(fault))
            return
        if not pictures and self._decoder.waiting:
            self._metrics.frames_dropped.labels("waiting_for_keyframe").inc()
        if pictures:
            self._metrics.stage_seconds.labels("decode").observe(self._clock.monotonic() - began_at)
        for picture in pictures:
            if not self._stopping:
                self.last_picture_at = self._clock.monotonic()
                self._on_picture(picture, job.captured_at)


def _resolve(ended: asyncio.Future[None], error: Exception | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
