"""A camera of which one stream is looked at, and faces are cut out of another.

Where the substream is away for a while, the main stream is looked at instead, as with one stream;
where the main stream is away, faces are cut out of the substream. Both are told.
"""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import replace
from fractions import Fraction

import structlog

from streamgate.config.source import RtspSection
from streamgate.ports import Clock, FrameSink
from streamgate.sources.frames import FrameMaker
from streamgate.sources.live import LiveCamera, LiveSource
from streamgate.sources.main_stream import MainStream, TakenPicture
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity, Frame
from streamgate.values.pictures import DetailPicture
from streamgate.values.reasons import DetailOutcome

__all__ = ["TwoStreamSource"]

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 0.5
_MISSED_S = 5.0
"""A reconnect takes a second or two; only then is the larger stream worth its cost."""


class TwoStreamSource:
    """Implements `FrameSource` by two connections to one camera.

    Args:
        config: for `replace_after_s` and the settings of both.
        sub: opens the stream that is looked at.
        main: opens the stream of which faces are cut.
    """

    def __init__(
        self,
        config: RtspSection,
        sub: LiveCamera,
        main: LiveCamera,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._missed_s = config.read_timeout_s + _MISSED_S
        self._sub = LiveSource(sub, metrics, clock)
        self._main = MainStream(main, metrics, clock, random.random)
        self._instead = FrameMaker(config, metrics, clock)

    async def run(self, sink: FrameSink) -> None:
        """See `FrameSource.run`."""
        joined = _Joined(sink, self._main, self._metrics, self._clock)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sub.run(joined))
                group.create_task(self._main.run())
                group.create_task(self._stand_in(joined))
        finally:
            self._metrics.substream_up.set(0)

    async def _stand_in(self, joined: _Joined) -> None:
        """Let the main stream be looked at while the substream is away."""

        def show(taken: TakenPicture) -> None:
            aspect = taken.pixels.pixel_aspect
            frame = self._instead.make(
                taken.pixels.picture,
                captured_at=taken.captured_at,
                pixel_aspect=None if aspect is None else Fraction(aspect),
            )
            joined.put_instead(frame)

        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            missed = self._clock.monotonic() - joined.seen_at > self._missed_s
            stands_in = self._main.on_picture is not None
            if missed and not stands_in and self._main.size is not None:
                log.warning(
                    "substream replaced",
                    error="the substream is away, the main stream is looked at instead: check "
                    "source.detect_url",
                )
                self._metrics.substream_up.set(0)
                self._main.on_picture = show
            elif stands_in and not missed:
                self._main.on_picture = None
                log.info("substream used again")


class _Joined:
    """Numbers the frames of both streams as those of one source; implements `FrameSink`."""

    def __init__(self, sink: FrameSink, main: MainStream, metrics: Metrics, clock: Clock) -> None:
        self._sink = sink
        self._main = main
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._index = 0
        self._connection = -1
        self._from: tuple[str, int] | None = None
        self.seen_at = clock.monotonic()

    def put(self, frame: Frame) -> None:
        """A frame of the substream."""
        self.seen_at = self._clock.monotonic()
        self._metrics.substream_up.set(1)
        detail = _Instant(self._main, frame.captured_at, self._metrics)
        self._leave(replace(frame, detail=detail), ("sub", frame.connection))

    def put_instead(self, frame: Frame) -> None:
        """A frame of the main stream, in the place of the other."""
        if self._main.on_picture is not None:
            self._metrics.source_up.set(1)
            self._leave(frame, ("main", 0))

    def offer(self, frame: Frame, *, timeout_s: float) -> bool:
        """Nothing that is live waits."""
        raise NotImplementedError(
            f"a live frame ({frame.index}) is put, not offered in {timeout_s}"
        )

    def mark(self, discontinuity: Discontinuity) -> None:
        """The substream was lost."""
        self._sink.mark(discontinuity)

    def _leave(self, frame: Frame, origin: tuple[str, int]) -> None:
        with self._lock:
            if origin != self._from:
                if self._from is not None and self._from[0] != origin[0]:
                    # A face has other sizes in the other stream: no track spans both.
                    self._sink.mark(Discontinuity("streams_changed", self._clock.monotonic()))
                self._from = origin
                self._connection += 1
            renumbered = replace(frame, index=self._index, connection=self._connection)
            self._index += 1
            self._sink.put(renumbered)


class _Instant:
    """The main stream at the instant of a frame; implements `Detail`."""

    def __init__(self, main: MainStream, captured_at: float, metrics: Metrics) -> None:
        self._main = main
        self._captured_at = captured_at
        self._metrics = metrics
        self._found: TakenPicture | DetailOutcome | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """See `Detail.size`."""
        size = self._main.size
        if size is None:
            self.note(DetailOutcome.AWAY)
        return size

    def picture(self) -> DetailPicture | None:
        """See `Detail.picture`."""
        if self._found is None:
            self._found = self._main.near(self._captured_at)
        if isinstance(self._found, TakenPicture):
            return self._found.pixels
        self.note(self._found)
        return None

    def note(self, outcome: DetailOutcome) -> None:
        """See `Detail.note`."""
        self._metrics.detail_faces.labels(outcome.value).inc()
