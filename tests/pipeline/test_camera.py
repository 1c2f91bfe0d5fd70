"""The pipeline with a scripted analyser and a scorer that the test holds and lets go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamgate.config import GateSection
from streamgate.errors import DetectorError, ScoreError
from streamgate.pipeline import (
    CameraPipeline,
    PipelineIdentity,
    PipelineParts,
    Publisher,
    SystemClock,
    publisher,
)
from streamgate.selection.selector import Selector
from streamgate.telemetry.metrics import Metrics
from streamgate.values import (
    Acceptance,
    Analysis,
    BestShot,
    Discontinuity,
    Frame,
    ReleaseReason,
    Scores,
    SeenFace,
    TrackDecision,
    TrackOutcome,
)
from tests.builders import WALL, candidate, frame

FRAME_S = 0.25


class SameThread(Executor):
    """Runs each call at once, so that a test's order of events is its own."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Script:
    """An analyser that sees, in frame n, the tracks of line n with the given qualities."""

    static_tracks = 0

    def __init__(self, lines: Sequence[dict[int, float | None]]) -> None:
        self.lines = lines
        self.live: set[int] = set()
        self.broken_frames: set[int] = set()

    def analyse(self, shown: Frame) -> Analysis:
        if shown.index in self.broken_frames:
            raise DetectorError("the detector failed")
        line = self.lines[shown.index]
        ended = tuple(sorted(self.live - set(line)))
        self.live = set(line)
        faces = tuple(self._seen(track, quality, shown) for track, quality in line.items())
        return Analysis(shown.index, shown.captured_at, shown.captured_wall, faces, ended)

    def flush(self) -> None:
        self.live = set()

    def _seen(self, track: int, quality: float | None, shown: Frame) -> SeenFace:
        crop = np.full((112, 112, 3), round(quality or 0), np.uint8)
        found = candidate(track, shown.captured_at, crop=crop)
        if quality is None:
            return SeenFace(found.tracked, None, "too_small")
        return SeenFace(found.tracked, found, None)


class HeldScorer:
    """Scores a crop by its brightness, as soon as the test lets it."""

    batch_size = 4
    model_hash = "m" * 64

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.broken = False
        self.batches: list[int] = []

    async def score(self, crops: NDArray[np.uint8]) -> Scores:
        self.batches.append(len(crops))
        await self.go.wait()
        if self.broken:
            raise ScoreError("the device is gone")
        quality = crops[:, 0, 0, 0].astype(np.float64)
        return Scores(100 - quality, quality, np.zeros((len(crops), 4), np.float32))


class ListOutbox:
    def __init__(self) -> None:
        self.shots: list[BestShot] = []
        self.go = asyncio.Event()
        self.go.set()
        self.asked = asyncio.Event()

    async def accept(self, shot: BestShot) -> Acceptance:
        self.asked.set()
        await self.go.wait()
        self.shots.append(shot)
        return Acceptance.ACCEPTED


class Bench:
    """A pipeline on the bench, and what came out of it."""

    def __init__(
        self, lines: Sequence[dict[int, float | None]], *, lossless: bool = True, pending: int = 8
    ) -> None:
        self.script, self.scorer, self.outbox = Script(lines), HeldScorer(), ListOutbox()
        self.decisions: list[TrackDecision] = []
        self.metrics = Metrics()
        clock = SystemClock()
        publishing = Publisher(
            PipelineIdentity("door", "boot", "c" * 64, self.scorer.model_hash),
            self.outbox,
            metrics=self.metrics,
            clock=clock,
            on_decision=self.decided,
        )
        self.pipeline = CameraPipeline(
            PipelineParts(
                analyser=self.script,
                detection=SameThread(),
                scorer=self.scorer,
                selector=Selector(GateSection(), max_pending=pending),
                publisher=publishing,
                metrics=self.metrics,
                clock=clock,
                lossless=lossless,
            )
        )

    async def decided(self, decision: TrackDecision) -> None:
        self.decisions.append(decision)

    async def frames(self) -> AsyncIterator[Frame | Discontinuity]:
        for index in range(len(self.script.lines)):
            yield frame(index, index * FRAME_S)

    async def run(self) -> None:
        await self.pipeline.run(self.frames())

    def total(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"streamgate_{name}", labels) or 0.0


async def test_best_face_of_each_track_comes_out() -> None:
    """Two people cross the picture; one best shot of each is published, and one decision."""
    bench = Bench([{1: 40.0}, {1: 80.0, 2: 35.0}, {1: 60.0, 2: 55.0}, {2: 50.0}, {}])
    await bench.run()
    assert {(shot.track_id, shot.face.quality) for shot in bench.outbox.shots} == {(1, 80), (2, 55)}
    assert [d.track_id for d in bench.decisions] == [1, 2]
    assert bench.outbox.shots[0].key == "door-boot-1-1"
    assert bench.outbox.shots[0].decided_wall == pytest.approx(WALL + 3 * FRAME_S)
    assert bench.total("faces_scored_total") == 6


async def test_live_tracks_are_judged_when_the_frames_end() -> None:
    """A track that is still in the picture at the end is not lost."""
    bench = Bench([{1: 40.0}, {1: 70.0}, {1: 50.0}])
    await bench.run()
    assert [shot.face.quality for shot in bench.outbox.shots] == [70]
    assert bench.outbox.shots[0].reason is ReleaseReason.SHUTDOWN


@pytest.mark.parametrize(
    ("ended", "reason"),
    [(False, ReleaseReason.STREAM_LOST), (True, ReleaseReason.STREAM_ENDED)],
)
async def test_lost_stream_flushes_its_tracks(ended: bool, reason: ReleaseReason) -> None:
    """A discontinuity ends every live track, with the reason that it gives."""
    bench = Bench([{1: 40.0}, {1: 70.0}])

    async def frames() -> AsyncIterator[Frame | Discontinuity]:
        async for shown in bench.frames():
            yield shown
        yield Discontinuity("gone", 1.0, ended)
        assert bench.script.live == set()

    await bench.pipeline.run(frames())
    assert [shot.reason for shot in bench.outbox.shots] == [reason]


async def test_track_waits_for_its_faces_under_way() -> None:
    """A track that ends while its best face is being scored is judged with that face."""
    bench = Bench([{1: 40.0}, {1: 90.0}, {}, {}], lossless=False)
    bench.scorer.go.clear()

    async def frames() -> AsyncIterator[Frame | Discontinuity]:
        async for shown in bench.frames():
            yield shown
        assert not bench.decisions
        bench.scorer.go.set()

    await bench.pipeline.run(frames())
    assert [shot.face.quality for shot in bench.outbox.shots] == [90]
    assert bench.outbox.shots[0].reason is ReleaseReason.TRACK_ENDED


async def test_slow_scorer_costs_choice_not_memory() -> None:
    """While the scorer is held, faces compete for few places, and each loss is counted."""
    tracks = dict.fromkeys(range(1, 7), 50.0)
    bench = Bench([dict.fromkeys(tracks, 50.0) for _ in range(40)], lossless=False, pending=5)
    bench.scorer.go.clear()
    most = 0

    async def frames() -> AsyncIterator[Frame | Discontinuity]:
        nonlocal most
        async for shown in bench.frames():
            yield shown
            await asyncio.sleep(0)
            most = max(most, bench.pipeline.parts.selector.waiting)
        bench.scorer.go.set()

    await bench.pipeline.run(frames())
    assert most <= 5
    scored = bench.total("faces_scored_total")
    skipped = bench.total("faces_skipped_total", reason="more_promising_face")
    assert scored + skipped == bench.total("faces_detected_total") == 240
    assert sum(d.scored + d.skipped for d in bench.decisions) == 240


async def test_hurried_stop_skips_what_still_waits() -> None:
    """When the drain's time is up, faces under way are counted as skipped and tracks decided."""
    bench = Bench([{1: 60.0}, {1: 80.0}], lossless=False)
    bench.scorer.go.clear()

    async def frames() -> AsyncIterator[Frame | Discontinuity]:
        async for shown in bench.frames():
            yield shown
            await asyncio.sleep(0)
        bench.pipeline.limit_drain(0.01)

    await bench.pipeline.run(frames())
    (decision,) = bench.decisions
    assert decision.outcome is TrackOutcome.NOTHING_SCORED
    assert decision.skipped == 2


async def test_hurried_stop_loses_nothing_to_a_slow_outbox(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stop that breaks off the scoring task while it waits for the outbox loses no decision."""
    monkeypatch.setattr(publisher, "_EVENTS", 1)
    tracks: dict[int, float | None] = dict.fromkeys(range(1, 5), 60.0)
    bench = Bench([tracks, tracks, {}], lossless=False, pending=16)
    bench.outbox.go.clear()
    bench.scorer.go.clear()

    async def frames() -> AsyncIterator[Frame | Discontinuity]:
        async for shown in bench.frames():
            yield shown
        bench.scorer.go.set()
        async with asyncio.timeout(10):
            await bench.outbox.asked.wait()
        bench.pipeline.limit_drain(0.01)
        asyncio.get_running_loop().call_later(0.2, bench.outbox.go.set)

    await bench.pipeline.run(frames())
    assert sorted(d.track_id for d in bench.decisions) == sorted(tracks)
    assert sorted(shot.track_id for shot in bench.outbox.shots) == sorted(tracks)
    assert all(d.forwarded == 1 for d in bench.decisions)


async def test_no_track_is_live_once_the_stream_is_lost() -> None:
    """The gauge does not keep the last frame's tracks while no frame comes."""
    bench = Bench([{1: 40.0, 2: 50.0}])

    async def frames() -> AsyncIterator[Frame | Discontinuity]:
        async for shown in bench.frames():
            yield shown
        assert bench.total("live_tracks") == 2
        yield Discontinuity("gone", 1.0)
        assert bench.total("live_tracks") == 0

    await bench.pipeline.run(frames())


async def test_failed_scorer_is_told_and_survived() -> None:
    """A batch that cannot be scored is counted, and later faces are scored again."""
    bench = Bench([{1: 40.0}, {1: 70.0}, {1: 50.0}])
    bench.scorer.broken = True

    async def frames() -> AsyncIterator[Frame | Discontinuity]:
        async for shown in bench.frames():
            yield shown
            bench.scorer.broken = False

    await bench.pipeline.run(frames())
    assert bench.total("faces_skipped_total", reason="scorer_failed") == 1
    assert [shot.face.quality for shot in bench.outbox.shots] == [70]


async def test_frame_that_breaks_the_detector_is_dropped() -> None:
    """A frame on which the detector fails is counted and costs nothing else."""
    bench = Bench([{1: 40.0}, {1: 70.0}, {1: 50.0}])
    bench.script.broken_frames = {0}
    await bench.run()
    assert bench.total("frames_dropped_total", reason="detector_failed") == 1
    assert [shot.face.quality for shot in bench.outbox.shots] == [70]


async def test_rejected_faces_are_counted_by_reason() -> None:
    """A track of which no face passes the prechecks is decided as such and never scored."""
    bench = Bench([{1: None}, {1: None}, {}])
    await bench.run()
    assert bench.decisions[0].outcome is TrackOutcome.ALL_REJECTED
    assert bench.total("faces_rejected_total", reason="too_small") == 2
    assert bench.scorer.batches == []
