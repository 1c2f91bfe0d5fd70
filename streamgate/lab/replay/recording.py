"""A video as a table: every face that passes the prechecks, scored once.

Frames come from the source, the faces from the analyser and the scores from the scorer of the
daemon, so that the parts that are judged are those that would run. All times are those of the file,
and batches are filled in the order of the faces, so that the same video, configuration and weights
give the same table to the last bit.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.config import FileSection
from streamgate.errors import StreamgateError
from streamgate.lab.replay.prefetch import DetectionPrefetch
from streamgate.pipeline.slot import LatestSlot
from streamgate.ports import Clock, FrameAnalyser, QualityScorer
from streamgate.selection.non_faces import NonFaces
from streamgate.sources.file import FileSource
from streamgate.telemetry.metrics import Metrics
from streamgate.values import (
    Analysis,
    Candidate,
    Crop,
    Discontinuity,
    Frame,
    IdentityThresholds,
    Image,
    ScoredFace,
    SeenFace,
    TrackBeginning,
    TrackedFace,
)

__all__ = ["Moment", "Recorder", "Recording", "SeenScored", "VideoClock"]

_JPEG_QUALITY = 90
_NO_PICTURE = Crop(np.zeros((0, 0, 3), np.uint8))
_NOTHING = np.zeros(0, np.float32)

Embedder = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Embeds RGB uint8 crops [N, 112, 112, 3] as float32 [N, E] of length 1."""


class VideoClock:
    """A clock that shows the time of the current frame, the only time in a recording."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        """Seconds since the video's first picture."""
        return self.at

    def wall(self) -> float:
        """Return the same, because a file does not say when it was recorded."""
        return self.at


@dataclass(frozen=True, slots=True, eq=False)
class SeenScored:
    """A tracked face of a frame.

    Attributes:
        tracked: the face and its track.
        rejection: why a precheck failed; None if none did.
        face: the scored face, without its crop; None if it was rejected.
        picture: its aligned crop as a JPEG file; empty if it was rejected.
        embedding: by the independent recogniser, float32 [E]; empty without one.
        zone: name of the watch zone that the face is in, if it is in one.
    """

    tracked: TrackedFace
    rejection: str | None
    face: ScoredFace | None = None
    picture: bytes = b""
    embedding: NDArray[np.float32] = dataclasses.field(default_factory=lambda: _NOTHING)
    zone: str | None = None

    @property
    def track_id(self) -> int:
        """The track that the face belongs to."""
        return self.tracked.track_id


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What happened in one frame, see `Analysis`."""

    index: int
    at: float
    ended: tuple[int, ...]
    seen: tuple[SeenScored, ...]
    began: tuple[TrackBeginning, ...] = ()
    confirmed: tuple[int, ...] = ()
    dismissed: tuple[int, ...] = ()
    ignored: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A whole video.

    Attributes:
        path: of the file.
        moments: one for each frame.
        visits: number of the visit of each sighting, by its frame and the tracker's number of its
            face; None where each of the tracker's numbers is a visit. Ghosts have none.
        identity: from which cosines on faces are of one person, where the weights' calibration
            says so.
        non_faces: by which the gate tells what is no face.
        size: width and height of its frames, if it has any.
    """

    path: Path
    moments: tuple[Moment, ...]
    visits: Mapping[tuple[int, int], int] | None = None
    identity: IdentityThresholds | None = None
    non_faces: NonFaces | None = None
    size: tuple[int, int] | None = None

    def visit_of(self, moment: Moment, seen: SeenScored) -> int | None:
        """Return the visit that a sighting belongs to; None for a false detection."""
        if self.visits is None:
            return seen.track_id
        return self.visits.get((moment.index, seen.track_id))

    @property
    def tracks(self) -> dict[int, list[SeenScored]]:
        """Every face of each visit, in the order of time.

        A person whom the tracker broke into tracklets is one, as for the gate.
        """
        tracks: dict[int, list[SeenScored]] = {}
        for moment in self.moments:
            for seen in moment.seen:
                visit = self.visit_of(moment, seen)
                if visit is not None:
                    tracks.setdefault(visit, []).append(seen)
        return tracks


class Recorder:
    """Makes the table of one video.

    Args:
        analyser: a new one for each video, which uses `prefetch` as its detector; called in
            `detection` only.
        prefetch: the detector.
        detection: executor of one thread.
        scorer: of the daemon.
        embedder: the independent recogniser, if there is one.
        clock: the one that the analyser reads.
        on_frame: called with the time of each frame, for a progress bar.
    """

    def __init__(  # noqa: PLR0913 # what the daemon's composition root would join
        self,
        analyser: FrameAnalyser,
        prefetch: DetectionPrefetch,
        detection: Executor,
        scorer: QualityScorer,
        *,
        clock: VideoClock,
        embedder: Embedder | None = None,
        on_frame: Callable[[float], None] = lambda _at: None,
    ) -> None:
        self._analyser = analyser
        self._prefetch = prefetch
        self._detection = detection
        self._scorer = scorer
        self._clock = clock
        self._embedder = embedder
        self._on_frame = on_frame
        self._next: deque[Frame] = deque()
        self._analyses: list[Analysis] = []
        self._waiting: list[Candidate] = []
        self._scored: dict[tuple[int, int], SeenScored] = {}
        self._scoring: asyncio.Task[None] | None = None
        self._size: tuple[int, int] | None = None

    async def record(self, path: Path, clock: Clock) -> Recording:
        """Read the video to its end.

        Args:
            path: the video file.
            clock: for the file's reader.

        Raises:
            SourceError: the video cannot be read.
            StreamgateError: the detector or the scorer failed.
        """
        section = FileSection(kind="file", path=path, pace="fast")
        slot = LatestSlot()
        source = FileSource(section, Metrics(), clock)
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(source.run(slot))
                reading.add_done_callback(lambda _done: slot.close())
                async for item in slot.frames():
                    if not isinstance(item, Discontinuity):
                        self._prefetch.begin(item.image)
                        self._next.append(item)
                        if len(self._next) > self._prefetch.threads:
                            await self._watch(self._next.popleft(), group)
                    del item
                while self._next:
                    await self._watch(self._next.popleft(), group)
                await self._score(group)
                await self._settle()
        except* StreamgateError as failures:
            raise _first(failures) from None
        return Recording(path, tuple(map(self._moment, self._analyses)), size=self._size)

    async def _watch(self, frame: Frame, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        timeless = dataclasses.replace(
            frame, captured_wall=frame.captured_at, decoded_at=frame.captured_at
        )
        self._clock.at, self._size = frame.captured_at, frame.pixels.size
        analysis = await loop.run_in_executor(self._detection, self._analyser.analyse, timeless)
        self._on_frame(frame.captured_at)
        for seen in analysis.faces:
            if seen.candidate is not None:
                self._waiting.append(seen.candidate)
        self._analyses.append(_without_pictures(analysis))
        while len(self._waiting) >= self._scorer.batch_size:
            await self._score(group)

    async def _score(self, group: asyncio.TaskGroup) -> None:
        """Start the next batch when the previous one is done; frames are analysed meanwhile."""
        await self._settle()
        batch = self._waiting[: self._scorer.batch_size]
        del self._waiting[: self._scorer.batch_size]
        if batch:
            self._scoring = group.create_task(self._score_batch(batch))

    async def _settle(self) -> None:
        if self._scoring is not None:
            await self._scoring
            self._scoring = None

    async def _score_batch(self, batch: Sequence[Candidate]) -> None:
        crops = np.stack([candidate.crop.image for candidate in batch])
        scores = await self._scorer.score(crops)
        embeddings = (
            [_NOTHING] * len(batch)
            if self._embedder is None
            else await asyncio.to_thread(self._embedder, crops)
        )
        bare = [_without_picture(candidate) for candidate in batch]
        faces = [
            dataclasses.replace(face, scored_at=face.candidate.captured_at)
            for face in scores.of(bare, 0.0)
        ]
        for i, candidate in enumerate(batch):
            self._scored[candidate.frame_index, candidate.track_id] = SeenScored(
                tracked=candidate.tracked,
                rejection=None,
                face=faces[i],
                picture=_jpeg(candidate.crop.image),
                embedding=embeddings[i],
                zone=candidate.zone,
            )

    def _moment(self, analysis: Analysis) -> Moment:
        seen = tuple(
            self._scored[analysis.frame_index, face.tracked.track_id]
            if face.candidate is not None
            else SeenScored(face.tracked, face.rejection, zone=face.zone)
            for face in analysis.faces
        )
        return Moment(
            analysis.frame_index, analysis.captured_at, analysis.ended, seen,
            analysis.began, analysis.confirmed, analysis.dismissed, analysis.ignored,
        )  # fmt: skip


def _without_pictures(analysis: Analysis) -> Analysis:
    """Drop the crops, because an hour of faces does not fit into memory."""
    faces = tuple(
        face
        if face.candidate is None
        else SeenFace(face.tracked, _without_picture(face.candidate), None, face.zone)
        for face in analysis.faces
    )
    return dataclasses.replace(analysis, faces=faces)


def _without_picture(candidate: Candidate) -> Candidate:
    return dataclasses.replace(candidate, crop=_NO_PICTURE, context=None)


def _jpeg(image: Image) -> bytes:
    picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1].tobytes()


def _first(failures: BaseExceptionGroup[StreamgateError]) -> StreamgateError:
    failure = failures.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
