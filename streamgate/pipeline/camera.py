"""The path of a frame through one camera: a thin shell around the `Selector`.

Three tasks and one thread: the *watching* task hands each frame to the detection thread and shows
the selector what was seen; the *scoring* task takes batches from the selector to the scorer and
back; the *publishing* task (see `publisher`) leaves best shots in the outbox. The selector belongs
to the event loop, so nothing here takes a lock. The selector makes all decisions; only threads,
deadlines and metrics are left here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import structlog

from streamgate.errors import DetectorError, PictureError, ScoreError, ScorerAwayError
from streamgate.pipeline.publisher import Publisher
from streamgate.ports import Clock, FrameAnalyser, QualityScorer
from streamgate.selection.selector import Selector, SelectorEvent
from streamgate.telemetry.metrics import Metrics
from streamgate.values import (
    Analysis,
    Candidate,
    Discontinuity,
    Frame,
    PassReason,
    Release,
    ReleaseReason,
    ScoredFace,
    Scores,
    Skipped,
    SkipReason,
    TrackDecision,
    TracksJoined,
)
from streamgate.values.reasons import Rejection

__all__ = ["CameraPipeline", "PipelineParts"]

log = structlog.get_logger(__name__)

_TICK_S = 0.1
_TICK_AT_REST_S = 0.25
"""Without a live track only visits end by themselves."""


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """What the pipeline is made of.

    Attributes:
        detection: executor of one thread, which alone calls the analyser.
        on_scored: called with each scored face; must not block.
        on_analysed: called with each frame and its analysis; must not block, and must not keep more
            than the newest frame.
        on_joined: called when two live tracks have become one; must not block.
        on_outcome: told, of the detector and the scorer by name, of each failure with its error
            and of each success with None.
        lossless: wait for the scorer after each frame instead of shedding load, and take the
            frames' own time for the selector's: for files that are read as fast as they can be.
    """

    analyser: FrameAnalyser
    detection: Executor
    scorer: QualityScorer
    selector: Selector
    publisher: Publisher
    metrics: Metrics
    clock: Clock
    on_scored: Callable[[ScoredFace], None] = lambda _face: None
    on_analysed: Callable[[Frame, Analysis], None] = lambda _frame, _analysis: None
    on_joined: Callable[[TracksJoined], None] = lambda _joined: None
    on_outcome: Callable[[str, str | None], None] = lambda _part, _error: None
    lossless: bool = False


class CameraPipeline:
    """Takes frames until they end, then drains, so that nothing that was due is lost."""

    def __init__(self, parts: PipelineParts) -> None:
        self.parts = parts
        self.last_frame_at: float | None = None
        self._media_time = 0.0
        self._busy_since: float | None = None
        self._scoring_since: float | None = None
        self._drain_deadline: float | None = None
        self._drain_timeout: asyncio.Timeout | None = None
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def busy_s(self) -> float:
        """How long the analysis of the present frame has taken; 0 between frames."""
        return 0.0 if self._busy_since is None else time.perf_counter() - self._busy_since

    @property
    def scoring_s(self) -> float:
        """How long the present batch has been with the scorer; 0 between batches."""
        return 0.0 if self._scoring_since is None else time.perf_counter() - self._scoring_since

    @property
    def time(self) -> float:
        """The selector's time, monotonic seconds: the frames' own where none may be dropped."""
        return self._media_time if self.parts.lossless else self.parts.clock.monotonic()

    def limit_drain(self, drain_s: float) -> None:
        """Let the drain take at most this long from now; faces that still wait are skipped."""
        self._drain_deadline = asyncio.get_running_loop().time() + drain_s
        if self._drain_timeout is not None:
            self._drain_timeout.reschedule(self._drain_deadline)

    async def run(self, frames: AsyncIterator[Frame | Discontinuity]) -> None:
        """Process frames until the iterator ends, then end every track and publish what is due."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.parts.publisher.run())
            scoring = group.create_task(self._score_faces())
            ticking = group.create_task(self._tick())
            async for item in frames:
                if isinstance(item, Discontinuity):
                    await self._discontinued(item)
                else:
                    await self._watch(item)
                # A picture must not stay in memory while its successor is awaited.
                del item
            await self._publish(self.parts.selector.end(ReleaseReason.SHUTDOWN, self.time))
            await self._drain(scoring)
            ticking.cancel()
            await self.parts.publisher.close()

    # Watching

    async def _watch(self, frame: Frame) -> None:
        parts = self.parts
        if not parts.lossless:
            age_s = parts.clock.monotonic() - frame.captured_at
            parts.metrics.frame_age.observe(max(0.0, age_s))
        analysis = await self._analyse(frame)
        if analysis is None:
            return
        self._media_time = frame.captured_at
        for stage, seconds in analysis.seconds.items():
            parts.metrics.stage_seconds.labels(stage).observe(seconds)
        self._count(analysis)
        events = parts.selector.seen(analysis, self.time)
        parts.on_analysed(frame, parts.selector.named(analysis))
        await self._publish(events)
        if parts.lossless:
            await self._idle.wait()
            await self._publish(parts.selector.tick(self.time))
        self.last_frame_at = parts.clock.monotonic()
        parts.metrics.heartbeat.set(parts.clock.wall())

    async def _analyse(self, frame: Frame) -> Analysis | None:
        parts, loop = self.parts, asyncio.get_running_loop()
        self._busy_since = time.perf_counter()
        try:
            analysis = await loop.run_in_executor(parts.detection, parts.analyser.analyse, frame)
        except (DetectorError, PictureError) as error:
            log.error("frame not analysed", frame=frame.index, error=str(error))
            parts.on_outcome("detector", str(error))
            parts.metrics.frames_dropped.labels("detector_failed").inc()
            return None
        finally:
            self._busy_since = None
        parts.on_outcome("detector", None)
        return analysis

    def _count(self, analysis: Analysis) -> None:
        metrics = self.parts.metrics
        if isinstance(analysis.look, PassReason):
            metrics.frames_passed.labels(analysis.look.value).inc()
            return
        metrics.frames_looked_at.labels(analysis.look.value).inc()
        metrics.faces_detected.inc(len(analysis.faces) + analysis.surplus)
        metrics.faces_rejected.labels(Rejection.TOO_MANY.value).inc(analysis.surplus)
        for zone, count in analysis.ignored.items():
            metrics.zone_faces.labels(zone).inc(count)
            metrics.faces_rejected.labels(Rejection.IN_IGNORE_ZONE.value).inc(count)
        for face in analysis.faces:
            if face.zone is not None:
                metrics.zone_faces.labels(face.zone).inc()
            if face.rejection is not None:
                metrics.faces_rejected.labels(face.rejection).inc()
        if analysis.faces:
            metrics.last_face_wall.set(analysis.captured_wall)

    async def _discontinued(self, discontinuity: Discontinuity) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.parts.detection, self.parts.analyser.flush)
        reason = ReleaseReason.STREAM_ENDED if discontinuity.ended else ReleaseReason.STREAM_LOST
        await self._publish(self.parts.selector.end(reason, self.time))

    async def _publish(self, events: Sequence[SelectorEvent]) -> None:
        """Report what the selector has decided, and check whether it has something to score now."""
        selector, metrics = self.parts.selector, self.parts.metrics
        for event in events:
            if isinstance(event, Skipped):
                metrics.faces_skipped.labels(event.reason.value).inc()
            elif isinstance(event, TracksJoined):
                self.parts.on_joined(event)
        metrics.live_tracks.set(len(selector.live_tracks))
        self.parts.analyser.static_tracks = selector.static_tracks
        metrics.pending_faces.set(selector.waiting)
        if selector.waiting:
            self._work.set()
            self._idle.clear()
        decided = [event for event in events if isinstance(event, Release | TrackDecision)]
        await self.parts.publisher.publish(decided)

    # Scoring

    async def _score_faces(self) -> None:
        selector, scorer = self.parts.selector, self.parts.scorer
        while True:
            batch = selector.next_batch(scorer.batch_size, self.time)
            self.parts.metrics.pending_faces.set(selector.waiting)
            if batch:
                await self._score(batch)
            else:
                self._idle.set()
                self._work.clear()
                await self._work.wait()

    async def _score(self, batch: Sequence[Candidate]) -> None:
        parts = self.parts
        started = self._scoring_since = time.perf_counter()
        try:
            scores = await parts.scorer.score(np.stack([c.crop.image for c in batch]))
        except asyncio.CancelledError:
            events = parts.selector.failed(batch, SkipReason.SHUTDOWN, self.time)
            await self._publish(events)
            raise
        except ScorerAwayError:
            # No fault of this process, which must go on; whoever was asked has told why.
            events = parts.selector.failed(batch, SkipReason.SCORER_AWAY, self.time)
        except ScoreError as error:
            log.error("scoring failed", error=str(error), faces=len(batch))
            parts.on_outcome("scorer", str(error))
            events = parts.selector.failed(batch, SkipReason.SCORER_FAILED, self.time)
        else:
            parts.on_outcome("scorer", None)
            parts.metrics.stage_seconds.labels("score").observe(time.perf_counter() - started)
            parts.metrics.scorer_batch.observe(len(batch))
            # Without a pause between the two, in which a stop could lose half of the batch.
            events = parts.selector.scored(self._scored(batch, scores), self.time)
        finally:
            self._scoring_since = None
            parts.metrics.scorer_busy.inc(time.perf_counter() - started)
        await self._publish(events)

    def _scored(self, batch: Sequence[Candidate], scores: Scores) -> list[ScoredFace]:
        """Pair a batch with its scores, and report each face."""
        parts, scored_at = self.parts, self.parts.clock.monotonic()
        faces = scores.of(batch, scored_at)
        for face in faces:
            parts.metrics.faces_scored.inc()
            track_id = parts.selector.track_of(face.candidate.track_id)
            track = parts.publisher.exemplar(track_id)
            parts.metrics.face_quality.observe(face.quality, track)
            parts.metrics.face_raw_score.observe(face.raw)
            if not parts.lossless:
                age_s = scored_at - face.candidate.captured_at
                parts.metrics.capture_to_score.observe(age_s, track)
            parts.on_scored(face.of_track(track_id))
        return faces

    async def _drain(self, scoring: asyncio.Task[None]) -> None:
        """Wait until all that is due is scored, at most until the deadline of the stop."""
        try:
            async with asyncio.timeout_at(self._drain_deadline) as self._drain_timeout:
                await self._idle.wait()
        except TimeoutError:
            pass
        self._drain_timeout = None
        scoring.cancel()
        await asyncio.wait([scoring])
        await self._publish(self.parts.selector.close(ReleaseReason.SHUTDOWN, self.time))

    async def _tick(self) -> None:
        while not self.parts.lossless:
            await asyncio.sleep(_TICK_S if self.parts.selector.live_tracks else _TICK_AT_REST_S)
            self.parts.metrics.heartbeat.set(self.parts.clock.wall())
            await self._publish(self.parts.selector.tick(self.time))
