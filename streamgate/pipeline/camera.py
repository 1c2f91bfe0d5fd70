"""The path of a frame through one camera, against Protocols only.

Three tasks and one thread: the *watching* task hands each frame to the detection thread and gives
what was seen to the gate; the *scoring* task keeps the scorer busy with the most promising faces;
the *publishing* task (see `publisher`) leaves best shots in the outbox. The gate, the scheduler and
the counts belong to the event loop, so nothing here takes a lock.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import structlog

from streamgate.errors import DetectorError, ScoreError
from streamgate.pipeline.publisher import Publisher
from streamgate.ports import Clock, FrameAnalyser, QualityScorer
from streamgate.selection.gate import GateEvent, QualityGate
from streamgate.selection.scheduler import Scheduler
from streamgate.telemetry.metrics import Metrics
from streamgate.values import (
    Analysis,
    Candidate,
    Discontinuity,
    Frame,
    ReleaseReason,
    ScoredFace,
    Scores,
    SkipReason,
)

__all__ = ["CameraPipeline", "PipelineParts"]

log = structlog.get_logger(__name__)

_TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """What the pipeline is made of.

    Attributes:
        detection: executor of one thread, which alone calls the analyser.
        on_scored: told of each scored face; must not block.
        on_analysed: told of each frame and what was seen in it; must not block, and must not keep
            more than the newest frame.
        lossless: wait for the scorer after each frame instead of shedding load, and take the
            frames' own time for the gate's: for files that are read as fast as they can be.
    """

    analyser: FrameAnalyser
    detection: Executor
    scorer: QualityScorer
    gate: QualityGate
    scheduler: Scheduler
    publisher: Publisher
    metrics: Metrics
    clock: Clock
    on_scored: Callable[[ScoredFace], None] = lambda _face: None
    on_analysed: Callable[[Frame, Analysis], None] = lambda _frame, _analysis: None
    lossless: bool = False


class CameraPipeline:
    """Takes frames until they end, then drains, so that nothing that was due is lost."""

    def __init__(self, parts: PipelineParts) -> None:
        self.parts = parts
        self.last_frame_at: float | None = None
        self._media_time = 0.0
        self._busy_since: float | None = None
        self._drain_deadline: float | None = None
        self._drain_timeout: asyncio.Timeout | None = None
        self._closing = False
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._in_flight: Counter[int] = Counter()
        self._ending: dict[int, tuple[ReleaseReason, float]] = {}

    @property
    def busy_s(self) -> float:
        """How long the analysis of the present frame has taken; 0 between frames."""
        return 0.0 if self._busy_since is None else time.perf_counter() - self._busy_since

    @property
    def time(self) -> float:
        """The gate's time now, monotonic seconds: the frames' own where none may be dropped."""
        return self._now()

    def hurry(self, drain_s: float) -> None:
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
            await self._end_tracks(ReleaseReason.SHUTDOWN, self._now())
            await self._drain(scoring)
            ticking.cancel()
            await self.parts.publisher.close()

    def _now(self) -> float:
        return self._media_time if self.parts.lossless else self.parts.clock.monotonic()

    # Watching

    async def _watch(self, frame: Frame) -> None:
        parts = self.parts
        age_s = parts.clock.monotonic() - frame.captured_at
        if not parts.lossless:
            parts.metrics.frame_age.observe(max(0.0, age_s))
        loop = asyncio.get_running_loop()
        self._busy_since = time.perf_counter()
        try:
            analysis = await loop.run_in_executor(parts.detection, parts.analyser.analyse, frame)
        except DetectorError as error:
            log.error("frame not analysed", frame=frame.index, error=str(error))
            parts.metrics.frames_dropped.labels("detector_failed").inc()
            return
        finally:
            self._busy_since = None
        self._media_time = frame.captured_at
        for stage, seconds in analysis.seconds.items():
            parts.metrics.stage_seconds.labels(stage).observe(seconds)
        parts.on_analysed(frame, analysis)
        await self._take(analysis)
        self.last_frame_at = parts.clock.monotonic()
        parts.metrics.heartbeat.set(parts.clock.wall())

    async def _take(self, analysis: Analysis) -> None:
        parts = self.parts
        for track_id in analysis.ended:
            await self._end(track_id, ReleaseReason.TRACK_ENDED, self._now())
        for seen in analysis.faces:
            track_id = seen.tracked.track_id
            parts.gate.seen(track_id, at=analysis.captured_at, wall=analysis.captured_wall)
            if seen.candidate is not None:
                self._offer(seen.candidate)
            elif seen.rejection is not None:
                parts.gate.rejected(track_id, seen.rejection)
                parts.metrics.faces_rejected.labels(seen.rejection).inc()
        parts.metrics.faces_detected.inc(len(analysis.faces))
        if analysis.faces:
            parts.metrics.last_face_wall.set(analysis.captured_wall)
        parts.metrics.live_tracks.set(len(parts.gate.live_tracks))
        if len(parts.scheduler):
            self._wake_scoring()
        if parts.lossless:
            await self._idle.wait()
            await self.parts.publisher.publish(parts.gate.tick(self._now()))

    def _offer(self, candidate: Candidate) -> None:
        for lost in self.parts.scheduler.offer(candidate):
            self._skip(lost.candidate, lost.reason)
        self._wake_scoring()
        self.parts.metrics.pending_faces.set(len(self.parts.scheduler))

    def _wake_scoring(self) -> None:
        """Look for faces that are to be scored; which those are changes with faces and time."""
        self._work.set()
        self._idle.clear()

    def _skip(self, candidate: Candidate, reason: SkipReason) -> None:
        self.parts.gate.skipped(candidate.track_id)
        self.parts.metrics.faces_skipped.labels(reason.value).inc()

    async def _discontinued(self, discontinuity: Discontinuity) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.parts.detection, self.parts.analyser.flush)
        reason = ReleaseReason.STREAM_ENDED if discontinuity.ended else ReleaseReason.STREAM_LOST
        await self._end_tracks(reason, self._now())

    async def _end_tracks(self, reason: ReleaseReason, at: float) -> None:
        for track_id in self.parts.gate.live_tracks:
            if track_id not in self._ending:
                await self._end(track_id, reason, at)

    async def _end(self, track_id: int, reason: ReleaseReason, at: float) -> None:
        """End a track, once those of its waiting faces are scored that can still win."""
        scheduler = self.parts.scheduler
        scheduler.end(track_id)
        if not self._closing and (scheduler.waits(track_id, at) or self._in_flight[track_id]):
            self._ending[track_id] = reason, at
            self._wake_scoring()
        else:
            self._ending.pop(track_id, None)
            for lost in scheduler.forget(track_id):
                self._skip(lost.candidate, lost.reason)
            events = self.parts.gate.end(track_id, reason, at=at)
            self.parts.metrics.live_tracks.set(len(self.parts.gate.live_tracks))
            await self.parts.publisher.publish(events)

    # Scoring

    async def _score_faces(self) -> None:
        while not self._closing:
            batch = self.parts.scheduler.take(self.parts.scorer.batch_size, self._now())
            self.parts.metrics.pending_faces.set(len(self.parts.scheduler))
            if batch:
                await self._score(batch)
            elif self._ending:
                # What they waited for cannot win any more.
                for track_id in tuple(self._ending):
                    if track_id in self._ending:
                        await self._end(track_id, *self._ending[track_id])
            else:
                self._idle.set()
                self._work.clear()
                await self._work.wait()

    async def _score(self, batch: Sequence[Candidate]) -> None:
        tracks = Counter(candidate.track_id for candidate in batch)
        self._in_flight.update(tracks)
        started = time.perf_counter()
        try:
            scores = await self.parts.scorer.score(np.stack([c.crop.image for c in batch]))
        except asyncio.CancelledError:
            for candidate in batch:
                self._skip(candidate, SkipReason.SHUTDOWN)
            raise
        except ScoreError as error:
            log.error("scoring failed", error=str(error), faces=len(batch))
            for candidate in batch:
                self._skip(candidate, SkipReason.SCORER_FAILED)
        else:
            self.parts.metrics.stage_seconds.labels("score").observe(time.perf_counter() - started)
            self.parts.metrics.scorer_batch.observe(len(batch))
            await self.parts.publisher.publish(self._take_scores(batch, scores))
        finally:
            self.parts.metrics.scorer_busy.inc(time.perf_counter() - started)
            self._in_flight -= tracks
        for track_id in tracks:
            if track_id in self._ending:
                await self._end(track_id, *self._ending[track_id])

    def _take_scores(self, batch: Sequence[Candidate], scores: Scores) -> list[GateEvent]:
        """Give a batch to the gate, without a pause in which a stop could lose half of it."""
        parts, scored_at = self.parts, self.parts.clock.monotonic()
        events: list[GateEvent] = []
        for i, candidate in enumerate(batch):
            face = ScoredFace(
                candidate=candidate,
                raw=float(scores.raw[i]),
                quality=float(scores.quality[i]),
                embedding=scores.embedding[i],
                scored_at=scored_at,
            )
            parts.metrics.faces_scored.inc()
            track = self.parts.publisher.exemplar(candidate.track_id)
            parts.metrics.face_quality.observe(face.quality, track)
            parts.metrics.face_raw_score.observe(face.raw)
            if not parts.lossless:
                parts.metrics.capture_to_score.observe(scored_at - candidate.captured_at, track)
            parts.on_scored(face)
            parts.scheduler.learn(face)
            events += parts.gate.scored(face, at=self._now())
        return events

    async def _drain(self, scoring: asyncio.Task[None]) -> None:
        try:
            async with asyncio.timeout_at(self._drain_deadline) as self._drain_timeout:
                await self._idle.wait()
            self._drain_timeout = None
        except TimeoutError:
            self._drain_timeout = None
            scoring.cancel()
            await asyncio.wait([scoring])
            for candidate in self.parts.scheduler.clear():
                self._skip(candidate, SkipReason.SHUTDOWN)
        self._closing = True
        self._work.set()
        self._in_flight.clear()
        for track_id, (reason, at) in list(self._ending.items()):
            await self._end(track_id, reason, at)

    async def _tick(self) -> None:
        while not self.parts.lossless:
            await asyncio.sleep(_TICK_S)
            if len(self.parts.scheduler):
                self._wake_scoring()
            self.parts.metrics.heartbeat.set(self.parts.clock.wall())
            await self.parts.publisher.publish(self.parts.gate.tick(self._now()))
